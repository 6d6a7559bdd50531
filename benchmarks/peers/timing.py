"""How every step is timed, whoever's it is. Imports nothing, so that any interpreter can use it."""

from __future__ import annotations

import time
from collections.abc import Callable

NOT_COUNTED = 2  # calls before those that are timed: traces, warm caches


def times(call: Callable[[], object], count: int, *, warm: int = NOT_COUNTED) -> list[tuple[float, float]]:
    """(wall, CPU) seconds of each of `count` calls, after `warm` that are not counted.

    CPU seconds are those of all threads of the process: the fairer number where other programs run.
    """
    found = []
    for _ in range(count + warm):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return found[warm:]


def wall_times(call: Callable[[], object], count: int) -> list[float]:
    """Wall seconds alone, see `times`."""
    return [wall for wall, _ in times(call, count)]
