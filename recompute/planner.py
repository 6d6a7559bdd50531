"""The optimal choice of segments: dynamic programming over a chain with unequal bytes and costs.

The forward pass is a line of positions 0..n. A plan cuts it into segments (p, q]; each is run under one option, which
keeps some bytes from the forward pass until the backward pass leaves the segment, needs further bytes while its own
backward pass runs, and costs some work a second time. While segment s runs backward, memory holds what segments 1..s
keep and what s needs besides, so

    peak = max over s of (kept_1 + ... + kept_s + needed_s).

A segment may also be planned inside: when the backward pass enters it, its forward operations run once more, and this
time a plan of its own says what they keep, as if it were the whole chain. Segments inside it may do so again. With

    V(p, q, m) = least work of a plan of (p, q] whose peak is at most m

that is the recursion over the first segment (p, r] and what it does:

    V(p, q, m) = min over r of  cost + V(r, q, m - kept)                        options with kept + needed <= m
                                rerun(p, r) + V(p, r, m) + V(r, q, m - kept)    planned inside

Chen et al. 2016 (arXiv:1604.06174) cut a homogeneous chain into sqrt(n) equal segments. Beaumont et al. 2019
(arXiv:1911.13214) give the recursion for plans inside plans; here each segment has several options besides.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

# Bytes are rounded up to a grid of this many steps of the budget: a plan may come out at most 1/_GRID per segment too
# careful, never too large.
_GRID = 500
# For a first search, which only says where a finer one begins.
_COARSE_GRID = 100


class Late(enum.Enum):
    """Which activations are computed again only right before the gradient that reads them."""

    NOTHING = 0
    CHEAP = 1  # that take no convolution
    ALL = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """One way to treat a segment.

    Attributes:
      kept: bytes held from the forward pass until the backward pass leaves the segment.
      needed: further bytes held while the segment's backward pass runs; below 0 where some that are kept are free then.
      cost: work done a second time, in the unit of the caller.
      threshold, late: which option it is, for the caller.
    """

    kept: int
    needed: int
    cost: float
    threshold: float = 0.0
    late: Late = Late.NOTHING


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rerun:
    """Running a segment's forward operations again: the work, and the bytes kept meanwhile, which cross its end."""

    kept: int
    cost: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """A chosen segment: positions first < last, and its option; or the plan inside it, whose sums the option has."""

    first: int
    last: int
    option: Option
    inside: Sequence[Choice] = ()


Segments = Mapping[tuple[int, int], Sequence[Option]]
Reruns = Mapping[tuple[int, int], Rerun]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Solution:
    """Segments in forward order, their peak in bytes and their work."""

    choices: Sequence[Choice]

    @property
    def cost(self) -> float:
        """Work done beyond one forward pass."""
        return sum(choice.option.cost for choice in self.choices)

    @property
    def peak(self) -> int:
        """Most bytes held at a time, by the formula above."""
        kept, peak = 0, 0
        for choice in self.choices:
            kept += choice.option.kept
            peak = max(peak, kept + choice.option.needed)
        return peak


def least_cost(segments: Segments, length: int, budget: int, reruns: Reruns | None = None) -> Solution | None:
    """The plan of least work whose peak is at most `budget` bytes; None if there is none.

    Args:
      segments: the options of each segment (first, last); a pair that is absent has none.
      length: n, the last position.
      budget: bytes. Exact where it is below _GRID; above, bytes count in steps of budget / _GRID, rounded up.
      reruns: segments that may be planned inside; None: every operation runs at most twice.
    """
    return _Table(segments, length, budget, reruns or {}).least_cost()


def least_peak(
    segments: Segments,
    length: int,
    *,
    most_cost: float = np.inf,
    precision: float = 0.01,
    reruns: Reruns | None = None,
) -> Solution:
    """The plan of least peak whose work is at most `most_cost`, to the relative `precision`.

    Raises ValueError if no plan at all costs so little.
    """
    solution = _any_plan(segments, length, most_cost)
    if solution is None:
        raise ValueError(f'no plan costs {most_cost} or less')
    for grid in itertools.chain([_COARSE_GRID], itertools.repeat(_GRID)):
        found = _Table(segments, length, solution.peak, reruns or {}, grid).least_peak(most_cost)
        gained = 0 if found is None else solution.peak - found.peak
        if found is not None and gained > 0:
            solution = found
        if grid == _GRID and gained <= precision * solution.peak:
            return solution
    raise AssertionError('not reached')


