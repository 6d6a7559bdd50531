"""The optimal choice of segments: dynamic programming over a chain with unequal bytes and costs.

The forward pass is a line of positions 0..n. A plan cuts it into segments (p, q]; each is run under one option, which
keeps some bytes from the forward pass until the backward pass leaves the segment, needs further bytes while its own
backward pass runs, and costs some work a second time. While segment s runs backward, memory holds what segments 1..s
keep and what s needs besides, so

    peak = max over s of (kept_1 + ... + kept_s + needed_s).

Every operation runs at most twice, which bounds the extra work by one forward pass. Chen et al. 2016 (arXiv:1604.06174)
cut a homogeneous chain into sqrt(n) equal segments; the recursion here is the exact optimum for unequal ones, as
Beaumont et al. 2019 (arXiv:1911.13214) do for nested schedules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

# Bytes are rounded up to a grid of this many steps of the budget: a plan may come out at most 1/_GRID per segment too
# careful, never too large.
_GRID = 500


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """One way to treat a segment.

    Attributes:
      kept: bytes held from the forward pass until the backward pass leaves the segment.
      needed: further bytes held while the segment's backward pass runs.
      cost: work done a second time, in the unit of the caller.
      threshold, late: which option it is, for the caller.
    """

    kept: int
    needed: int
    cost: float
    threshold: float = 0.0
    late: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """A chosen segment: positions first < last, and its option."""

    first: int
    last: int
    option: Option


Segments = Mapping[tuple[int, int], Sequence[Option]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Solution:
    """Segments in forward order, their peak in bytes and their work."""

    choices: Sequence[Choice]

    @property
    def cost(self) -> float:
        """Work done a second time."""
        return sum(choice.option.cost for choice in self.choices)

    @property
    def peak(self) -> int:
        """Most bytes held at a time, by the formula above."""
        kept, peak = 0, 0
        for choice in self.choices:
            kept += choice.option.kept
            peak = max(peak, kept + choice.option.needed)
        return peak


def least_cost(segments: Segments, length: int, budget: int) -> Solution | None:
    """The plan of least work whose peak is at most `budget` bytes; None if there is none.

    Args:
      segments: the options of each segment (first, last); a pair that is absent is not allowed.
      length: n, the last position.
      budget: bytes. Exact where it is below _GRID; above, bytes count in steps of budget / _GRID, rounded up.
    """
    step = max(1, -(-budget // _GRID))
    room = budget // step
    best = np.full((length + 1, room + 1), np.inf)
    came_from: list[dict[int, tuple[int, int, Option]]] = [{} for _ in range(length + 1)]
    best[0, 0] = 0.0
    arriving = _by_last(segments, length)
    for last in range(1, length + 1):
        source = np.full((room + 1, 2), -1, np.int64)
        for number, (first, option) in enumerate(arriving[last]):
            kept, needed = -(-option.kept // step), -(-option.needed // step)
            end = room - kept - needed
            if end < 0:
                continue
            arrived = best[first, : end + 1] + option.cost
            target = best[last, kept : kept + end + 1]
            better = arrived < target
            if better.any():
                target[better] = arrived[better]
                where = np.flatnonzero(better)
                source[kept + where, 0], source[kept + where, 1] = number, where
        came_from[last] = {
            int(b): (arriving[last][source[b, 0]][0], int(source[b, 1]), arriving[last][source[b, 0]][1])
            for b in np.flatnonzero(source[:, 0] >= 0)
        }
    if not np.isfinite(best[length]).any():
        return None
    return _trace_back(came_from, length, int(np.argmin(best[length])))


def least_peak(segments: Segments, length: int, *, most_cost: float = np.inf, precision: float = 0.005) -> Solution:
    """The plan of least peak whose work is at most `most_cost`, to the relative `precision`.

    Raises ValueError if no plan at all costs so little.
    """
    high = sum(max((o.kept + o.needed for o in options), default=0) for options in segments.values())
    high += 4 * max(1, -(-high // _GRID))  # what rounding to the grid may add to a plan of one segment
    solution = least_cost(segments, length, high)
    if solution is None or solution.cost > most_cost:
        raise ValueError(f'no plan costs {most_cost} or less')
    low, high = 0, solution.peak
    while high - low > max(1, precision * high):
        middle = (low + high) // 2
        found = least_cost(segments, length, middle)
        if found is not None and found.cost <= most_cost:
            solution, high = found, middle
        else:
            low = middle
    return solution


def _by_last(segments: Segments, length: int) -> list[list[tuple[int, Option]]]:
    arriving: list[list[tuple[int, Option]]] = [[] for _ in range(length + 1)]
    for (first, last), options in segments.items():
        arriving[last] += [(first, option) for option in options]
    return arriving


def _trace_back(came_from: list[dict[int, tuple[int, int, Option]]], length: int, kept: int) -> Solution:
    choices, last = [], length
    while last > 0:
        first, before, option = came_from[last][kept]
        choices.append(Choice(first=first, last=last, option=option))
        last, kept = first, before
    return Solution(choices=choices[::-1])
