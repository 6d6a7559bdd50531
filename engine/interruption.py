"""Ctrl-C and SIGTERM as a wish to stop after the current step, not as an end in the middle of one."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A context manager inside which `requested` tells whether the process was asked to stop.

    The second signal acts as if there were no such context. Outside the main thread, where Python allows no handlers,
    nothing is caught. Of two, one inside the other, both are told.
    """

    def __init__(self):
        self.requested: str | None = None
        self._previous: dict[int, object] = {}
        self._outer: Interruption | None = None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in _SIGNALS}
            outer = getattr(self._previous[signal.SIGTERM], '__self__', None)
            self._outer = outer if isinstance(outer, Interruption) else None
        return self

    def __exit__(self, *exception) -> None:
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = signal.Signals(number).name
        self._restore()
        if self._outer:
            self._outer._handle(number, frame)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous = {}
