"""The checksum of TFRecord's framing: CRC-32C (Castagnoli), masked.

TFRecord stores `((crc >> 15) | (crc << 17)) + 0xa282ead8`, so that data may hold checksums itself.
"""

from __future__ import annotations

import numpy as np

_POLYNOMIAL = 0x82F63B78  # bits reversed
_MASK_DELTA = 0xA282EAD8


def _make_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


_TABLE = _make_table()
_PLAIN_TABLE = _TABLE.tolist()


def masked(data: bytes) -> int:
    """Of a few bytes: it runs in Python, a microsecond or so for each ten."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _PLAIN_TABLE[(crc ^ byte) & 255] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def masked_windows(data: np.ndarray, width: int) -> np.ndarray:
    """Of every `width` consecutive bytes of uint8 [N]: uint32 [N - width + 1]."""
    count = len(data) - width + 1
    crc = np.full(max(count, 0), 0xFFFFFFFF, np.uint32)
    for start in range(width if count > 0 else 0):
        crc = _TABLE[(crc ^ data[start : start + count]) & 255] ^ (crc >> 8)
    crc ^= np.uint32(0xFFFFFFFF)
    return ((crc >> 15) | (crc << 17)) + np.uint32(_MASK_DELTA)
