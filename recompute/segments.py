"""The segments of a forward pass between two cuts, and what treating each in one way or another keeps, needs and costs.

Operations stand in a topological order. A cut between two of them is crossed by every activation filled before and read
after it; all of these are kept, so that what lies behind a cut can be computed again without what lies before. Branches
that rejoin (skip connections, pyramid pooling, ICNet's three resolutions) need no special case: their tensors cross
more cuts and are counted once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from recompute.activations import EXPENSIVE, Activations
from recompute.planner import Late, Option, Rerun, Reruns, Segments
from recompute.treatment import KEEP_ALL, KEEP_NONE, BufferTable, Treatment

# oneDNN computes a convolution and the following bias in one operation, which rounds differently: no cut between them.
_BIAS = 'BiasAdd'
_NUM_THRESHOLDS = 5


class SegmentOptions:
    """Cuts worth considering and the options of every segment between two of them.

    Args:
      activations: of the forward pass.
      cuts: operations after which a segment may end; the first is -1, the last the objective's own. None: after each
        convolution, before one that shrinks what crosses, and where less crosses than at both neighbours.

    Attributes:
      cuts: as above; positions are indices into it.
    """

    def __init__(self, activations: Activations, cuts: Sequence[int] | None = None):
        self.activations = activations
        self._joined = _places_before_biases(activations)
        self.cuts = self._choose_cuts() if cuts is None else list(cuts)
        buffers = activations.buffers
        found = sorted({b.density for b in buffers if b.needed and b.replaceable and b.expensive})
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
        late: Late = Late.CHEAP,
        with_gradients: bool = True,
        at_most: float = float('inf'),
        positions: Sequence[int] | None = None,
    ) -> Segments:
        """The options of every pair of positions.

        Args:
          keep_expensive: no convolution or matrix product runs twice.
          late: up to what activations may be computed late.
          with_gradients: bytes include the gradients that are there at the same time, what only passes through, and the
            largest workspace.
          at_most: leave out options that alone take more bytes.
          positions: use only these, ascending.
        """
        positions = range(self.length + 1) if positions is None else positions
        table = BufferTable(self.activations, [self.cuts[position] for position in positions], self.cuts)
        found: dict[tuple[int, int], list[Option]] = {}
        for last in positions[1:]:
            for treatment, threshold, which in self._treatments(table, last, late):
                kept, cost = treatment.kept_bytes(), treatment.work()
                peak = treatment.peak(with_gradients=with_gradients)
                if with_gradients:
                    peak = peak + self._workspace(last)[positions[: len(peak)]]
                allowed = peak <= at_most
                if keep_expensive:
                    allowed &= ~treatment.repeats_expensive()
                columns = (allowed, kept, peak - kept, cost)
                rows = zip(positions, *(column.tolist() for column in columns), strict=False)
                for first, fits, kept_bytes, needed, work in rows:
                    if fits:
                        option = Option(kept=kept_bytes, needed=needed, cost=work, threshold=threshold, late=which)
                        _add_if_best(found.setdefault((first, last), []), option)
        return found

    def reruns(self, positions: Sequence[int] | None = None) -> Reruns:
        """What it takes to run each segment's operations once more, keeping nothing but what crosses its end."""
        positions = range(self.length + 1) if positions is None else positions
        table = BufferTable(self.activations, [self.cuts[position] for position in positions], self.cuts)
        found: dict[tuple[int, int], Rerun] = {}
        for last in positions[1:]:
            treatment = Treatment(table, self.cuts[last], KEEP_NONE)
            rows = zip(positions, treatment.kept_bytes().tolist(), treatment.work().tolist(), strict=False)
            found |= {(first, last): Rerun(kept=kept, cost=work) for first, kept, work in rows}
        return found

    def option(
        self, first: int, last: int, threshold: float, *, late: Late = Late.NOTHING, with_gradients: bool = True
    ) -> Option:
        """One way to treat the segment between two positions."""
        treatment = self.treatment(first, last, threshold, late=late)
        kept, peak = int(treatment.kept_bytes()[-1]), int(treatment.peak(with_gradients=with_gradients)[-1])
        peak += int(self._workspace(last)[first]) if with_gradients else 0
        cost = float(treatment.work()[-1])
        return Option(kept=kept, needed=peak - kept, cost=cost, threshold=threshold, late=late)

    def treatment(self, first: int, last: int, threshold: float, *, late: Late = Late.NOTHING) -> Treatment:
        """The same of one row, for that segment alone."""
        return Treatment(self._table_from(first), self.cuts[last], threshold, late=late)

    def at_cuts(self, places: Sequence[int]) -> SegmentOptions:
        """The options between these cuts, moved behind a bias where they would part it from its convolution."""
        moved = {self._joined.get(place, place) for place in places}
        return SegmentOptions(self.activations, sorted({-1, *moved, self.cuts[-1]}))

    @functools.cache  # noqa: B019 - lives as long as the one plan being made
    def _workspace(self, last: int) -> np.ndarray:
        """int64 [last]: largest workspace between each earlier position and this one."""
        needed = np.array(self.activations.workspace_bytes[: self.cuts[last] + 1], np.int64)
        largest = np.maximum.accumulate(needed[::-1])[::-1]
        return largest[np.array(self.cuts[:last], np.int64) + 1]

    @functools.cache  # noqa: B019 - lives as long as the one plan being made
    def _table_from(self, first: int) -> BufferTable:
        return BufferTable(self.activations, [self.cuts[first]], self.cuts)

    def _treatments(self, table: BufferTable, last: int, most: Late) -> list[tuple[Treatment, float, Late]]:
        """Every treatment of the segments that end there, those that would keep the same but once."""
        found, seen = [], []
        for threshold in self._thresholds:
            for late in Late if threshold == KEEP_NONE and most is Late.ALL else (Late.NOTHING, Late.CHEAP):
                treatment = Treatment(table, self.cuts[last], threshold, late=late)
                if late is Late.NOTHING and treatment.kept in seen:
                    break
                seen.append(treatment.kept)
                found.append((treatment, threshold, late))
                if threshold == KEEP_ALL:
                    break
        return found

    def _choose_cuts(self) -> list[int]:
        def ends_layer(op: tf.Operation) -> bool:
            return op.type in EXPENSIVE or op.type == _BIAS

        operations = self.activations.operations
        crossing = self.activations.crossing_bytes()
        places = [place for place in sorted({b.place for b in self.activations.buffers}) if place not in self._joined]
        cuts = [-1]
        for before, place, after in zip([-1, *places], places, [*places[1:], -1], strict=False):
            if place + 1 >= len(operations):
                continue
            narrow = crossing[before] >= crossing[place] < crossing[after]
            shrinks = ends_layer(operations[after]) and crossing[after] < crossing[place]
            if ends_layer(operations[place]) or narrow or shrinks:
                cuts.append(place)
        return [*cuts, len(operations) - 1]


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


def _add_if_best(options: list[Option], option: Option) -> None:
    """Keeps the options of which none is as good as another in every respect."""
    for other in options:
        if other.kept <= option.kept and other.needed <= option.needed and other.cost <= option.cost:
            return
    options.append(option)
