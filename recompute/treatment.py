"""What one way to treat segments keeps, needs and costs, for all segments that end at the same operation at once.

A planner asks for thousands of them. Rows stand for segments of different beginnings: a set of rows is the bits of an
integer, a number for each row an array, so that one walk over the activations serves all.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Sequence

import numpy as np

from recompute.activations import Activations, bits
from recompute.planner import Late

# Cheap activations in a row that may be computed again from the same start.
_LATE_DEPTH = 2
KEEP_ALL, KEEP_NONE = 0.0, float('inf')


class BufferTable:
    """The buffers of `Activations` by column, and the intervals of operations between which memory may change.

    Args:
      activations: of the forward pass.
      firsts: operations after which a segment may begin, ascending; row r of a treatment begins after `firsts[r]`.
      cuts: all operations after which one may begin or end.
    """

    def __init__(self, activations: Activations, firsts: Sequence[int], cuts: Sequence[int]):
        buffers = activations.buffers
        self.firsts = np.array(firsts, np.int64)
        self.places = [b.place for b in buffers]
        self.sources = [tuple(bits(b.sources)) for b in buffers]
        self.sizes, self.last_uses, self.first_reads, self.last_reads = (
            np.array([getattr(b, name) for b in buffers], np.int64)
            for name in ('size', 'last_use', 'first_read', 'last_read')
        )
        self.needed, self.replaceable, self.expensive = (
            np.array([getattr(b, name) for b in buffers], bool) for name in ('needed', 'replaceable', 'expensive')
        )
        self.work, self.densities = (
            np.array([getattr(b, name) for b in buffers], float) for name in ('work', 'density')
        )
        self.within = [(1 << bisect.bisect_left(firsts, place)) - 1 for place in self.places]
        gradients = np.array(activations.gradient_bytes, np.int64)
        ends = np.array(cuts, np.int64)
        reads = [self.last_reads, self.first_reads, self.first_reads + 1]
        self.starts = np.unique(np.concatenate([*reads, ends, ends + 1]))
        self.starts = self.starts[(self.starts >= 0) & (self.starts < len(gradients))]
        self.gradients = np.maximum.reduceat(gradients, self.starts)
        # Intervals before the first of each row do not belong to its segment.
        self.outside = self.starts[:, np.newaxis] <= self.firsts

    @functools.cached_property
    def may_be_late(self) -> dict[Late, list[bool]]:
        """Buffers that can be computed again, and cheaply."""
        return {
            Late.NOTHING: [False] * len(self.places),
            Late.CHEAP: (self.replaceable & ~self.expensive).tolist(),
            Late.ALL: self.replaceable.tolist(),
        }

    @functools.cached_property
    def needs(self) -> list[bool]:
        """`needed`, to be asked one by one."""
        return self.needed.tolist()


class Treatment:
    """Keep convolution outputs that save at least `threshold` work a byte, and compute the rest again on entry or late.

    KEEP_ALL keeps everything that the backward pass reads, so that nothing runs twice. What crosses the end of the
    segment, and what cannot be computed again, is always kept. Activations that are computed `late`, only right before
    the gradient that reads them, never fill memory with more than a layer's worth of them. They are computed from what
    is kept or held, at most _LATE_DEPTH in a row, or a long chain of additions would be walked from its start for each.

    Args:
      last: the operation that ends all of the segments.

    Attributes:
      kept: for each buffer filled up to `last`, whether it is kept.
      late: for each, the rows that compute it late.
      passing_late: the rows in which it is only passed through on the way to late ones.
      held: the rows that compute it on entry and hold it.
      again: the rows that compute it on entry at all.
    """

    def __init__(self, table: BufferTable, last: int, threshold: float, *, late: Late = Late.NOTHING):
        self._table = table
        self._last = last
        self._count = count = bisect.bisect_right(table.places, last)
        self._num_rows = int(np.searchsorted(table.firsts, last))
        if threshold == KEEP_ALL:
            worth = table.needed[:count]
        else:
            worth = table.expensive[:count] & (table.densities[:count] >= threshold)
        self._kept = worth | (table.last_uses[:count] > last) | ~table.replaceable[:count]
        self.kept: list[bool] = self._kept.tolist()
        nothing = [0] * count
        self.late, self.passing_late = self._find_late(late) if late is not Late.NOTHING else (nothing, nothing)
        self.held = [
            within & ~here if needed and not kept else 0
            for within, here, needed, kept in zip(table.within, self.late, table.needs, self.kept, strict=False)
        ]
        self.again = self._find_again()

    def kept_bytes(self) -> np.ndarray:
        """int64 [rows]"""
        return self._table.sizes[: self._count] @ (self._within & self._kept[:, np.newaxis])

    def work(self) -> np.ndarray:
        """float64 [rows], of what is computed again."""
        table = self._table
        found = table.work[: self._count] @ self._rows(self.again)
        if any(self.late):
            chains = table.work[: self._count, np.newaxis] * self._rows(
                [one | other for one, other in zip(self.late, self.passing_late, strict=True)]
            )
            for index, rows in enumerate(self.late):
                if rows or self.passing_late[index]:
                    inside = chains[index] > 0
                    for source in table.sources[index]:
                        chains[index] += chains[source] * inside
            found = found + (chains * self._rows(self.late)).sum(0)
        return found

    def repeats_expensive(self) -> np.ndarray:
        """bool [rows]: a convolution or matrix product runs again."""
        runs = [one | other for one, other in zip(self.again, self.late, strict=True)]
        return np.any(self._rows(runs) & self._table.expensive[: self._count, np.newaxis], axis=0)

    def peak(self, *, with_gradients: bool = True) -> np.ndarray:
        """int64 [rows]: most bytes of the segment's activations while its backward pass runs.

        An activation is freed when the last gradient has read it; one computed late exists from the first gradient that
        reads it to the last. Gradients count if asked for, and with them what passes through while others are computed.
        """
        table, count = self._table, self._count
        size = table.sizes[:count, np.newaxis]
        reads = table.last_reads[:count]
        held = (self._rows(self.held) | (self._within & self._kept[:, np.newaxis])) * size
        places, changes = [reads], [held]
        if any(self.late):
            late = self._rows(self.late) * size
            places += [reads, np.minimum(table.first_reads[:count], self._last) + 1]
            changes += [late, -late]
        place, change = np.concatenate(places), np.concatenate(changes)
        order = np.argsort(place, kind='stable')
        sums = np.concatenate([np.zeros((1, self._num_rows), np.int64), np.cumsum(change[order], axis=0)])
        starts = table.starts[: int(np.searchsorted(table.starts, self._last, 'right'))]
        live = sums[np.searchsorted(place[order], starts, 'right')]
        on_entry = live[-1].copy()
        if with_gradients:
            on_entry += self._largest_passing()
            live += table.gradients[: len(starts), np.newaxis] + self._beside(starts)
        live[table.outside[: len(starts), : self._num_rows]] = 0
        return np.maximum(live.max(0), on_entry)

    @functools.cached_property
    def _within(self) -> np.ndarray:
        return self._rows(self._table.within[: self._count])

    def _rows(self, sets: Sequence[int]) -> np.ndarray:
        """bool [len(sets), rows]"""
        width = -(-self._num_rows // 8)
        packed = np.frombuffer(b''.join(rows.to_bytes(width, 'little') for rows in sets), np.uint8)
        packed = packed.reshape(len(sets), width)
        return np.unpackbits(packed, axis=1, count=self._num_rows, bitorder='little').view(bool)

    def _find_late(self, which: Late) -> tuple[list[int], list[int]]:
        table, late, passing = self._table, [0] * self._count, [0] * self._count
        may_be_late = table.may_be_late[which]
        # The rows where a buffer is there after at most so many late ones in a row.
        after: list[list[int]] = [[0] * (_LATE_DEPTH + 1) for _ in range(self._count)]
        for index in range(self._count):
            if self.kept[index] or not may_be_late[index]:
                continue
            ready = [table.within[index]] * (_LATE_DEPTH + 1)
            for source in table.sources[index]:
                if not self.kept[source]:
                    there = ~table.within[source] | (~(late[source] | passing[source]) if table.needs[source] else 0)
                    ready = [rows & (there | deep) for rows, deep in zip(ready, after[source], strict=True)]
            if table.needs[index]:
                after[index] = [0, *ready[:-1]]
                late[index] = after[index][-1]
            else:
                after[index] = ready
                passing[index] = ready[-1]
        return late, passing

    def _find_again(self) -> list[int]:
        table, again = self._table, list(self.held)
        for index in reversed(range(self._count)):
            rows = again[index]
            if rows:
                for source in table.sources[index]:
                    if not self.kept[source]:
                        again[source] |= rows & table.within[source]
        return again

    def _largest_passing(self) -> np.ndarray:
        """int64 [rows]: the largest buffer that is computed on entry and not held."""
        only = [again & ~held for again, held in zip(self.again, self.held, strict=True)]
        return (self._rows(only) * self._table.sizes[: self._count, np.newaxis]).max(0, initial=0)

    def _beside(self, starts: np.ndarray) -> np.ndarray:
        """int64 [intervals, rows]: what late ones are computed from exists with them where they are made."""
        table, found = self._table, np.zeros((len(starts), self._num_rows), np.int64)
        made = [
            (min(int(table.first_reads[index]), self._last), int(table.sizes[index]), rows & self._from_passing(index))
            for index, rows in enumerate(self.late)
            if rows
        ]
        made = [one for one in made if one[2]]
        if made:
            flags = self._rows([rows for _, _, rows in made])
            where = np.searchsorted(starts, [place for place, _, _ in made], 'right') - 1
            for interval, (_, size, _), rows in zip(where, made, flags, strict=True):
                np.maximum(found[interval], size * rows, out=found[interval])
        return found

    def _from_passing(self, index: int) -> int:
        """The rows where something it is computed from is not there yet."""
        found = 0
        for source in self._table.sources[index]:
            if not self.kept[source]:
                found |= self._table.within[source] & ~self.held[source]
        return found
