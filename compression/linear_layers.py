"""The convolutions of a traced network as linear maps: of what pixels, to what, and what is added behind them.

A linear map can be solved for by least squares where its inputs are no longer what it was trained on (He et al.,
arXiv:1707.06168).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from compression.walk import Walk

_NORMS = frozenset({'FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3'})
_ADDITIONS = frozenset({'Add', 'AddV2'})
_TILES = 'SpaceToBatchND'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Norm:
    """Batch norm behind a convolution: names of its variables, None for a scale or offset that it does not have."""

    gamma: str | None
    beta: str | None
    mean: str
    variance: str
    epsilon: float


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class LinearLayer:
    """One convolution with its bias and batch norm, in one traced network.

    Attributes:
      kernel: name of its variable, [h, w, inputs, outputs].
      features: tensor [B, H, W, inputs] that the kernel is applied to.
      output: tensor [B, h, w, outputs] behind bias and batch norm.
      bias, norm: what is there.
      strides, rates: of rows and columns.
      pads: rows above and columns left of `features` that read as 0.
      total: tensor `output` + `other`, if that is all that becomes of `output`.
      other: its other summand, which no later convolution has a part in.
      size: kernel's rows and columns.
    """

    kernel: str
    features: tf.Tensor
    output: tf.Tensor
    bias: str | None
    norm: Norm | None
    strides: tuple[int, int]
    rates: tuple[int, int]
    pads: tuple[int, int]
    total: tf.Tensor | None
    other: tf.Tensor | None
    size: tuple[int, int]


def find(walk: Walk, graph: tf.Graph) -> tuple[list[LinearLayer], dict[str, str]]:
    """(layers in the order in which they run, {kernel: why it is not one of them}) of a walked graph in inference.

    The size of its images must be static.
    """
    latest, chance = _latest_layers(walk, graph), _by_chance(graph)
    found, left = [], {}
    for number, (kernel, operations) in enumerate(walk.operations.items()):
        reason = _unfit(operations) or ('behind dropout' if id(operations[0].inputs[0]) in chance else '')
        layer = None if reason else _layer(walk, kernel, operations[0], number, latest)
        if layer is None:
            left[kernel] = reason or 'its padding is its own'
        else:
            found.append(layer)
    return found, left


def _unfit(operations: list[tf.Operation]) -> str:
    op = operations[0]
    if len(operations) > 1:
        return 'its kernel is used more than once'
    if op.type != 'Conv2D':
        return 'depthwise' if op.type.startswith('Depthwise') else 'transposed'
    if op.inputs[0].shape[-1] != op.inputs[1].shape[2]:
        return 'grouped'
    return ''


def _latest_layers(walk: Walk, graph: tf.Graph) -> dict[int, int]:
    """{id of a tensor: the number of the last convolution that it depends on}."""
    number_of = {id(op): number for number, ops in enumerate(walk.operations.values()) for op in ops}
    latest: dict[int, int] = {}
    for op in graph.get_operations():
        last = max([number_of.get(id(op), -1), *(latest.get(id(tensor), -1) for tensor in op.inputs)])
        latest.update((id(output), last) for output in op.outputs)
    return latest


def _by_chance(graph: tf.Graph) -> set[int]:
    """Ids of tensors that are not the same at each run."""
    found: set[int] = set()
    for op in graph.get_operations():
        if 'Random' in op.type or any(id(tensor) in found for tensor in op.inputs):
            found.update(id(output) for output in op.outputs)
    return found


def _layer(walk: Walk, kernel: str, op: tf.Operation, number: int, latest: dict[int, int]) -> LinearLayer | None:
    features, output = op.inputs[0], op.outputs[0]
    rates = tuple(op.get_attr('dilations')[1:3])
    padding = op.get_attr('padding').decode()
    if features.op.type == _TILES:
        blocks = tf.get_static_value(features.op.inputs[1])
        after = _only_consumer(output)
        if blocks is None or after is None or after.type != 'BatchToSpaceND' or rates != (1, 1):
            return None
        features, output, rates = features.op.inputs[0], after.outputs[0], (int(blocks[0]), int(blocks[1]))
        padding = 'SAME' if features.shape[1:3] == output.shape[1:3] else 'VALID'
    strides, size = tuple(op.get_attr('strides')[1:3]), tuple(op.inputs[1].shape[:2])
    if padding not in ('SAME', 'VALID'):
        return None
    sides = zip(features.shape[1:3], output.shape[1:3], size, strides, rates, strict=True)
    pads = [_pad(*side) if padding == 'SAME' else 0 for side in sides]
    bias, norm, output = _behind(walk, output)
    total, other = _sum(output, number, latest)
    return LinearLayer(
        kernel=kernel,
        features=features,
        output=output,
        bias=bias,
        norm=norm,
        strides=strides,
        rates=rates,
        pads=(pads[0], pads[1]),
        total=total,
        other=other,
        size=size,
    )


def _pad(before: int, after: int, taps: int, stride: int, rate: int) -> int:
    """What TensorFlow's padding SAME puts in front of a side of `before` pixels that becomes one of `after`."""
    return max((after - 1) * stride + rate * (taps - 1) + 1 - before, 0) // 2


