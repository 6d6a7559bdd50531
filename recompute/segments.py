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

from recompute.activations import EXPENSIVE, Activations, bits
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
        self._sources = [tuple(bits(b.sources)) for b in self._buffers]
        self._sizes, self._last_uses, self._last_reads = (
            np.array([getattr(b, name) for b in self._buffers], np.int64) for name in ('size', 'last_use', 'last_read')
        )
        self._needed, self._replaceable, self._expensive = (
            np.array([getattr(b, name) for b in self._buffers], bool) for name in ('needed', 'replaceable', 'expensive')
        )
        self._work, self._densities = (
            np.array([getattr(b, name) for b in self._buffers], float) for name in ('work', 'density')
        )
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
            local, passing, _ = self._late(indices, kept) if choice.option.late else (0, 0, 0.0)
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
        inside = slice(indices.start, indices.stop)
        if threshold == KEEP_ALL:
            worth = self._needed[inside]
        else:
            worth = self._expensive[inside] & (self._densities[inside] >= threshold)
        return _mask(worth | (self._last_uses[inside] > last) | ~self._replaceable[inside], indices)

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
        inside = slice(indices.start, indices.stop)
        kept = self._kept(indices, last, threshold)
        local, _, late_work = self._late(indices, kept) if late else (0, 0, 0.0)
        held = _mask(self._needed[inside], indices) & ~(kept | local)
        again, passing = self._rerun(indices, kept, held)
        repeated = _flags(again, indices)
        cost = float(self._work[inside] @ repeated) + late_work
        kept_bytes, held_bytes = (int(self._sizes[inside] @ _flags(mask, indices)) for mask in (kept, held))
        peak = self._peak(first, last, indices, kept | held, local, with_gradients)
        needed = max(peak, kept_bytes + held_bytes + passing) - kept_bytes
        option = Option(kept=kept_bytes, needed=needed, cost=cost, threshold=threshold, late=late)
        return option, bool((self._expensive[inside] & repeated).any())

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

    def _peak(self, first: int, last: int, indices: range, there: int, local: int, with_gradients: bool) -> int:
        """Most bytes of the segment's activations, and of gradients, while its backward pass runs.

        An activation that is `there` is freed when the last gradient has read it; one computed late exists from the
        first gradient that reads it to the last, and at the first, with it, what it is computed from.
        """
        length, inside = last - first, slice(indices.start, indices.stop)
        sizes, here = self._sizes[inside], _flags(there, indices)
        freed = np.clip(self._last_reads[inside][here] - first - 1, 0, length)
        change = np.bincount(freed, sizes[here], length + 1)
        beside = np.zeros(length)
        for index in bits(local):
            b = self._buffers[index]
            made = min(b.first_read, last) - first - 1
            change[b.last_read - first - 1] += b.size
            change[made + 1] -= b.size
            if b.sources & ~there:
                beside[made] = max(beside[made], b.size)
        total = np.cumsum(change[:-1]) + beside
        if with_gradients:
            total += self._gradients[first + 1 : last + 1]
        return int(total.max())

    def _late(self, indices: range, kept: int) -> tuple[int, int, float]:
        """Masks of the buffers that may be computed late and of what only they pass through, and the work of all.

        Late ones take cheap operations alone, from what is kept or held, at most _LATE_DEPTH of them in a row: a
        long chain of additions shall not be walked from its start for each.
        """
        depth: dict[int, int] = {}
        work: dict[int, float] = {}
        local = passing = 0
        for index in indices:
            b = self._buffers[index]
            if kept >> index & 1 or b.expensive or not b.replaceable:
                continue
            level = self._level(index, indices, kept, depth)
            if level is None or level + b.needed > _LATE_DEPTH:
                continue
            depth[index] = level + b.needed
            work[index] = b.work + sum(work.get(source, 0.0) for source in self._sources[index])
            if b.needed:
                local |= 1 << index
            else:
                passing |= 1 << index
        return local, passing, sum(work[index] for index in bits(local))

    def _level(self, index: int, indices: range, kept: int, depth: dict[int, int]) -> int | None:
        """How many late buffers in a row lead to it; None if something it needs will be neither kept nor held."""
        level = 0
        for source in self._sources[index]:
            if source < indices.start or kept >> source & 1:
                continue
            if source in depth:
                level = max(level, depth[source])
            elif not self._buffers[source].needed:
                return None
        return level


def _flags(mask: int, indices: range) -> np.ndarray:
    """bool [len(indices)]: which of the indices are in the mask."""
    count = len(indices)
    packed = (mask >> indices.start & (1 << count) - 1).to_bytes(-(-count // 8), 'little')
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=count, bitorder='little').view(bool)


def _mask(flags: np.ndarray, indices: range) -> int:
    """The mask of those of the indices whose flag is set."""
    return int.from_bytes(np.packbits(flags, bitorder='little').tobytes(), 'little') << indices.start


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
