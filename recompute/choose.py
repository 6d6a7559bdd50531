"""From a request (a budget, a mode, names) to the segments that answer it."""

from __future__ import annotations

import dataclasses
import difflib
import enum
import functools
import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from core.errors import UsageError
from recompute import overhead, planner
from recompute.activations import Activations
from recompute.forward import ForwardGraph
from recompute.planner import Choice, Late, Solution
from recompute.segments import SegmentOptions
from recompute.treatment import KEEP_ALL, KEEP_NONE

# No budget: so much of a forward pass may be done again.
_AUTO_WORK = 1 / 3
# A forward pass is about a third of a step, which then takes a third longer.
_MEMORY_WORK = 0.94
_REPLICA = re.compile(r'^replica_\d+/')
_NUM_NAMES_SHOWN = 5
# The last bytes cost most work: a peak so much above the least is taken for less of it.
_NEAR_THE_LEAST = 1.05
# So many positions are looked at at once: of more, some for a first plan, then those around its cuts. A budget that
# takes plans inside plans is tight, which leaves few options, and every position counts.
_MANY_POSITIONS, _MANY_NESTED = 64, 128
# Plans inside plans are looked for where a plan without them does more than this part of a forward pass again.
_NESTING_PAYS = 0.5
# Convolutions too, only where operations may run more than twice.
_LATE = {False: Late.CHEAP, True: Late.ALL}

_Rounding = Callable[[float], int]


