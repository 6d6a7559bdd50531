"""Channels of a network as slices of its variables: which of them can only be removed together.

Every output channel of every convolution has an id, and so has every index of every axis of a variable that a channel
runs along: a kernel's inputs and outputs, a bias, the vectors of a batch norm. Tracing the network (`tracing.py`) says
which ids are one channel; the connected components are what can be removed, whole or not at all.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

KEPT = -1  # in an array of channels: this one can never be removed


class Axis(NamedTuple):
    """One axis of one variable."""

    variable: str
    axis: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convolution:
    """One convolution of the traced network.

    Attributes:
      kernel: name of its variable.
      outputs: the kernel's axis of output channels; of a depthwise kernel the one that counts inputs.
      depthwise: each output channel sees one input channel.
      positions: pixels of all images that the kernel is applied at.
      area: multiplications per position, input and output channel; 9 for 3x3.
    """

    kernel: str
    outputs: Axis
    depthwise: bool
    positions: int
    area: int

    @property
    def scope(self) -> str:
        """The layer's variable scope."""
        return self.kernel.rpartition('/')[0]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ChannelGroup:
    """Channels that the same layers make: each of them can be removed by itself, but in all these layers at once.

    Attributes:
      channels: ids, in the order of the first layer's filters.
      layers: the convolutions that make them, in the order in which the network runs them.
    """

    channels: np.ndarray
    layers: tuple[Convolution, ...]

    @property
    def name(self) -> str:
        """The scope of the first layer."""
        return self.layers[0].scope


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ChannelGraph:
    """What can be removed from a network.

    Attributes:
      shapes: {variable: shape} of every variable of the network.
      axes: {axis: channel ids along it}, KEPT where nothing may be removed; axes that no channel runs along are absent.
      num_channels: number of removable channels, whose ids are 0..num_channels - 1.
      convolutions: those of the inference network, in the order in which it runs them.
      groups: the removable channels, by the layers that make them.
    """

    shapes: Mapping[str, tuple[int, ...]]
    axes: Mapping[Axis, np.ndarray]
    num_channels: int
    convolutions: Sequence[Convolution]
    groups: Sequence[ChannelGroup]

    @functools.cached_property
    def axes_of(self) -> dict[str, list[tuple[int, np.ndarray]]]:
        """{variable: [(axis, channel ids along it)]}."""
        found: dict[str, list[tuple[int, np.ndarray]]] = {}
        for (variable, axis), channels in self.axes.items():
            found.setdefault(variable, []).append((axis, channels))
        return found

    def stays(self, axis: Axis, keep: np.ndarray) -> np.ndarray:
        """bool [length of the axis]: which indices stay when the channels `keep` (bool [num_channels]) do."""
        return np.append(keep, True)[self.axes[axis]]  # KEPT is -1: the last

    def kept_shapes(self, keep: np.ndarray) -> dict[str, tuple[int, ...]]:
        """{variable: shape} of the network in which only the channels `keep` (bool [num_channels]) are left."""
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        for axis in self.axes:
            shapes[axis.variable][axis.axis] = int(self.stays(axis, keep).sum())
        return {name: tuple(shape) for name, shape in shapes.items()}

    def flops(self, keep: np.ndarray) -> int:
        """Multiplications and additions of all convolutions at the traced size, counted apart, with `keep` left."""
        shapes = self.kept_shapes(keep)
        total = 0
        for convolution in self.convolutions:
            inputs, outputs = shapes[convolution.kernel][2:4]
            total += 2 * convolution.positions * convolution.area * inputs * outputs
        return total


class ChannelEdges:
    """Ids that tracing hands out, and which of them are the same channel."""

    def __init__(self) -> None:
        self._axes: dict[Axis, np.ndarray] = {}
        self._count = 1  # id 0 is what must be kept
        self._edges: list[tuple[np.ndarray, np.ndarray]] = []

    def of(self, axis: Axis, length: int) -> np.ndarray:
        """int64 [length]: the ids along the axis, the same ones at every call."""
        if axis not in self._axes:
            self._axes[axis] = np.arange(self._count, self._count + length)
            self._count += length
        return self._axes[axis]

    def fresh(self, length: int) -> np.ndarray:
        """int64 [length]: ids that belong to no variable."""
        self._count += length
        return np.arange(self._count - length, self._count)

    def join(self, ids: np.ndarray, others: np.ndarray) -> None:
        """Each of `ids` is the same channel as that of `others` at its place."""
        if ids is not others:
            self._edges.append((ids, others))

    def keep(self, ids: np.ndarray) -> None:
        """None of `ids` may be removed."""
        self._edges.append((ids, np.zeros_like(ids)))

    def components(self) -> np.ndarray:
        """int64 [number of ids]: the channel that each id is, KEPT for those that stay."""
        ids, others = (np.concatenate([np.zeros(0, np.int64), *side]) for side in zip(*self._edges, strict=True))
        edges = coo_array((np.ones(len(ids), np.int8), (ids, others)), shape=(self._count, self._count))
        _, labels = connected_components(edges, directed=False)
        labels[labels == labels[0]] = -1
        return np.unique(labels, return_inverse=True)[1] - 1

    def finish(self, shapes: Mapping[str, Sequence[int]], convolutions: Sequence[Convolution]) -> ChannelGraph:
        """The channel graph of variables of these shapes."""
        channel_of = self.components()
        made = np.zeros(channel_of.max(initial=0) + 1, bool)
        for convolution in convolutions:
            channels = channel_of[self._axes[convolution.outputs]]
            made[channels[channels != KEPT]] = True
        number = np.append(np.where(made, np.cumsum(made) - 1, KEPT), KEPT)  # what no layer makes is kept
        axes = {axis: number[channel_of[ids]] for axis, ids in self._axes.items()}
        return ChannelGraph(
            shapes={name: tuple(shape) for name, shape in shapes.items()},
            axes=axes,
            num_channels=int(made.sum()),
            convolutions=convolutions,
            groups=_groups(axes, convolutions, int(made.sum())),
        )


def _groups(
    axes: Mapping[Axis, np.ndarray], convolutions: Sequence[Convolution], num_channels: int
) -> list[ChannelGroup]:
    """Channels by the set of layers that make them, in the order of their first layers."""
    makers: list[list[int]] = [[] for _ in range(num_channels)]
    order: dict[int, None] = {}
    first_of_kernel: dict[str, int] = {}
    for index, convolution in enumerate(convolutions):
        index = first_of_kernel.setdefault(convolution.kernel, index)
        for channel in axes[convolution.outputs].tolist():
            if channel != KEPT and makers[channel][-1:] != [index]:
                makers[channel].append(index)
                order.setdefault(channel)
    groups: dict[tuple[int, ...], list[int]] = {}
    for channel in order:
        groups.setdefault(tuple(makers[channel]), []).append(channel)
    return [
        ChannelGroup(channels=np.array(channels), layers=tuple(convolutions[i] for i in layers))
        for layers, channels in groups.items()
    ]
