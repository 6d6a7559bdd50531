"""Which channels stay: so many of each group, or the best of the whole network."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from compression import sensitivity
from compression.channels import ChannelGraph, ChannelGroup
from compression.criteria import relative_to_group
from compression.names import GLOBAL, SENSITIVITY, UNIFORM
from compression.targets import written
from core.errors import ConfigError, UsageError, UserError
from core.layers import scaled_width


def best(graph: ChannelGraph, scores: Sequence[np.ndarray], counts: Sequence[int]) -> np.ndarray:
    """bool [num_channels]: the `counts[g]` channels of the highest scores of each group; of equals the first."""
    keep = np.zeros(graph.num_channels, bool)
    for group, values, count in zip(graph.groups, scores, counts, strict=True):
        order = np.argsort(-values, kind='stable')
        keep[group.channels[order[:count]]] = True
    return keep


def counts_of_shapes(graph: ChannelGraph, shapes: Mapping[str, Sequence[int]]) -> list[int] | None:
    """How many channels of each group a network of these variables has; None if it has other layers or couplings."""
    if set(shapes) != set(graph.shapes):
        return None
    counts = [_count_of_shapes(graph, group, shapes) for group in graph.groups]
    if None in counts:
        return None
    whole = [int(count) for count in counts if count is not None]
    keep = best(graph, [np.zeros(len(group.channels)) for group in graph.groups], whole)
    kept = graph.kept_shapes(keep)
    return whole if all(tuple(shapes[name]) == shape for name, shape in kept.items()) else None


def _count_of_shapes(graph: ChannelGraph, group: ChannelGroup, shapes: Mapping[str, Sequence[int]]) -> int | None:
    for layer in group.layers:
        if np.array_equal(np.sort(graph.axes[layer.outputs]), np.sort(group.channels)):
            count = shapes[layer.kernel][layer.outputs.axis]
            return count if 1 <= count <= len(group.channels) else None
    return None


def skipped_groups(graph: ChannelGraph, patterns: Sequence[str]) -> list[bool]:
    """Of each group: does a pattern name one of its layers?

    A pattern is a layer's scope, the beginning of one, or has the wildcards of a shell (`*/conv3`); the backbone's
    scope may be left out.

    Raises UsageError for a pattern that names no layer.
    """
    skipped = [False] * len(graph.groups)
    for pattern in patterns:
        named = [any(_names(pattern, layer.scope) for layer in group.layers) for group in graph.groups]
        if not any(named) and not any(_names(pattern, c.scope) for c in graph.convolutions):
            raise UsageError(f'--skip_layers: {pattern!r} names no layer{_nearest(graph, pattern)}')
        skipped = [old or new for old, new in zip(skipped, named, strict=True)]
    return skipped


def check_named(graph: ChannelGraph, named: Sequence[tuple[str, str]]) -> None:
    """Raises ConfigError with a line for each (field, scope) whose scope is no layer of the network."""
    scopes = {c.scope for c in graph.convolutions}
    problems = [f'{field}: no layer {scope!r}{_nearest(graph, scope)}' for field, scope in named if scope not in scopes]
    if problems:
        raise ConfigError(problems)


def _names(pattern: str, scope: str) -> bool:
    pattern = pattern.strip('/')
    endings = (scope, scope.partition('/')[2])
    return any(
        scope == pattern or scope.startswith(f'{pattern}/') or fnmatch.fnmatchcase(scope, pattern) for scope in endings
    )


def _nearest(graph: ChannelGraph, pattern: str) -> str:
    scopes = list(dict.fromkeys(c.scope for c in graph.convolutions))
    near = difflib.get_close_matches(pattern, scopes, n=3, cutoff=0.4)
    return f'; the nearest are {", ".join(near)}' if near else f'; there are {", ".join(scopes[:3])}, ...'


class Selector:
    """From a share of filters to the channels that stay.

    Args:
      graph: the network.
      scores: of each group's channels.
      scope: UNIFORM keeps that share of every group, GLOBAL the best of all groups by score relative to
        the group's mean, SENSITIVITY as many as the curves allow.
      skipped: groups that keep all their channels.
      min_filters: the fewest channels of a group.
      divisor: groups keep multiples of it, or all.
      sizes: of the groups, that a share is meant of, where they have been cut before; no group grows.
      curves: of SENSITIVITY, one for each group that is not skipped, in any order.

    Raises UsageError for a group without a curve.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        scores: Sequence[np.ndarray],
        *,
        scope: str = UNIFORM,
        skipped: Sequence[bool] = (),
        min_filters: int = 1,
        divisor: int = 1,
        sizes: Sequence[int] = (),
        curves: Sequence[sensitivity.Curve] = (),
    ):
        self._graph = graph
        self._scores = list(scores)
        self._scope = scope
        self._skipped = list(skipped) or [False] * len(graph.groups)
        self._min_filters = min_filters
        self._divisor = divisor
        self._sizes = list(sizes) or [len(group.channels) for group in graph.groups]
        self._curves = self._of_free_groups(curves) if scope == SENSITIVITY else []

    def __call__(self, share: float) -> np.ndarray:
        """bool [num_channels]: what stays at `share` in (0, 1]."""
        sizes = [len(group.channels) for group in self._graph.groups]
        wanted_by = {UNIFORM: self._uniform, GLOBAL: self._global, SENSITIVITY: self._sensitive}
        wanted = wanted_by[self._scope](share)
        counts = [
            size if skipped else self._allowed(count, size)
            for count, size, skipped in zip(wanted, sizes, self._skipped, strict=True)
        ]
        return best(self._graph, self._scores, counts)

    def _allowed(self, count: float, size: int) -> int:
        rounded = int(count / self._divisor + 0.5) * self._divisor
        return min(size, max(rounded, min(self._divisor, size), self._min_filters))

    def _uniform(self, share: float) -> list[float]:
        return [scaled_width(size, share) for size in self._sizes]

    def _global(self, share: float) -> list[float]:
        free = [not skipped for skipped in self._skipped]
        relative = relative_to_group(self._scores)
        pooled = np.concatenate([np.zeros(0), *(r for r, is_free in zip(relative, free, strict=True) if is_free)])
        whole = sum(size for size, is_free in zip(self._sizes, free, strict=True) if is_free)
        number = min(round(share * whole), len(pooled))
        threshold = np.sort(pooled)[::-1][number - 1] if number else np.inf
        return [int((r >= threshold).sum()) for r in relative]

    def _sensitive(self, share: float) -> list[float]:
        sizes = [size for size, skipped in zip(self._sizes, self._skipped, strict=True) if not skipped]
        kept = iter(sensitivity.wanted(self._curves, sizes, round(share * sum(sizes))))
        return [size if skipped else next(kept) for size, skipped in zip(self._sizes, self._skipped, strict=True)]

    def _of_free_groups(self, curves: Sequence[sensitivity.Curve]) -> list[sensitivity.Curve]:
        by_layers = {curve.layers: curve for curve in curves}
        found = []
        for group, skipped in zip(self._graph.groups, self._skipped, strict=True):
            layers = tuple(layer.scope for layer in group.layers)
            if not skipped and layers not in by_layers:
                raise UsageError(
                    f'--sensitivity_report: says nothing of {group.name}; measure it for this network, with the same '
                    '--skip_layers or fewer'
                )
            if not skipped:
                found.append(by_layers[layers])
        return found


def largest_share(measure: Callable[[float], float], target: float, *, kind: str, steps: int = 12) -> float:
    """The largest share in (0, 1] whose measure is at most `target`, by bisection; the measure grows with the share.

    `kind` is that of a `targets.Target`. Raises UserError with the reachable range if even the smallest is above it.
    """
    if measure(1.0) <= target:
        return 1.0
    low, high = 0.0, 1.0
    smallest = measure(1e-6)
    if smallest > target:
        raise UserError(
            f'--{kind}: {written(target, kind)} cannot be reached; this network goes from {written(smallest, kind)} '
            f'(the fewest filters) to {written(measure(1.0), kind)} (all)'
        )
    for _ in range(steps):
        middle = (low + high) / 2
        if measure(middle) <= target:
            low = middle
        else:
            high = middle
    return low or 1e-6
