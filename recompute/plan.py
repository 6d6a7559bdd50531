"""From a request (a budget, a mode, names) to what a training step keeps and computes again, and a report of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from recompute import overhead
from recompute.activations import Activations
from recompute.carry_out import make_schedule
from recompute.choose import Mode, Request, choose, megabytes, plain_name
from recompute.forward import ForwardGraph
from recompute.needed import trace_backward
from recompute.planner import Choice, Solution
from recompute.schedule import Schedule
from recompute.segments import SegmentOptions
from recompute.treatment import KEEP_ALL

__all__ = ['Mode', 'Plan', 'Planner', 'Request', 'Segment']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """A row of the report: bytes of activations, and work as a share of one forward pass.

    `parts` is the number of segments that are planned inside it and run again one by one; 1 if it is not divided.
    """

    last_operation: str
    kept_bytes: int
    recomputed_bytes: int
    forward_work: float
    extra_work: float
    parts: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What was chosen for one replica's forward pass.

    Attributes:
      batch_size: images of the replica.
      plain_activation_bytes: what plain training keeps for the backward pass.
      kept_activation_bytes: what the plan keeps.
      plain_peak_bytes, peak_bytes: predicted, beyond what the process holds before the step, gradients included.
      bytes_per_image: part of `peak_bytes` that grows with the batch, for each image.
      extra_work: work done again, as a share of one forward pass.
      planning_seconds: that the choice of segments took, after tracing.
      tracing_seconds: that it took to build the plain backward pass, to see what it reads.
      segments: in forward order.
    """

    mode: str
    batch_size: int
    plain_activation_bytes: int
    kept_activation_bytes: int
    plain_peak_bytes: int
    peak_bytes: int
    bytes_per_image: float
    extra_work: float
    planning_seconds: float
    tracing_seconds: float
    segments: Sequence[Segment]

    def largest_batch(self, available: int) -> int:
        """Images of one step that `available` bytes are enough for, if memory grows evenly with the batch."""
        fixed = self.peak_bytes - self.bytes_per_image * self.batch_size
        return max(0, int((available - fixed) / max(1.0, self.bytes_per_image)))

    def as_json(self) -> dict[str, Any]:
        """Everything, for `recompute_plan.json`."""
        return dataclasses.asdict(self)

    def table(self) -> str:
        """The segments, one a line, and the sums."""
        lines = [
            f'{"segment ends with":<60}  {"kept":>9}  {"recomputed":>10}  {"forward":>7}  {"again":>6}  {"parts":>5}'
        ]
        for s in self.segments:
            name = s.last_operation if len(s.last_operation) <= 60 else f'...{s.last_operation[-57:]}'
            lines.append(
                f'{name:<60}  {megabytes(s.kept_bytes):>9}  {megabytes(s.recomputed_bytes):>10}  '
                f'{100 * s.forward_work:>6.1f}%  {100 * s.extra_work:>5.1f}%  {s.parts:>5}'
            )
        lines.append(
            f'activations kept: {megabytes(self.kept_activation_bytes)} of {megabytes(self.plain_activation_bytes)}; '
            f'predicted peak of a step: {megabytes(self.peak_bytes)} of {megabytes(self.plain_peak_bytes)}; '
            f'extra work: {100 * self.extra_work:.1f} % of a forward pass'
        )
        return '\n'.join(lines)