def _only_consumer(tensor: tf.Tensor) -> tf.Operation | None:
    consumers = tensor.consumers()
    return consumers[0] if len(consumers) == 1 else None


def _behind(walk: Walk, output: tf.Tensor) -> tuple[str | None, Norm | None, tf.Tensor]:
    """(bias, batch norm, what comes out) of what directly follows a convolution, and of nothing else."""
    bias = None
    while (op := _only_consumer(output)) is not None:
        if op.type == 'BiasAdd' and bias is None and walk.variable(op.inputs[1]):
            bias, output = walk.variable(op.inputs[1]), op.outputs[0]
        elif op.type in _NORMS and not op.get_attr('is_training'):
            norm = _norm(walk, op)
            return (bias, norm, op.outputs[0]) if norm else (bias, None, output)
        elif op.type == 'Identity':
            output = op.outputs[0]
        else:
            break
    return bias, None, output


def _norm(walk: Walk, op: tf.Operation) -> Norm | None:
    gamma, beta, mean, variance = (walk.variable(tensor) for tensor in op.inputs[1:])
    if mean is None or variance is None:
        return None
    return Norm(gamma=gamma, beta=beta, mean=mean, variance=variance, epsilon=op.get_attr('epsilon'))


def _sum(output: tf.Tensor, number: int, latest: dict[int, int]) -> tuple[tf.Tensor | None, tf.Tensor | None]:
    op = _only_consumer(output)
    if op is None or op.type not in _ADDITIONS:
        return None, None
    others = [tensor for tensor in op.inputs if tensor is not output]
    if len(others) != 1 or others[0].shape != output.shape or latest.get(id(others[0]), -1) >= number:
        return None, None
    return op.outputs[0], others[0]


def windows(layer: LinearLayer, features: np.ndarray, places: Sequence[np.ndarray]) -> np.ndarray:
    """What the kernel sees at some of its places: [n, rows * columns * inputs], in the order of the kernel's values.

    Args:
      features: [B, H, W, inputs], of `layer.features`.
      places: images, rows and columns of the output, int [n] each.
    """
    images = places[0]
    inside = np.ones((len(images), 1, 1), bool)
    indices = []
    for axis, place in enumerate(places[1:]):
        taps = place[:, None] * layer.strides[axis] + np.arange(layer.size[axis]) * layer.rates[axis] - layer.pads[axis]
        shape = (len(place), -1, 1) if axis == 0 else (len(place), 1, -1)
        limit = features.shape[1 + axis]
        inside = inside & ((taps >= 0) & (taps < limit)).reshape(shape)
        indices.append(np.clip(taps, 0, limit - 1).reshape(shape))
    seen = features[images[:, None, None], indices[0], indices[1]]
    seen = np.where(inside[..., None], seen, np.zeros((), features.dtype))
    return seen.reshape(len(images), -1)
