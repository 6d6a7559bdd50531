"""How much memory there is, and how much this process has used."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import tensorflow as tf

_T = TypeVar('_T')

_ROW = 1 << 20
_SECONDS_BETWEEN_RETURNS = 0.05


def resident_bytes() -> int:
    """Memory this process holds now; 0 where /proc does not tell."""
    return _status('VmRSS')


def peak_bytes() -> int:
    """Most memory used so far: of the first GPU's allocator if there is one, else of the process."""
    if tf.config.list_logical_devices('GPU'):
        return int(tf.config.experimental.get_memory_info('GPU:0')['peak'])
    return _status('VmHWM')


def reserve(num_bytes: int) -> None:
    """One region of this size for TensorFlow's host allocator, of which nothing is touched, so that it costs nothing.

    In oneDNN's builds it takes memory in regions of growing size and gives none back. A tensor lies within one region,
    so the ends of many stay empty while there is a single one to fill. Nothing happens on a GPU, or where there is not
    so much: the allocator would wait for seconds before it gives up.
    """
    room = available_bytes()
    if not _ROW <= num_bytes <= (room or 0) or tf.config.list_logical_devices('GPU'):
        return
    with contextlib.suppress(tf.errors.ResourceExhaustedError), tf.init_scope(), tf.device('CPU:0'):
        tf.raw_ops.Empty(shape=[num_bytes // _ROW, _ROW], dtype=tf.uint8, init=False)


def frugal_at_first(step: Callable[..., _T]) -> Callable[..., _T]:
    """The same step; during its first call, what this process has freed goes back to the system again and again.

    glibc keeps freed memory for what will be allocated next. Tracing and optimising the graph of a step leave up to
    hundreds of megabytes of it, just when a step begins that is to take little memory.
    """
    called = False

    def call(*args: Any, **kwargs: Any) -> _T:
        nonlocal called
        if called:
            return step(*args, **kwargs)
        with returning_freed():
            result = step(*args, **kwargs)
        called = True
        return result

    return call


@contextlib.contextmanager
def returning_freed() -> Iterator[None]:
    """Meanwhile, freed memory goes back to the system, where the C library has `malloc_trim`."""
    trim = _malloc_trim()
    if trim is None:
        yield
        return
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(_SECONDS_BETWEEN_RETURNS):
            trim(0)

    trim(0)
    thread = threading.Thread(target=repeat, name='return_freed', daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


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


def _status(field: str) -> int:
    found = [line for line in _lines(f'/proc/{os.getpid()}/status') if line.startswith(f'{field}:')]
    return int(found[0].split()[1]) * 1024 if found else 0


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
