"""Plans that run much again, whatever it costs, so that every net tries it."""

from __future__ import annotations

import math

from recompute.choose import near_the_least
from recompute.forward import ForwardGraph
from recompute.plan import Mode, Planner, Request
from recompute.planner import Choice, Late, Option, Solution
from recompute.segments import SegmentOptions
from recompute.treatment import KEEP_NONE

_DEPTH = 3


class HalvingPlanner(Planner):
    """Runs the first half of the net again, of that the first half, and so on; keeps only what crosses."""

    def __init__(self, *, bfloat16: bool = False):
        super().__init__(Request(mode=Mode.MEMORY), bfloat16=bfloat16)

    def _choose(self, forward: ForwardGraph, options: SegmentOptions) -> tuple[SegmentOptions, Solution]:
        return options, Solution(choices=_halves(options, 0, options.length, _DEPTH))


class LeastPlanner(Planner):
    """The least memory without plans inside plans."""

    def __init__(self, *, bfloat16: bool = False):
        super().__init__(Request(mode=Mode.MEMORY), bfloat16=bfloat16)

    def _choose(self, forward: ForwardGraph, options: SegmentOptions) -> tuple[SegmentOptions, Solution]:
        return options, near_the_least(options, most_work=math.inf, factor=1.0)


def _halves(options: SegmentOptions, first: int, last: int, depth: int) -> list[Choice]:
    if not depth or last - first < 2:
        # Late ones in some segments, expensive ones among them in others.
        late = list(Late)[(first + last) % len(Late)]
        return [Choice(first=first, last=last, option=options.option(first, last, KEEP_NONE, late=late))]
    middle = (first + last) // 2
    inside = Solution(choices=_halves(options, first, middle, depth - 1))
    once = options.option(first, middle, KEEP_NONE)
    option = Option(kept=once.kept, needed=inside.peak - once.kept, cost=once.cost + inside.cost, threshold=math.inf)
    nested = Choice(first=first, last=middle, option=option, inside=inside.choices)
    return [nested, *_halves(options, middle, last, depth - 1)]
