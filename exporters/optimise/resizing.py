"""Bilinear resizes with aligned corners, the cheap way.

With aligned corners, out[p] samples the input at p (h - 1) / (H - 1). So 2 k + 1 pixels become k + 1 by taking every
second one, and k (h - 1) + 1 pixels hold the h old ones at multiples of k: the enlarged map is the same piecewise
bilinear function, and enlarging it again is enlarging once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from exporters.optimise import rewriting

_CHANNELWISE = frozenset({'Sub', 'AddV2', 'Add', 'Mul', 'RealDiv', 'BiasAdd'})


def sides(operation: tf.Operation) -> tuple[list[int], list[int]] | None:
    """(height and width before, after) of a ResizeBilinear with aligned corners and known sizes, None for others."""
    if operation.type != 'ResizeBilinear' or not operation.get_attr('align_corners'):
        return None
    size, given = rewriting.constant(operation.inputs[1]), operation.inputs[0].shape[1:3]
    if size is None or not given.is_fully_defined():
        return None
    return given.as_list(), [int(n) for n in size]


def factors(resize: tf.Operation) -> tuple[int, int] | None:
    """(vertical, horizontal) whole factors of an enlarging ResizeBilinear with aligned corners, None for others."""
    found = sides(resize)
    if found is None:
        return None
    given, made = found
    if any(n < 2 or (m - 1) % (n - 1) for n, m in zip(given, made, strict=True)):
        return None
    return (made[0] - 1) // (given[0] - 1), (made[1] - 1) // (given[1] - 1)


def halve_by_slicing(node: rewriting.Node) -> tf.Tensor | None:
    """A resize that lands on every n-th pixel -> a strided slice, taken before arithmetic that each pixel has alone."""
    if node.op != 'ResizeBilinear' or not node.proto.attr['align_corners'].b:
        return None
    size = rewriting.constant(node.inputs[1])
    given = node.inputs[0].shape[1:3]
    if size is None or not given.is_fully_defined():
        return None
    given = given.as_list()
    if list(size) == given:
        return _as_float(node.inputs[0])
    if any(m < 2 or n < m or (n - 1) % (m - 1) for n, m in zip(given, size, strict=True)):
        return None
    rows, columns = ((n - 1) // (m - 1) for n, m in zip(given, size, strict=True))
    return _as_float(_before_arithmetic(node.inputs[0], lambda x: every_nth(x, int(rows), int(columns))))


def merge_enlargements(node: rewriting.Node) -> tf.Tensor | None:
    """Enlarging, then resizing -> resizing once."""
    if node.op != 'ResizeBilinear' or not node.proto.attr['align_corners'].b:
        return None
    size, first = rewriting.constant(node.inputs[1]), node.inputs[0].op
    if size is None or first.type != 'ResizeBilinear' or factors(first) is None:
        return None
    if any(m < n for n, m in zip(node.inputs[0].shape[1:3], size, strict=True)):
        return None
    return resize(first.inputs[0], size.tolist(), name=node.proto.name)


def resize(features: tf.Tensor, size: Sequence[int], name: str | None = None) -> tf.Tensor:
    """Bilinear with aligned corners; float32 [N, *size, C]."""
    return tf.raw_ops.ResizeBilinear(images=features, size=np.array(size, np.int32), align_corners=True, name=name)


def every_nth(features: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """features[:, ::rows, ::columns], as the pooling of single pixels, which runtimes have a quick kernel for."""
    if features.dtype == tf.uint8:
        return tf.cast(every_nth(tf.cast(features, tf.float32), rows, columns), tf.uint8)
    return tf.nn.max_pool2d(features, 1, [rows, columns], 'VALID')


def _as_float(features: tf.Tensor) -> tf.Tensor:
    return tf.cast(features, tf.float32)


def _before_arithmetic(features: tf.Tensor, pick: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """`pick`ed pixels of what comes out of a chain of channel-wise arithmetic, picked before it."""
    operation = features.op
    if operation.type not in _CHANNELWISE or any(
        rewriting.constant(tensor) is None or tensor.shape.rank not in (0, 1) for tensor in operation.inputs[1:]
    ):
        return pick(features)
    inputs = [_before_arithmetic(operation.inputs[0], pick), *operation.inputs[1:]]
    attributes = dict(operation.node_def.attr)
    return operation.graph.create_op(operation.type, inputs, name=operation.name, attrs=attributes).outputs[0]
