"""Checkpoint tensors of a network with fewer channels: cut out, or set to zero in place."""

from __future__ import annotations

import numpy as np

from compression.channels import Axis, ChannelGraph


def cut(graph: ChannelGraph, keep: np.ndarray, name: str, value: np.ndarray) -> np.ndarray:
    """The tensor `name` with only the channels `keep` (bool [num_channels]) left.

    An optimiser's slot, `<variable>/<slot>` of the variable's shape, is cut as its variable; what no channel runs along
    is returned as it is.
    """
    for axis, stays in _cuts(graph, keep, name, value):
        value = np.compress(stays, value, axis)
    return value


def zero(graph: ChannelGraph, keep: np.ndarray, name: str, value: np.ndarray) -> np.ndarray:
    """The tensor `name` with every channel but `keep` switched off where it is made, in the original shape.

    Filters, their slots, biases, batch norm's beta, gamma and moving mean become 0: the channel is exactly 0 behind it.
    Inputs of kernels and moving variances stay as they are.
    """
    variable = _variable_of(graph, name)
    makes = {convolution.outputs for convolution in graph.convolutions}
    is_vector = len(graph.shapes.get(variable, ())) == 1 and not variable.endswith('/moving_variance')
    for axis, stays in _cuts(graph, keep, name, value):
        if is_vector or (variable, axis) in makes:
            shape = [1] * value.ndim
            shape[axis] = len(stays)
            value = np.where(stays.reshape(shape), value, np.zeros((), value.dtype))
    return value


def _variable_of(graph: ChannelGraph, name: str) -> str:
    return name if name in graph.shapes else name.rpartition('/')[0]


def _cuts(graph: ChannelGraph, keep: np.ndarray, name: str, value: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(axis, bool along it) for each axis of the tensor that loses something."""
    variable = _variable_of(graph, name)
    if value.shape != graph.shapes.get(variable):
        return []
    return [(axis, graph.stays(Axis(variable, axis), keep)) for axis, _ in graph.axes_of.get(variable, [])]
