"""From a request (a budget, a mode, names) to what a training step keeps and computes again, and a report of it."""

from __future__ import annotations

import dataclasses
import difflib
import enum
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from core.errors import UsageError
from recompute import planner
from recompute.activations import Activations
from recompute.forward import ForwardGraph
from recompute.needed import trace_backward
from recompute.planner import Choice, Solution
from recompute.schedule import Schedule
from recompute.segments import KEEP_ALL, KEEP_NONE, SegmentOptions

# No budget: so much of a forward pass may be done again.
_AUTO_WORK = 1 / 3
# What TensorFlow itself takes in its first steps: compiled kernels and their scratch memory, about the same for every
# model measured (benchmarks/gradient_checkpointing.py --suite predicted).
RUNTIME_BYTES = 190_000_000
_REPLICA = re.compile(r'^replica_\d+/')
_NUM_NAMES_SHOWN = 5
# More positions than any network of the project has; beyond, a first plan on fewer bounds the search.
_MANY_POSITIONS = 120

_Rounding = Callable[[float], int]


class Mode(enum.Enum):
    """What a plan is to achieve."""

    AUTO = 'auto'  # least memory for at most a third of a forward pass
    SPEED = 'speed'  # least memory without running any convolution twice
    MEMORY = 'memory'  # least memory, every operation at most twice
    NONE = 'none'  # plain training, only estimated


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of a plan; at most one of budget, share and nodes, which come before the mode.

    Attributes:
      mode: see `Mode`.
      budget: bytes that the step may need beyond what the process holds before it.
      share: of the activation bytes that plain training keeps, in (0, 1].
      nodes: names of operations, tensors or scopes to keep, as the reference's `--checkpoint_nodes`.
    """

    mode: Mode = Mode.AUTO
    budget: int | None = None
    share: float | None = None
    nodes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """A row of the report: bytes of activations, and work as a share of one forward pass."""

    last_operation: str
    kept_bytes: int
    recomputed_bytes: int
    forward_work: float
    extra_work: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What was chosen for one replica's forward pass.

    Attributes:
      batch_size: images of the replica.
      plain_activation_bytes: what plain training keeps for the backward pass.
      kept_activation_bytes: what the plan keeps.
      plain_peak_bytes, peak_bytes: predicted, beyond what the process holds before the step, gradients included.
      bytes_per_image: part of `peak_bytes` that grows with the batch, for each image.
      extra_work: share of one forward pass done a second time.
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
        lines = [f'{"segment ends with":<60}  {"kept":>9}  {"recomputed":>10}  {"forward":>7}  {"again":>6}']
        for s in self.segments:
            name = s.last_operation if len(s.last_operation) <= 60 else f'...{s.last_operation[-57:]}'
            lines.append(
                f'{name:<60}  {_megabytes(s.kept_bytes):>9}  {_megabytes(s.recomputed_bytes):>10}  '
                f'{100 * s.forward_work:>6.1f}%  {100 * s.extra_work:>5.1f}%'
            )
        lines.append(
            f'activations kept: {_megabytes(self.kept_activation_bytes)} of {_megabytes(self.plain_activation_bytes)}; '
            f'predicted peak of a step: {_megabytes(self.peak_bytes)} of {_megabytes(self.plain_peak_bytes)}; '
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
        self._known: dict[tuple[str, ...], tuple[Sequence[Choice], Plan]] = {}

    def __call__(
        self, forward: ForwardGraph, variables: Sequence[tf.Variable], *, gradients_wait: bool = True
    ) -> Schedule | None:
        """The schedule for `backward.gradients`; None where nothing is to be recomputed.

        `gradients_wait` says that the gradients of variables are held to the end of the step. Raises UsageError for a
        budget that cannot be met or a node that does not exist.
        """
        backward = trace_backward(forward, variables, gradients_wait=gradients_wait, bfloat16=self._bfloat16)
        activations = Activations(forward, backward, bfloat16=self._bfloat16)
        options = SegmentOptions(activations)
        key = forward.fingerprint()
        if key not in self._known:
            choices = _choose(self.request, forward, activations, options).choices
            self._known[key] = choices, _describe(self.request, choices, forward, activations, options)
        choices, self.plan = self._known[key]
        return options.schedule(choices) if any(choice.option.cost for choice in choices) else None


def _choose(request: Request, forward: ForwardGraph, activations: Activations, options: SegmentOptions) -> Solution:
    if request.nodes:
        return _at_nodes(request.nodes, forward, activations, options)
    if request.mode is Mode.NONE and request.budget is None and request.share is None:
        return Solution(
            choices=[Choice(first=0, last=options.length, option=options.option(0, options.length, KEEP_ALL))]
        )
    if request.share is not None:
        plain = max(1, activations.plain_bytes)
        return _within(
            options,
            math.ceil(request.share * plain),
            lambda count, rounded: f'{rounded(1000 * count / plain) / 10:g}% of the activations',
            with_gradients=False,
        )
    if request.budget is not None:
        return _within(options, request.budget - RUNTIME_BYTES, _megabytes, RUNTIME_BYTES)
    most = _AUTO_WORK * activations.total_work if request.mode is Mode.AUTO else float('inf')
    return _least_peak(options, most_cost=most, keep_expensive=request.mode is Mode.SPEED)


def _least_peak(options: SegmentOptions, *, most_cost: float = float('inf'), **how: bool) -> Solution:
    """The plan of least peak; for a long chain, what a plan on fewer positions needs bounds the segments looked at."""
    bound, every = float('inf'), -(-options.length // _MANY_POSITIONS)
    if every > 1:
        coarse = planner.least_peak(options.all(every=every, **how), options.length, most_cost=most_cost)
        bound = coarse.peak
    return planner.least_peak(options.all(at_most=bound, **how), options.length, most_cost=most_cost)


def _within(
    options: SegmentOptions,
    budget: int,
    said: Callable[[float, _Rounding], str],
    besides: int = 0,
    *,
    with_gradients: bool = True,
) -> Solution:
    """Least work within `budget`; messages add what a step takes `besides` and write bytes as `said` does."""
    # The planner's grid rounds up: what plain training needs, and the least there is, shall themselves be enough.
    whole = options.option(0, options.length, KEEP_ALL, with_gradients=with_gradients)
    plain = Solution(choices=[Choice(first=0, last=options.length, option=whole)])
    if plain.peak <= budget:
        return plain
    segments = options.all(with_gradients=with_gradients, at_most=budget)
    solution = planner.least_cost(segments, options.length, budget) if budget > 0 else None
    solution = solution or _least_peak(options, with_gradients=with_gradients)
    if solution.peak > budget:
        raise UsageError(
            f'memory_budget: {said(budget + besides, math.floor)} is less than a step of this model needs at this crop '
            f'and batch; the least is {said(solution.peak + besides, math.ceil)}, '
            f'{said(solution.peak - budget, math.ceil)} more. Choose that, a smaller train_config.batch_size, or a '
            'smaller crop'
        )
    return solution


def _at_nodes(
    nodes: Sequence[str], forward: ForwardGraph, activations: Activations, options: SegmentOptions
) -> Solution:
    """Cuts after the named operations; what crosses them is kept, all else before the last one computed again."""
    names = [_plain_name(op.name) for op in forward.operations]
    places = sorted({options.next_cut(_place(node, names, activations)) for node in nodes})
    cuts = [-1, *places, options.cuts[-1]]
    options.cuts = sorted(set(cuts))
    last = options.length
    return Solution(
        choices=[
            Choice(first=i, last=i + 1, option=options.option(i, i + 1, KEEP_ALL if i + 1 == last else KEEP_NONE))
            for i in range(last)
        ]
    )


def _place(node: str, names: Sequence[str], activations: Activations) -> int:
    """The last operation that has the name, as an operation, a tensor (`name:0`) or a scope."""
    wanted = node.strip().removesuffix('/')
    wanted = re.sub(r':\d+$', '', wanted)
    filling = {b.place for b in activations.buffers}
    found = [p for p, name in enumerate(names) if name == wanted or name.startswith(f'{wanted}/')]
    if found:
        return max((p for p in found if p in filling), default=found[-1])  # small outputs are in no buffer
    scopes = {'/'.join(name.split('/')[:depth]) for name in names for depth in range(1, name.count('/') + 2)}
    near = difflib.get_close_matches(wanted, sorted(scopes), n=_NUM_NAMES_SHOWN, cutoff=0.0)
    raise UsageError(
        f'checkpoint_nodes: {node!r} is no operation, tensor or scope of this model; near: {", ".join(near)}'
    )


def _describe(
    request: Request,
    choices: Sequence[Choice],
    forward: ForwardGraph,
    activations: Activations,
    options: SegmentOptions,
) -> Plan:
    plain = options.option(0, options.length, KEEP_ALL)
    plain_peak = plain.kept + plain.needed + activations.regularizer_gradient_bytes
    again = sum(choice.option.cost for choice in choices)
    peak = _exact_peak(choices, options) if again else plain_peak
    kernels = activations.variable_gradient_bytes
    batch_size = _batch_size(activations)
    return Plan(
        mode='nodes' if request.nodes else 'budget' if request.budget or request.share else request.mode.value,
        batch_size=batch_size,
        plain_activation_bytes=activations.plain_bytes,
        kept_activation_bytes=sum(choice.option.kept for choice in choices),
        plain_peak_bytes=max(plain_peak, kernels) + RUNTIME_BYTES,
        peak_bytes=max(peak, kernels) + RUNTIME_BYTES,
        bytes_per_image=(peak - kernels) / max(1, batch_size),
        extra_work=again / max(1.0, activations.total_work),
        segments=[_segment(choice, forward, activations, options) for choice in choices],
    )


def _exact_peak(choices: Sequence[Choice], options: SegmentOptions) -> int:
    """The peak with gradients counted, also for a plan that was chosen without."""
    kept = peak = 0
    for choice in choices:
        option = options.option(choice.first, choice.last, choice.option.threshold, late=choice.option.late)
        kept += option.kept
        peak = max(peak, kept + option.needed)
    return peak


def _segment(choice: Choice, forward: ForwardGraph, activations: Activations, options: SegmentOptions) -> Segment:
    first, last = options.cuts[choice.first], options.cuts[choice.last]
    inside = [b for b in activations.buffers if first < b.place <= last]
    total = max(1.0, activations.total_work)
    option = options.option(
        choice.first, choice.last, choice.option.threshold, late=choice.option.late, with_gradients=False
    )
    return Segment(
        last_operation=_plain_name(forward.operations[last].name),
        kept_bytes=option.kept,
        recomputed_bytes=max(0, option.needed) if option.cost else 0,
        forward_work=sum(b.work for b in inside) / total,
        extra_work=option.cost / total,
    )


def _batch_size(activations: Activations) -> int:
    for op in activations.operations:
        for t in op.outputs:
            if activations.index(t) is not None and len(t.shape) == 4:
                return int(t.shape[0])
    return 1


def _plain_name(name: str) -> str:
    return _REPLICA.sub('', name)


def _megabytes(count: float, rounded: _Rounding = round) -> str:
    """`6,120 MB`, `83.4 MB`, `912 kB`."""
    size, unit = (count / 1e6, 'MB') if count >= 1e7 else (count / 1e3, 'kB')
    decimals = 1 if 0 < size < 100 else 0
    return f'{rounded(size * 10**decimals) / 10**decimals:,.{decimals}f} {unit}'
