"""How much each channel matters: one number per filter, and one per channel that several layers share.

A larger score is kept longer. Kernels are [h, w, inputs, filters], depthwise ones [h, w, channels, multiplier].
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from compression.channels import Axis, ChannelGraph, ChannelGroup
from compression.names import BATCH_NORM_SCALE, GEOMETRIC_MEDIAN, L1, L2, MEAN, RANDOM, SHORTCUT
from core.errors import UserError

Scores = Mapping[Axis, np.ndarray]


def l1(filters: np.ndarray) -> np.ndarray:
    """Sum of absolute weights of filters [n, weights] (Li et al., arXiv:1608.08710, section 3.1)."""
    return np.abs(filters).sum(1)


def l2(filters: np.ndarray) -> np.ndarray:
    """Euclidean norm of filters [n, weights] (He et al., arXiv:1808.06866)."""
    return np.sqrt(np.square(filters).sum(1))


def geometric_median(filters: np.ndarray) -> np.ndarray:
    """Sum of distances to all filters of the layer [n, weights] (He et al., arXiv:1811.00250, equation 6).

    What lies nearest to the geometric median can be replaced by the others, however large it is.
    """
    squares = np.square(filters, dtype=np.float64).sum(1)
    products = filters @ filters.T
    return np.sqrt(np.maximum(squares[:, None] + squares - 2.0 * products, 0.0)).sum(1)


_OF_KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {L1: l1, L2: l2, GEOMETRIC_MEDIAN: geometric_median}


def score(graph: ChannelGraph, values: Mapping[str, np.ndarray], criterion: str, *, seed: int = 0) -> Scores:
    """{axis: score of each index} of every axis that the criterion looks at.

    Args:
      values: {variable: value} of kernels and batch-norm scales.
      criterion: one of CRITERIA but TAYLOR, whose scores need data.
      seed: of RANDOM; a layer's numbers depend on it and on the layer's name alone.
    """
    if criterion == BATCH_NORM_SCALE:  # Liu et al., arXiv:1708.06519
        return {axis: np.abs(values[axis.variable]) for axis in graph.axes if axis.variable.endswith('/gamma')}
    outputs = list(dict.fromkeys(c.outputs for c in graph.convolutions))
    if criterion == RANDOM:
        return {
            axis: np.random.default_rng((seed, zlib.crc32(axis.variable.encode()))).random(len(graph.axes[axis]))
            for axis in outputs
        }
    of_kernel = _OF_KERNELS[criterion]
    return {axis: of_kernel(_filters(values[axis.variable], axis.axis)) for axis in outputs}


def _filters(kernel: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1)


def aggregate(
    graph: ChannelGraph, scores: Scores, how: str, *, criterion: str, sources: Collection[str] = ()
) -> list[np.ndarray]:
    """One score per channel of each group of `graph.groups`.

    Args:
      scores: of `score`.
      how: what counts where several layers make the same channels, as a residual stage's last convolutions do.
        SHORTCUT: the first layer alone, whose channels the shortcut carries (Li et al., arXiv:1608.08710, section 3.3).
        MEAN, MAX: of all layers, each divided by its own mean.
      criterion: named in an error.
      sources: scopes of layers that count alone, whatever `how`, in the group that they are in.

    Raises UserError for a group that the criterion says nothing of.
    """
    found = []
    for group in graph.groups:
        own = {axis: values for axis, values in scores.items() if axis.variable.startswith(tuple(_inside(sources)))}
        in_group = any(layer.scope in sources for layer in group.layers)
        found.append(_aggregated(graph, group, own if in_group and own else scores, how, criterion))
    return found


def _inside(scopes: Collection[str]) -> list[str]:
    return [f'{scope}/' for scope in scopes]


def _aggregated(graph: ChannelGraph, group: ChannelGroup, scores: Scores, how: str, criterion: str) -> np.ndarray:
    place = np.full(graph.num_channels + 1, -1)
    place[group.channels] = np.arange(len(group.channels))
    found = []
    for axis, values in scores.items():
        index = place[graph.axes[axis]]
        if (index < 0).all():
            continue
        size = len(group.channels)
        count = np.bincount(index[index >= 0], minlength=size)
        total = np.bincount(index[index >= 0], weights=values[index >= 0], minlength=size)
        if count.all():
            found.append(total / count)
    if not found:
        raise UserError(
            f'--criterion: {criterion} says nothing of layer {group.name!r}, which has no batch-norm scale; '
            'choose another'
        )
    if how == SHORTCUT:
        return found[0]
    relative = [of_layer / (of_layer.mean() or 1.0) for of_layer in found]
    return np.mean(relative, 0) if how == MEAN else np.max(relative, 0)


def relative_to_group(scores: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Scores of each group divided by their mean, which makes layers of any size and scale comparable."""
    return [of_group / (of_group.mean() or 1.0) for of_group in scores]
