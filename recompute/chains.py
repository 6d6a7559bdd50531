"""Plain chains of stages, and the rule of Chen et al.: what the planner is measured against."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from recompute.planner import Choice, Option, Rerun, Reruns, Segments, Solution


def plain_chain(sizes: Sequence[int], work: Sequence[float]) -> Segments:
    """Every way to keep some stages' outputs of a chain and compute the others again.

    A segment (p, q] keeps the output of stage q and computes those of p + 1 .. q - 1 again from that of stage p. The
    last output is read by the backward pass at once, so it may be given up as well.

    Args:
      sizes: bytes of each stage's output.
      work: of each stage, to compute its output from the one before.

    Raises ValueError if there is not one work for each size.
    """
    if len(sizes) != len(work):
        raise ValueError(f'got {len(sizes)} sizes and {len(work)} works')
    length = len(sizes)
    segments: dict[tuple[int, int], list[Option]] = {}
    for first in range(length):
        needed, cost = 0, 0.0
        for last in range(first + 1, length + 1):
            segments[first, last] = [Option(kept=sizes[last - 1], needed=needed, cost=cost)]
            needed, cost = needed + sizes[last - 1], cost + work[last - 1]
        segments[first, length].append(Option(kept=0, needed=needed, cost=cost))
    return segments


def plain_reruns(sizes: Sequence[int], work: Sequence[float]) -> Reruns:
    """What it takes to run the stages between any two of such a chain again, the end of which is kept."""
    length = len(sizes)
    return {
        (first, last): Rerun(kept=sizes[last - 1], cost=sum(work[first : last - 1]))
        for first in range(length)
        for last in range(first + 1, length + 1)
    }


def equal_segments(segments: Segments, length: int, count: int | None = None) -> Solution:
    """The rule of Chen et al. 2016 (arXiv:1604.06174): segments of equal length, each keeping as little as it can.

    Args:
      segments: the options of each segment (first, last), as the planner takes them.
      length: n, the last position.
      count: number of segments; None: the square root of n.

    Raises KeyError if one of the equal segments is not allowed.
    """
    count = count or max(1, round(math.sqrt(length)))
    ends = [round(i * length / count) for i in range(count + 1)]
    return Solution(
        choices=[
            Choice(first=first, last=last, option=min(segments[first, last], key=_least_kept))
            for first, last in itertools.pairwise(ends)
        ]
    )


def _least_kept(option: Option) -> tuple[int, int, float]:
    return option.kept, option.late.value, option.cost
