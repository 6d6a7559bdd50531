"""Stages of a pipeline at work at the same time, each in a thread, a bounded queue between them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import ParamSpec, TypeVar

T = TypeVar('T')
P = ParamSpec('P')
_PATIENCE_SECONDS = 0.1


def overlapped(source: Iterable[T], depth: int = 2) -> Generator[T]:
    """The items of `source`, in their order, made ahead in a thread of their own.

    What `source` raises is raised here. When this generator is closed, or ends, the thread has ended and `source` is
    closed; generators of this kind may follow each other.

    Args:
      depth: at most so many items wait.
    """
    waiting: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
    closed = threading.Event()
    thread = threading.Thread(target=_produce, args=(iter(source), waiting, closed), daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  None only beside an error
    finally:
        closed.set()
        thread.join()


def _produce(source: Iterator[T], waiting: queue.Queue, closed: threading.Event) -> None:
    try:
        for item in source:
            if not _put(waiting, (item, None), closed):
                break
        else:
            _put(waiting, (None, StopIteration()), closed)
    except BaseException as error:
        _put(waiting, (None, error), closed)
    finally:
        if isinstance(source, Generator):
            source.close()


def _put(waiting: queue.Queue, item: object, closed: threading.Event) -> bool:
    """Waits for room; False if nobody wants the item any more."""
    while not closed.is_set():
        try:
            waiting.put(item, timeout=_PATIENCE_SECONDS)
            return True
        except queue.Full:
            continue
    return False


class Stopwatch:
    """How often a stage does its work in a second; the first time, in which graphs are built, does not count."""

    def __init__(self):
        self._calls, self._seconds = 0, 0.0

    def timed(self, function: Callable[P, T]) -> Callable[P, T]:
        """`function`, its calls timed. Not for several threads at once."""

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            started = time.perf_counter()
            answer = function(*args, **kwargs)
            self._calls += 1
            if self._calls > 1:
                self._seconds += time.perf_counter() - started
            return answer

        return call

    @property
    def per_second(self) -> float | None:
        """None before the second call."""
        return (self._calls - 1) / self._seconds if self._seconds else None