class Mode(enum.Enum):
    """What a plan is to achieve."""

    AUTO = 'auto'  # least memory for at most a third of a forward pass
    SPEED = 'speed'  # least memory without running any convolution twice
    MEMORY = 'memory'  # within a twentieth of the least memory for at most 0.94 of a forward pass
    NONE = 'none'  # plain training, only estimated


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of a plan; at most one of budget, share and nodes, which come before the mode.

    Attributes:
      mode: see `Mode`.
      budget: bytes that the step may need beyond what the process holds before it.
      share: of the activation bytes that plain training keeps, in (0, 1].
      nodes: names of operations, tensors or scopes to keep, as the reference's `--checkpoint_nodes`.
      said_as: the flag or the field that asks, for messages.
    """

    mode: Mode = Mode.AUTO
    budget: int | None = None
    share: float | None = None
    nodes: Sequence[str] = ()
    said_as: str = '--memory_budget'


def choose(request: Request, forward: ForwardGraph, options: SegmentOptions) -> tuple[SegmentOptions, Solution]:
    """The segments, and the options that their positions count in.

    Raises UsageError for a budget that cannot be met or a node that does not exist.
    """
    activations = options.activations
    if request.nodes:
        return _at_nodes(request, forward, options)
    if request.mode is Mode.NONE and request.budget is None and request.share is None:
        whole = options.option(0, options.length, KEEP_ALL)
        return options, Solution(choices=[Choice(first=0, last=options.length, option=whole)])
    if request.share is not None:
        plain = max(1, activations.plain_bytes)
        return options, _within(
            options,
            math.ceil(request.share * plain),
            lambda count, rounded: f'{rounded(1000 * count / plain) / 10:g}% of the activations',
            with_gradients=False,
            said_as=request.said_as,
        )
    if request.budget is not None:
        return options, _within_bytes(options, request.budget, request.said_as)
    if request.mode is Mode.MEMORY:
        return options, near_the_least(options)
    most = _AUTO_WORK * activations.total_work if request.mode is Mode.AUTO else float('inf')
    return options, _Search(options, keep_expensive=request.mode is Mode.SPEED).least_peak(most)


def near_the_least(
    options: SegmentOptions, *, most_work: float = _MEMORY_WORK, factor: float = _NEAR_THE_LEAST
) -> Solution:
    """The plan of least work whose peak is at most `factor` of the least that is to be had for `most_work`.

    Args:
      most_work: of a forward pass, done again.
    """
    search = _Search(options)
    least = search.least_peak(most_work * options.activations.total_work)
    return search.least_cost(math.floor(factor * least.peak)) or least


class _Search:
    """Plans of one forward pass. On a long chain a plan on fewer positions is found first, then one on all around its
    cuts.

    Args:
      many: positions that are looked at at once.
      how: what `SegmentOptions.all` is asked.
    """

    def __init__(self, options: SegmentOptions, *, many: int = _MANY_POSITIONS, **how: Any):
        self._options = options
        self._how = how
        self._many = many
        self._every = -(-options.length // many)

    def least_peak(self, most_cost: float = float('inf'), *, nested: bool = False) -> Solution:
        """The plan of least peak whose work is at most this."""
        found = self._least_peak(self._coarse, most_cost, nested)
        return found if self._every == 1 else self._least_peak(self._around(found), most_cost, nested)

    def least_cost(self, budget: int, *, nested: bool = False) -> Solution | None:
        """The plan of least work within `budget`; None if there is none."""
        found = self._least_cost(self._coarse, budget, nested)
        if self._every == 1:
            return found
        around = found or self._least_peak(self._coarse, float('inf'), nested)
        return self._least_cost(self._around(around), budget, nested)

    @functools.cached_property
    def _coarse(self) -> list[int]:
        """Of so many positions in a row the one that fewest bytes cross."""
        crossing, cuts, length = self._options.activations.crossing_bytes(), self._options.cuts, self._options.length
        groups = [range(first, min(first + self._every, length)) for first in range(1, length, self._every)]
        return [0, *(min(group, key=lambda position: crossing[cuts[position]]) for group in groups), length]

    def _around(self, found: Solution) -> list[int]:
        """Its cuts, and what is nearest to them."""
        length = self._options.length
        cuts = {0, length} | {choice.last for choice in _all_choices(found.choices)}
        positions = set(cuts)
        for shift in range(1, self._every + 1):
            near = {cut + sign * shift for cut in cuts for sign in (-1, 1)}
            positions |= {position for position in near if 0 < position < length}
            if len(positions) >= self._many:
                break
        return sorted(positions)

    def _least_peak(self, positions: list[int], most_cost: float, nested: bool) -> Solution:
        segments = self._options.all(positions=positions, late=_LATE[nested], **self._how)
        reruns = self._options.reruns(positions) if nested else None
        return planner.least_peak(segments, self._options.length, most_cost=most_cost, reruns=reruns)

    def _least_cost(self, positions: list[int], budget: int, nested: bool) -> Solution | None:
        segments = self._options.all(positions=positions, late=_LATE[nested], at_most=budget, **self._how)
        reruns = self._options.reruns(positions) if nested else None
        return planner.least_cost(segments, self._options.length, budget, reruns)


def _all_choices(choices: Sequence[Choice]) -> list[Choice]:
    return [*choices, *itertools.chain.from_iterable(_all_choices(choice.inside) for choice in choices)]


def _within_bytes(options: SegmentOptions, budget: int, said_as: str) -> Solution:
    """Least work with which the process takes no more than `budget` for a step."""
    activations = options.activations
    lasting = activations.lasting_bytes
    return _within(
        options,
        overhead.may_hold(budget) - lasting,
        megabytes,
        lambda held: overhead.taken(held + lasting),
        asked=budget,
        least=activations.variable_gradient_bytes - lasting,
        said_as=said_as,
    )


def _within(
    options: SegmentOptions,
    budget: int,
    said: Callable[[float, _Rounding], str],
    taken: Callable[[float], float] = float,
    *,
    asked: int | None = None,
    least: int = 0,
    with_gradients: bool = True,
    said_as: str,
) -> Solution:
    """Least work within `budget`, of which the end of the step takes at least `least` whatever is kept before.

    Messages tell what was `asked`, if in another unit, and what is `taken` for what is held, as `said` writes it.
    """
    # The planner's grid rounds up: what plain training needs, and the least there is, shall themselves be enough.
    whole = options.option(0, options.length, KEEP_ALL, with_gradients=with_gradients)
    plain = Solution(choices=[Choice(first=0, last=options.length, option=whole)])
    regularizer = options.activations.regularizer_gradient_bytes if with_gradients else 0
    if max(plain.peak + regularizer, least) <= budget:
        return plain
    search = _Search(options, with_gradients=with_gradients)
    solution = search.least_cost(budget) if budget > 0 else None
    if solution is not None and not solution.cost:  # Plain training under another name.
        solution = search.least_cost(budget - regularizer) if budget > regularizer else None
    if solution is not None and least <= budget and solution.cost <= _NESTING_PAYS * options.activations.total_work:
        return solution
    finer = _Search(options, many=_MANY_NESTED, with_gradients=with_gradients)
    nested = finer.least_cost(budget, nested=True) if budget > 0 else None
    solution = nested or solution or search.least_peak(nested=True)
    needed = max(solution.peak, least)
    if needed > budget:
        there, enough = budget if asked is None else asked, taken(needed)
        raise UsageError(
            f'{said_as}: {said(there, math.floor)} is less than a step of this model needs at this crop '
            f'and batch; the least is {said(enough, math.ceil)}, {said(enough - there, math.ceil)} more. Choose that, '
            'a smaller train_config.batch_size, or a smaller crop'
        )
    return solution


def _at_nodes(request: Request, forward: ForwardGraph, options: SegmentOptions) -> tuple[SegmentOptions, Solution]:
    """Cuts after the named operations; what crosses them is kept, all else before the last one computed again."""
    names = [plain_name(op.name) for op in forward.operations]
    places = [_place(node, names, options.activations, said_as=request.said_as) for node in request.nodes]
    options = options.at_cuts(places)
    last = options.length
    return options, Solution(
        choices=[
            Choice(first=i, last=i + 1, option=options.option(i, i + 1, KEEP_ALL if i + 1 == last else KEEP_NONE))
            for i in range(last)
        ]
    )


def _place(node: str, names: Sequence[str], activations: Activations, *, said_as: str) -> int:
    """The last operation that has the name, as an operation, a tensor (`name:0`) or a scope."""
    wanted = node.strip().removesuffix('/')
    wanted = re.sub(r':\d+$', '', wanted)
    filling = {b.place for b in activations.buffers}
    found = [p for p, name in enumerate(names) if name == wanted or name.startswith(f'{wanted}/')]
    if found:
        return max((p for p in found if p in filling), default=found[-1])  # small outputs are in no buffer
    scopes = {'/'.join(name.split('/')[:depth]) for name in names for depth in range(1, name.count('/') + 2)}
    near = difflib.get_close_matches(wanted, sorted(scopes), n=_NUM_NAMES_SHOWN, cutoff=0.0)
    raise UsageError(f'{said_as}: {node!r} is no operation, tensor or scope of this model; near: {", ".join(near)}')


def plain_name(name: str) -> str:
    """Without the scope of a replica."""
    return _REPLICA.sub('', name)


def megabytes(count: float, rounded: _Rounding = round) -> str:
    """`6,120 MB`, `83.4 MB`, `912 kB`."""
    size, unit = (count / 1e6, 'MB') if count >= 1e7 else (count / 1e3, 'kB')
    decimals = 1 if 0 < size < 100 else 0
    return f'{rounded(size * 10**decimals) / 10**decimals:,.{decimals}f} {unit}'
