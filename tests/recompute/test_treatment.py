"""What all segments keep, need and cost, computed at once, against one segment at a time by plain sets."""

from __future__ import annotations

import dataclasses
import types
from typing import Any

import numpy as np
import pytest

from recompute.activations import Buffer
from recompute.planner import Late
from recompute.treatment import KEEP_ALL, KEEP_NONE, BufferTable, Treatment

_NUM_OPERATIONS = 30


def random_activations(rng: np.random.Generator) -> Any:
    """Buffers of a net that branches and rejoins at random, as `Activations` describes them."""
    places = sorted(rng.choice(_NUM_OPERATIONS, 16, replace=False).tolist())
    buffers: list[Buffer] = []
    for index, place in enumerate(places):
        sources = {int(i) for i in rng.integers(max(0, index - 4), index, 2)} if index else set()
        for source in sources:
            buffers[source].last_use = place
        buffers.append(
            Buffer(
                place=place,
                last_use=place,
                size=int(rng.integers(1, 50)),
                needed=False,
                replaceable=bool(rng.random() < 0.9),
                expensive=bool(rng.random() < 0.4),
                first_read=place,
                last_read=place,
                work=float(rng.integers(1, 100)),
                sources=sum(1 << source for source in sources),
            )
        )
    for b in buffers:
        if rng.random() < 0.6:
            b.read_at(sorted({b.place, b.last_use} if rng.random() < 0.5 else {b.last_use}, reverse=True))
    return types.SimpleNamespace(buffers=buffers, gradient_bytes=rng.integers(0, 60, _NUM_OPERATIONS).tolist())


@dataclasses.dataclass
class OneSegment:
    """The same of the segment (first, last], straight from the definition."""

    net: Any
    first: int
    last: int
    threshold: float
    which: Late

    def __post_init__(self):
        self.b = self.net.buffers
        self.inside = [i for i, b in enumerate(self.b) if self.first < b.place <= self.last]
        self.kept = {i for i in self.inside if self.is_kept(self.b[i])}
        self.depth: dict[int, int] = {}
        for i in self.inside:
            self.find_depth(i)
        self.late = {i for i in self.depth if self.b[i].needed}
        self.held = {i for i in self.inside if self.b[i].needed} - self.kept - self.late
        self.again = set(self.held)
        for i in reversed(self.inside):
            if i in self.again:
                self.again |= set(self.sources(i)) - self.kept

    def sources(self, index: int) -> list[int]:
        return [i for i in self.inside if self.b[index].sources >> i & 1]

    def is_kept(self, b: Buffer) -> bool:
        worth = b.needed if self.threshold == KEEP_ALL else b.expensive and b.density >= self.threshold
        return worth or b.last_use > self.last or not b.replaceable

    def find_depth(self, i: int) -> None:
        """How many late ones in a row end with it, of at most two; absent if it is not late."""
        b = self.b[i]
        if self.which is Late.NOTHING or i in self.kept or (self.which is Late.CHEAP and b.expensive):
            return
        level = 0
        for source in set(self.sources(i)) - self.kept:
            if source not in self.depth and not self.b[source].needed:
                return
            level = max(level, self.depth.get(source, 0))
        if level + b.needed <= 2:
            self.depth[i] = level + b.needed

    def work(self) -> float:
        def chain(i: int) -> float:
            return self.b[i].work + sum(chain(source) for source in self.sources(i) if source in self.depth)

        return sum(self.b[i].work for i in self.again) + sum(chain(i) for i in self.late)

    def live(self, place: int) -> int:
        there = sum(self.b[i].size for i in self.kept | self.held if self.b[i].last_read <= place)
        made = {i: min(self.b[i].first_read, self.last) for i in self.late}
        return there + sum(self.b[i].size for i in self.late if self.b[i].last_read <= place <= made[i])

    def peak(self) -> int:
        return max(self.live(place) for place in range(self.first + 1, self.last + 1))

    def peak_with_gradients(self) -> int:
        """With what passes through: on entry the largest, and where a late one is made as much again."""
        passing = max((self.b[i].size for i in self.again - self.held), default=0)
        places = range(self.first + 1, self.last + 1)
        return max(
            self.live(self.last) + passing,
            *(self.live(place) + self.net.gradient_bytes[place] + self.beside(place) for place in places),
        )

    def beside(self, place: int) -> int:
        made = [i for i in self.late if min(self.b[i].first_read, self.last) == place]
        absent = [i for i in made if set(self.sources(i)) - self.kept - self.held]
        return max((self.b[i].size for i in absent), default=0)


@pytest.mark.parametrize('late', Late)
@pytest.mark.parametrize('threshold', [KEEP_NONE, 1.0, 3.0, KEEP_ALL])
@pytest.mark.parametrize('seed', range(8))
def test_all_segments_at_once_equal_one_at_a_time(seed: int, threshold: float, late: Late):
    rng = np.random.default_rng(seed)
    net = random_activations(rng)
    cuts = [-1, *sorted(rng.choice(_NUM_OPERATIONS - 1, 8, replace=False).tolist()), _NUM_OPERATIONS - 1]
    table = BufferTable(net, cuts, cuts)
    for last in cuts[1:]:
        found = Treatment(table, last, threshold, late=late)
        kept, work, peak, whole = found.kept_bytes(), found.work(), found.peak(with_gradients=False), found.peak()
        for row, first in enumerate(cut for cut in cuts if cut < last):
            one = OneSegment(net, first, last, threshold, late)
            assert kept[row] == sum(net.buffers[i].size for i in one.kept)
            assert work[row] == one.work()
            assert peak[row] == one.peak()
            assert whole[row] == one.peak_with_gradients()
            if first >= 0 or last == cuts[-1]:
                continue
            assert [bool(rows >> row & 1) for rows in found.late] == [i in one.late for i in range(len(found.late))]