def _any_plan(segments: Segments, length: int, most_cost: float) -> Solution | None:
    """Where the search for less begins: one segment if it may be, else whatever needs no more than all of them."""
    cheap = [option for option in segments.get((0, length), ()) if option.cost <= most_cost]
    if cheap:
        option = min(cheap, key=lambda option: option.kept + option.needed)
        return Solution(choices=[Choice(first=0, last=length, option=option)])
    high = sum(max((o.kept + max(0, o.needed) for o in options), default=0) for options in segments.values())
    # What rounding to the grid may add to a plan of a few segments.
    return _Table(segments, length, high + 4 * max(1, -(-high // _GRID)), {}).least_peak(most_cost)


class _Table:
    """V of every pair of positions and every number of steps of memory; without reruns, of the pairs that end at n."""

    def __init__(self, segments: Segments, length: int, budget: int, reruns: Reruns, grid: int = _GRID):
        self._step = max(1, -(-budget // grid))
        self._room = max(-1, budget // self._step)
        self._length = length
        self._reruns = reruns
        self._options = _by_first(segments, length, self._room * self._step)
        # The last column, of no memory at all, is what options that do not fit are looked up in.
        self._least = np.full((length + 1, length + 1, self._room + 2), np.inf)  # [last, first, memory]
        for position in range(length + 1):
            self._least[position, position, :-1] = 0.0
        if self._room >= 0:
            self._fill()

    def least_cost(self) -> Solution | None:
        """Within all of the budget."""
        return self._solution(self._room) if self._room >= 0 else None

    def least_peak(self, most_cost: float) -> Solution | None:
        """With the least memory that allows so little work."""
        least = self._least[self._length, 0, : self._room + 1]
        fitting = np.flatnonzero(np.isfinite(least) & (least <= most_cost))
        return self._solution(int(fitting[0])) if fitting.size else None

    def _solution(self, memory: int) -> Solution | None:
        if not np.isfinite(self._least[self._length, 0, memory]):
            return None
        return Solution(choices=self._trace(0, self._length, memory))

    def _fill(self) -> None:
        for first in reversed(range(self._length)):
            rows = self._rows(first)
            ends = range(first + 1, self._length + 1) if self._reruns else [self._length]
            for last in ends:
                values = self._values(rows, first, last)
                if values.size:
                    self._least[last, first, :-1] = values.min(0)

    def _rows(self, first: int) -> _Rows:
        """Everything a segment that begins at `first` may be, by its end: options, and plans inside it."""
        most = self._room * self._step
        options = self._options[first]
        nested = [
            (last, rerun)
            for last in range(first + 1, self._length)
            if (rerun := self._reruns.get((first, last))) is not None and rerun.kept <= most
        ]
        nested_kept = -(-np.array([rerun.kept for _, rerun in nested], np.int64) // self._step)
        costs = np.array([option.cost for _, option in options], float)
        kept, at_once = (
            -(-np.array(sizes, np.int64) // self._step)
            for sizes in (
                [option.kept for _, option in options],
                [option.kept + option.needed for _, option in options],
            )
        )
        return _Rows(
            ends=np.array([last for last, _ in options], np.int64),
            costs=costs,
            index=self._index([last for last, _ in options], kept, at_once),
            alone=np.where(np.arange(self._room + 1) >= at_once[:, np.newaxis], costs[:, np.newaxis], np.inf),
            nested_ends=np.array([last for last, _ in nested], np.int64),
            nested_costs=np.array([rerun.cost for _, rerun in nested], float),
            nested_index=self._index([last for last, _ in nested], nested_kept, nested_kept),
        )

    def _index(self, ends: Sequence[int], kept: np.ndarray, at_once: np.ndarray) -> np.ndarray:
        """int64 [rows, memory]: where, in what `_least` holds of one last position, the rest of the chain is found."""
        memory = np.arange(self._room + 1)
        fits = memory >= np.maximum(kept, at_once)[:, np.newaxis]
        left = np.where(fits, memory - kept[:, np.newaxis], self._room + 1)
        return np.array(ends, np.int64)[:, np.newaxis] * (self._room + 2) + left

    def _values(self, rows: _Rows, first: int, last: int) -> np.ndarray:
        """float64 [rows, memory]: the least work of (first, last] if its first segment is that of the row."""
        flat = self._least[last].reshape(-1)
        before, count = (int(np.searchsorted(rows.ends, last, side)) for side in ('left', 'right'))
        num_nested = int(np.searchsorted(rows.nested_ends, last))  # inside all of (first, last] is that plan itself
        values = [flat.take(rows.index[:before]) + rows.costs[:before, np.newaxis], rows.alone[before:count]]
        if num_nested:
            inside = self._least[rows.nested_ends[:num_nested], first, :-1] + rows.nested_costs[:num_nested, np.newaxis]
            values.append(flat.take(rows.nested_index[:num_nested]) + inside)
        return np.concatenate(values)

    def _trace(self, first: int, last: int, memory: int) -> list[Choice]:
        choices: list[Choice] = []
        while first < last:
            rows = self._rows(first)
            values = self._values(rows, first, last)[:, memory]
            row, count = int(np.argmin(values)), int(np.searchsorted(rows.ends, last, 'right'))
            if row < count:
                end, option = self._options[first][row]
                choices.append(Choice(first=first, last=end, option=option))
                index = rows.index[row, memory] if end < last else 0
            else:
                end = int(rows.nested_ends[row - count])
                choices.append(self._nested(first, end, memory))
                index = rows.nested_index[row - count, memory]
            first, memory = end, int(index) - end * (self._room + 2)
        return choices

    def _nested(self, first: int, last: int, memory: int) -> Choice:
        inside = Solution(choices=self._trace(first, last, memory))
        rerun = self._reruns[first, last]
        option = Option(
            kept=rerun.kept, needed=inside.peak - rerun.kept, cost=rerun.cost + inside.cost, threshold=np.inf
        )
        return Choice(first=first, last=last, option=option, inside=inside.choices)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Rows:
    """By ascending end: the options of the segments that begin at one position, and their plans inside."""

    ends: np.ndarray
    costs: np.ndarray
    index: np.ndarray
    alone: np.ndarray
    nested_ends: np.ndarray
    nested_costs: np.ndarray
    nested_index: np.ndarray


def _by_first(segments: Segments, length: int, most: int) -> list[list[tuple[int, Option]]]:
    """(end, option) of each beginning, by ascending end, without those that alone take more than `most` bytes."""
    starting: list[list[tuple[int, Option]]] = [[] for _ in range(length + 1)]
    for first, last in sorted(segments):
        fitting = [option for option in segments[first, last] if option.kept + option.needed <= most]
        starting[first] += [(last, option) for option in fitting]
    return starting