class Planner:
    """Plans each forward pass it is shown; passes of the same operations (replicas, retraces) get the same plan.

    Args:
      bfloat16: the step will be rewritten to compute in bfloat16, which halves what most activations take.

    Attributes:
      plan: of the last pass shown; None before.
    """

    def __init__(self, request: Request, *, bfloat16: bool = False):
        self.request = request
        self._bfloat16 = bfloat16
        self.plan: Plan | None = None
        self._known: dict[tuple[str, ...], tuple[Sequence[int], Sequence[Choice], Plan]] = {}

    def __call__(
        self, forward: ForwardGraph, variables: Sequence[tf.Variable], *, gradients_wait: bool = True
    ) -> Schedule | None:
        """The schedule for `backward.gradients`; None where nothing is to be recomputed.

        `gradients_wait` says that the gradients of variables are held to the end of the step. Raises UsageError for a
        budget that cannot be met or a node that does not exist.
        """
        started = time.perf_counter()
        backward = trace_backward(forward, variables, gradients_wait=gradients_wait, bfloat16=self._bfloat16)
        activations = Activations(forward, backward, bfloat16=self._bfloat16)
        key = forward.fingerprint()
        if key not in self._known:
            traced = time.perf_counter()
            options, solution = self._choose(forward, SegmentOptions(activations))
            plan = _describe(self.request, solution.choices, forward, options)
            seconds = {'planning_seconds': time.perf_counter() - traced, 'tracing_seconds': traced - started}
            self._known[key] = options.cuts, solution.choices, dataclasses.replace(plan, **seconds)
        cuts, choices, self.plan = self._known[key]
        again = any(choice.option.cost for choice in choices)
        return make_schedule(SegmentOptions(activations, cuts), choices) if again else None

    def _choose(self, forward: ForwardGraph, options: SegmentOptions) -> tuple[SegmentOptions, Solution]:
        return choose(self.request, forward, options)


def _describe(request: Request, choices: Sequence[Choice], forward: ForwardGraph, options: SegmentOptions) -> Plan:
    activations = options.activations
    plain = options.option(0, options.length, KEEP_ALL)
    plain_peak = plain.kept + plain.needed + activations.regularizer_gradient_bytes
    again = sum(choice.option.cost for choice in choices)
    peak = _exact_peak(choices, options) if again else plain_peak
    plain_peak, peak = plain_peak + activations.lasting_bytes, peak + activations.lasting_bytes
    kernels = activations.variable_gradient_bytes
    batch_size = _batch_size(activations)
    taken = overhead.taken(max(peak, kernels))
    return Plan(
        mode='nodes' if request.nodes else 'budget' if request.budget or request.share else request.mode.value,
        batch_size=batch_size,
        plain_activation_bytes=activations.plain_bytes,
        kept_activation_bytes=sum(choice.option.kept for choice in choices),
        plain_peak_bytes=overhead.taken(max(plain_peak, kernels)),
        peak_bytes=taken,
        bytes_per_image=(overhead.may_hold(taken) - kernels) / max(1, batch_size),
        extra_work=again / max(1.0, activations.total_work),
        planning_seconds=0.0,
        tracing_seconds=0.0,
        segments=[_segment(choice, forward, options) for choice in choices],
    )


def _exact_peak(choices: Sequence[Choice], options: SegmentOptions) -> int:
    """The peak with gradients counted, also for a plan that was chosen without."""
    kept = peak = 0
    for choice in choices:
        option = choice.option
        kept += option.kept
        if choice.inside:
            peak = max(peak, kept - option.kept + _exact_peak(choice.inside, options))
        else:
            exact = options.option(choice.first, choice.last, option.threshold, late=option.late)
            peak = max(peak, kept + exact.needed)
    return peak


def _segment(choice: Choice, forward: ForwardGraph, options: SegmentOptions) -> Segment:
    first, last = options.cuts[choice.first], options.cuts[choice.last]
    total = max(1.0, options.activations.total_work)
    option = choice.option
    if not choice.inside:
        option = options.option(choice.first, choice.last, option.threshold, late=option.late, with_gradients=False)
    return Segment(
        last_operation=plain_name(forward.operations[last].name),
        kept_bytes=option.kept,
        recomputed_bytes=max(0, option.needed) if option.cost else 0,
        forward_work=sum(b.work for b in options.activations.buffers if first < b.place <= last) / total,
        extra_work=option.cost / total,
        parts=_num_parts(choice),
    )


def _num_parts(choice: Choice) -> int:
    return sum(map(_num_parts, choice.inside)) if choice.inside else 1


def _batch_size(activations: Activations) -> int:
    for op in activations.operations:
        for t in op.outputs:
            if activations.index(t) is not None and len(t.shape) == 4:
                return int(t.shape[0])
    return 1
