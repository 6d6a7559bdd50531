"""How much memory there is, how much this process has used, and how it is handed back."""

from __future__ import annotations

import ctypes
import logging
import os
from pathlib import Path

import tensorflow as tf

_LOGGER = logging.getLogger(__name__)

# glibc's mallopt parameters, and the size above which a block is its own mapping, returned as soon as it is freed.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_OWN_MAPPING_BYTES = 1 << 20


def resident_bytes() -> int:
    """Memory this process holds now; 0 where /proc does not tell."""
    return _status('VmRSS')


def peak_bytes() -> int:
    """Most memory used so far: of the first GPU's allocator if there is one, else of the process."""
    if tf.config.list_logical_devices('GPU'):
        return int(tf.config.experimental.get_memory_info('GPU:0')['peak'])
    return _status('VmHWM')


def available_bytes() -> int | None:
    """What this process may still take on the host: of the machine, or of its control group if that allows less."""
    lines = _lines('/proc/meminfo')
    known = [int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable:')]
    for limit, used in (
        ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory.current'),
        ('/sys/fs/cgroup/memory/memory.limit_in_bytes', '/sys/fs/cgroup/memory/memory.usage_in_bytes'),
    ):
        texts = [_lines(path)[:1] for path in (limit, used)]
        if all(texts) and all(text[0].strip().isdigit() for text in texts):
            known.append(int(texts[0][0]) - int(texts[1][0]))
    return min(known) if known else None


def return_freed_memory() -> None:
    """Makes freed activations leave the process at once, instead of waiting in the heap between smaller blocks.

    Without it glibc keeps blocks of up to 32 MB, and a plan's peak shows only in part. No effect on other C libraries.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    if not all((mallopt(_M_MMAP_THRESHOLD, _OWN_MAPPING_BYTES), mallopt(_M_TRIM_THRESHOLD, _OWN_MAPPING_BYTES))):
        _LOGGER.warning('the C library refused to return freed memory at once: peaks may be above those planned')


def _status(field: str) -> int:
    found = [line for line in _lines(f'/proc/{os.getpid()}/status') if line.startswith(f'{field}:')]
    return int(found[0].split()[1]) * 1024 if found else 0


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
