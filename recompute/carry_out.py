"""What chosen segments mean for the tensors of a forward pass."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from recompute.planner import Choice
from recompute.schedule import Schedule
from recompute.segments import SegmentOptions
from recompute.treatment import KEEP_NONE, Treatment


def make_schedule(options: SegmentOptions, choices: Sequence[Choice]) -> Schedule:
    """The schedule of a plan, for the forward pass that `options` are of."""
    return _Builder(options).build(choices)


class _Builder:
    def __init__(self, options: SegmentOptions):
        self._options = options
        self._segment_of = [0] * len(options.activations.operations)
        self._inside: list[tuple[int, ...]] = []
        self._kept_by: list[set[int]] = []
        self._late: set[int] = set()

    def build(self, choices: Sequence[Choice]) -> Schedule:
        everything, kept = self._tensors(-1, self._options.cuts[-1]), self._keep(choices, ())
        return Schedule(
            segment_of=self._segment_of,
            recomputed={id(t) for t, _ in everything} - kept,
            late=self._late,
            inside=self._inside,
            kept_by=self._kept_by,
        )

    def _keep(self, choices: Sequence[Choice], reruns: tuple[int, ...]) -> set[int]:
        """Numbers the segments of a plan inside these reruns; ids of the tensors it keeps."""
        kept: set[int] = set()
        for choice in choices:
            option = choice.option
            first, last = self._options.cuts[choice.first], self._options.cuts[choice.last]
            if choice.inside:
                number = len(self._kept_by)
                self._kept_by.append(set())
                self._kept_by[number] = self._keep(choice.inside, (*reruns, number))
                treatment = self._options.treatment(choice.first, choice.last, KEEP_NONE)
            else:
                treatment = self._options.treatment(choice.first, choice.last, option.threshold, late=option.late)
                self._segment_of[first + 1 : last + 1] = [len(self._inside)] * (last - first)
                self._inside.append(reruns)
                self._mark_late(treatment, first, last)
            kept |= {id(t) for t, index in self._tensors(first, last) if treatment.kept[index]}
        return kept

    def _mark_late(self, treatment: Treatment, first: int, last: int) -> None:
        for t, index in self._tensors(first, last):
            if not treatment.kept[index] and (treatment.late[index] or treatment.passing_late[index]):
                self._late.add(id(t))

    def _tensors(self, first: int, last: int) -> list[tuple[tf.Tensor, int]]:
        """What the operations first + 1 .. last make, and in which buffer. What is too small for one is always kept."""
        activations = self._options.activations
        found = [(t, activations.index(t)) for op in activations.operations[first + 1 : last + 1] for t in op.outputs]
        return [(t, index) for t, index in found if index is not None]
