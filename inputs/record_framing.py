"""Where the records of a TFRecord file begin: its framing, read without the data.

A record is its length (uint64), the length's checksum, the data and the data's checksum (uint32 each, little-endian).
Only lengths and their checksums are read here; that of the data is checked when the data is read.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import numpy as np
import tensorflow as tf

from inputs import crc32c

HEADER_BYTES = 12
FOOTER_BYTES = 4
_CHUNK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Damage:
    """One place of a file that cannot be used.

    Attributes:
      path: of the file.
      record: number of the record in the file, from 1; behind damaged framing, of those that were found.
      offset: byte at which the record begins.
      reason: what is wrong with it.
      filename: of its image, where that can still be read.
      num_records: how many records are lost with it.
    """

    path: str
    record: int
    offset: int
    reason: str
    filename: str = ''
    num_records: int = 1

    def __str__(self) -> str:
        name = '' if not self.filename or self.reason.startswith(self.filename) else f'{self.filename}: '
        return f'{self.path}: record {self.record} at byte {self.offset}: {name}{self.reason}'


def scan(path: str) -> tuple[np.ndarray, list[Damage]]:
    """The byte at which each whole record of the file begins, int64 [N], and what is damaged in the framing.

    Behind a damaged length the next record is looked for, so that only what was damaged is lost.
    """
    offsets: list[int] = []
    damages: list[Damage] = []
    with _Bytes(path) as file:
        offset = 0
        while offset < file.length:
            size = _length(file.read(offset, HEADER_BYTES))
            end = None if size is None else offset + HEADER_BYTES + size + FOOTER_BYTES
            if end is not None and end <= file.length:
                offsets.append(offset)
                offset = end
                continue
            # From the last header that was good: its length may lead over the next one, if bytes are missing.
            following = _next_record(file, (offsets[-1] if offsets and end is None else offset) + 1)
            reason = _why(file, offset, end, following)
            record = len(offsets) + len(damages) + 1
            damages.append(Damage(path=path, record=record, offset=offset, reason=reason))
            if following is None:
                break
            offset = following
    return np.asarray(offsets, np.int64), damages


def ends_with_record(path: str, offset: int, num_bytes: int) -> bool:
    """Whether the file is this long and its last record begins at `offset`; one read."""
    with _Bytes(path) as file:
        if file.length != num_bytes:
            return False
        size = _length(file.read(offset, HEADER_BYTES))
        return size is not None and offset + HEADER_BYTES + size + FOOTER_BYTES == file.length


def read(path: str, offset: int) -> bytes:
    """The data of the record that begins at `offset`, its checksum not looked at; empty if it is cut off."""
    with _Bytes(path) as file:
        size = _length(file.read(offset, HEADER_BYTES))
        return b'' if size is None else file.read(offset + HEADER_BYTES, size)


class _Bytes:
    """Reads any part of a file; a local one without a buffer, which would read far more than the headers."""

    def __init__(self, path: str):
        self.length: int = tf.io.gfile.stat(path).length
        self._file: Any = tf.io.gfile.GFile(path, 'rb') if '://' in path else open(path, 'rb', buffering=0)  # noqa: SIM115

    def __enter__(self) -> _Bytes:
        return self

    def __exit__(self, *exception) -> None:
        self._file.close()

    def read(self, offset: int, count: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(count)


def _length(header: bytes) -> int | None:
    """Of the data that follows; None if the header is cut off or its checksum is wrong."""
    if len(header) < HEADER_BYTES:
        return None
    size, checksum = struct.unpack('<QI', header)
    return size if crc32c.masked(header[:8]) == checksum else None


def _why(file: _Bytes, offset: int, end: int | None, following: int | None) -> str:
    if following is not None:
        return f'it or its length is damaged; the next whole record was found at byte {following}'
    if end is not None:
        return f'the file is cut off in this record, {end - file.length} bytes are missing'
    if file.length - offset < HEADER_BYTES:
        return f'the file is cut off in the length of this record, after {file.length - offset} of {HEADER_BYTES} bytes'
    return f'its length is damaged, and no record was found in the {file.length - offset} bytes from there on'


def _next_record(file: _Bytes, start: int) -> int | None:
    """The first byte from `start` on at which a record begins that is followed by another, or by the end."""
    for base in range(start, file.length, _CHUNK_BYTES):
        chunk = np.frombuffer(file.read(base, _CHUNK_BYTES + HEADER_BYTES - 1), np.uint8)
        if len(chunk) < HEADER_BYTES:
            return None
        checksums = sum(chunk[8 + i : len(chunk) - 3 + i].astype(np.uint32) << (8 * i) for i in range(4))
        for place in np.flatnonzero(crc32c.masked_windows(chunk[:-4], 8) == checksums):
            if _is_record(file, base + int(place)):
                return base + int(place)
    return None


def _is_record(file: _Bytes, offset: int) -> bool:
    size = _length(file.read(offset, HEADER_BYTES))
    end = offset + HEADER_BYTES + (size or 0) + FOOTER_BYTES
    if size is None or end > file.length:
        return False
    return end == file.length or _length(file.read(end, HEADER_BYTES)) is not None
