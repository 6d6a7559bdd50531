"""The segments of a forward pass between two cuts, and what treating each in one way or another keeps, needs and costs.

Operations stand in a topological order. A cut between two of them is crossed by every activation filled before and read
after it; all of these are kept, so that what lies behind a cut can be computed again without what lies before. Branches
that rejoin (skip connections, pyramid pooling, ICNet's three resolutions) need no special case: their tensors cross
more cuts and are counted once.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence

import numpy as np

from recompute.activations import EXPENSIVE, Activations, Buffer, bits
from recompute.planner import Choice, Option, Segments
from recompute.schedule import Schedule

# oneDNN computes a convolution and the following bias in one operation, which rounds differently: no cut between them.
_BIAS = 'BiasAdd'
# Cheap activations in a row that may be computed again from the same start.
_LATE_DEPTH = 2
_NUM_THRESHOLDS = 5
# A segment that needs so many times the memory allowed will not need less by becoming longer.
_FAR_BEYOND = 1.25
KEEP_ALL, KEEP_NONE = 0.0, float('inf')


class SegmentOptions:
    """Cuts worth considering and the options of every segment between two of them.

    An option keeps, besides what crosses the segment's end, the convolution outputs that save at least `threshold` work
    for each byte (KEEP_ALL: everything the backward pass reads, so that nothing runs twice). The rest is computed again
    when the backward pass enters the segment; or, if `late`, cheap activations only right before the gradient that
    reads them, so that memory never holds more than a layer's worth of them.

    Attributes:
      cuts: operations after which a segment may end; the first is -1, the last the objective's own.
    """

    def __init__(self, activations: Activations):
        self._activations = activations
        self._buffers = activations.buffers
        self._places = [b.place for b in self._buffers]
        self._last_reads = [b.last_read for b in self._buffers]
        self._gradients = np.array(activations.gradient_bytes, np.int64)
        self._joined = _places_before_biases(activations)
        self.cuts = self._choose_cuts()
        found = sorted({b.density for b in self._buffers if b.needed and b.replaceable and b.expensive})
        last = len(found) - 1
        quantiles = {found[i * last // (_NUM_THRESHOLDS - 1)] for i in range(_NUM_THRESHOLDS)} if found else set()
        self._thresholds = [KEEP_NONE, *sorted(quantiles, reverse=True), KEEP_ALL]

    @property
    def length(self) -> int:
        """Number of the last position."""
        return len(self.cuts) - 1

    def all(
        self,
        *,
        keep_expensive: bool = False,
        with_gradients: bool = True,
        at_most: float = float('inf'),
        every: int = 1,
    ) -> Segments:
        """The options of every pair of positions.

        Args:
          keep_expensive: no convolution or matrix product runs twice.
          with_gradients: bytes include the gradients that are there at the same time.
          at_most: leave out options that alone take more bytes, and segments that grow far beyond them.
          every: use only so many of the positions.
        """
        found: dict[tuple[int, int], Sequence[Option]] = {}
        positions = [*range(0, self.length, every), self.length]
        for number, first in enumerate(positions):
            for last in positions[number + 1 :]:
                options = self._options(first, last, keep_expensive, with_gradients)
                fitting = [option for option in options if option.kept + option.needed <= at_most]
                if fitting:
                    found[first, last] = fitting
                elif not options or min(o.kept + o.needed for o in options) > _FAR_BEYOND * at_most:
                    break
        return found

    def option(
        self, first: int, last: int, threshold: float, *, late: bool = False, with_gradients: bool = True
    ) -> Option:
        """One way to treat the segment between two positions."""
        return self._option(self.cuts[first], self.cuts[last], threshold, late, with_gradients)[0]

    def next_cut(self, place: int) -> int:
        """`place`, or the first operation behind it after which a cut may be."""
        return self._joined.get(place, place)

    def schedule(self, choices: Sequence[Choice]) -> Schedule:
        """What the choices mean for the tensors of this forward pass."""
        operations = self._activations.operations
        segment_of = [0] * len(operations)
        recomputed: set[int] = set()
        late: set[int] = set()
        for number, choice in enumerate(choices):
            first, last = self.cuts[choice.first], self.cuts[choice.last]
            indices = self._range(first, last)
            kept = self._kept(indices, last, choice.option.threshold)
            local, passing = self._late(indices, kept) if choice.option.late else (0, 0)
            for place in range(first + 1, last + 1):
                segment_of[place] = number
                for t in operations[place].outputs:
                    index = self._activations.index(t)
                    if index is not None and index in indices and not kept >> index & 1:
                        recomputed.add(id(t))
                        if (local | passing) >> index & 1:
                            late.add(id(t))
        return Schedule(segment_of=segment_of, recomputed=recomputed, late=late)

    def _choose_cuts(self) -> list[int]:
        """After each convolution, and where less crosses than at both neighbours."""
        operations = self._activations.operations
        crossing = self._activations.crossing_bytes()
        filling = set(self._places)
        cuts = [-1]
        for place in sorted(filling):
            if place + 1 >= len(operations) or place in self._joined:
                continue
            ends_layer = operations[place].type in EXPENSIVE or operations[place].type == _BIAS
            if ends_layer or (crossing[place] <= crossing[max(0, place - 1)] and crossing[place] < crossing[place + 1]):
                cuts.append(place)
        return [*cuts, len(operations) - 1]

    def _range(self, first: int, last: int) -> range:
        """Indices of the buffers filled by the operations first + 1 .. last."""
        return range(bisect.bisect_right(self._places, first), bisect.bisect_right(self._places, last))

    def _kept(self, indices: range, last: int, threshold: float) -> int:
        mask = 0
        for index in indices:
            b = self._buffers[index]
            worth = b.needed if threshold == KEEP_ALL else b.expensive and b.density >= threshold
            if b.last_use > last or worth or not b.replaceable:
                mask |= 1 << index
        return mask

    def _options(self, first: int, last: int, keep_expensive: bool, with_gradients: bool) -> list[Option]:
        found: list[Option] = []
        for threshold, late in itertools.product(self._thresholds, (False, True)):
            option, expensive = self._option(self.cuts[first], self.cuts[last], threshold, late, with_gradients)
            if not (keep_expensive and expensive) and not any(_at_least_as_good(o, option) for o in found):
                found.append(option)
            if not option.cost:
                break
        return found

    def _option(self, first: int, last: int, threshold: float, late: bool, with_gradients: bool) -> tuple[Option, bool]:
        """The option between two operations, and whether it runs anything expensive twice."""
        indices = self._range(first, last)
        kept = self._kept(indices, last, threshold)
        local, _ = self._late(indices, kept) if late else (0, 0)
        held = sum(1 << i for i in indices if self._buffers[i].needed and not (kept | local) >> i & 1)
        again, passing = self._rerun(indices, kept, held)
        cost, expensive = 0.0, False
        for index in bits(again):
            cost += self._buffers[index].work
            expensive |= self._buffers[index].expensive
        cost += sum(self._late_work(index, kept | held, indices) for index in bits(local))
        kept_bytes = self._activations.size(kept)
        peak = self._peak(first, last, kept | held, local, with_gradients)
        needed = max(peak, kept_bytes + self._activations.size(held) + passing) - kept_bytes
        return Option(kept=kept_bytes, needed=needed, cost=cost, threshold=threshold, late=late), expensive

    def _rerun(self, indices: range, kept: int, held: int) -> tuple[int, int]:
        """Mask of what has to be computed to have `held`, and the largest of it that is not itself held, in bytes."""
        inside = ((1 << len(indices)) - 1) << indices.start
        droppable = inside & ~kept
        wanted, passing = held, 0
        for index in reversed(indices):
            if wanted >> index & 1:
                b = self._buffers[index]
                wanted |= b.sources & droppable
                if not held >> index & 1:
                    passing = max(passing, b.size)
        return wanted, passing

    def _peak(self, first: int, last: int, there: int, local: int, with_gradients: bool) -> int:
        """Most bytes of the segment's activations, and of gradients, while its backward pass runs.

        An activation that is `there` is freed when the last gradient has read it; one computed late exists from the
        first gradient that reads it to the last, and at the first, with it, what it is computed from.
        """
        change = np.zeros(last - first + 1, np.int64)
        for index in bits(there):
            change[max(0, min(self._last_reads[index], last + 1) - first - 1)] += self._buffers[index].size
        beside = np.zeros(last - first, np.int64)
        for index in bits(local):
            b = self._buffers[index]
            made = min(b.first_read, last) - first - 1
            change[b.last_read - first - 1] += b.size
            change[made + 1] -= b.size
            if b.sources & ~there:
                beside[made] = max(beside[made], b.size)
        total = np.cumsum(change[:-1]) + beside
        if with_gradients:
            total = total + self._gradients[first + 1 : last + 1]
        return int(total.max())

    def _late(self, indices: range, kept: int) -> tuple[int, int]:
        """Masks of the buffers that may be computed late, and of what only they pass through.

        Late ones take cheap operations alone, from what is kept or held, at most _LATE_DEPTH of them in a row: a
        long chain of additions shall not be walked from its start for each.
        """
        depth: dict[int, int] = {}
        local = passing = 0
        for index in indices:
            b = self._buffers[index]
            if kept >> index & 1 or b.expensive or not b.replaceable:
                continue
            level = self._level(b, indices, kept, depth)
            if level is None or level + b.needed > _LATE_DEPTH:
                continue
            depth[index] = level + b.needed
            if b.needed:
                local |= 1 << index
            else:
                passing |= 1 << index
        return local, passing

    def _level(self, b: Buffer, indices: range, kept: int, depth: dict[int, int]) -> int | None:
        """How many late buffers in a row lead to `b`; None if something it needs will be neither kept nor held."""
        level = 0
        for source in bits(b.sources):
            if source < indices.start or kept >> source & 1:
                continue
            if source in depth:
                level = max(level, depth[source])
            elif not self._buffers[source].needed:
                return None
        return level

    def _late_work(self, index: int, there: int, indices: range) -> float:
        total, waiting, seen = 0.0, [index], 1 << index
        while waiting:
            b = self._buffers[waiting.pop()]
            total += b.work
            for source in bits(b.sources & ~there & ~seen):
                if source >= indices.start:
                    seen |= 1 << source
                    waiting.append(source)
        return total


def _places_before_biases(activations: Activations) -> dict[int, int]:
    """Every place from a convolution up to its bias, and the place of the bias.

    What is read from variables alone, kernels' regularisers among it, may stand between the two.
    """
    place_of = {id(op): place for place, op in enumerate(activations.operations)}
    return {
        between: place
        for place, op in enumerate(activations.operations)
        if op.type == _BIAS
        for between in range(place_of[id(op.inputs[0].op)], place)
    }


def _at_least_as_good(one: Option, other: Option) -> bool:
    return one.kept <= other.kept and one.needed <= other.needed and one.cost <= other.cost
