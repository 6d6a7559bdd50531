"""Convolutions taken before the enlargement in front of them: linear both, so the order is free, and pixels fewer.

Bilinear weights sum to one, so a 1x1 convolution and its bias commute with any bilinear resize. A 3x3 convolution whose
dilation is the factor of an enlargement with aligned corners reads, at an old pixel, old pixels only: there it is the
undilated convolution of the small map, and in between the outputs are as linear as the inputs. The exception are pixels
less than the factor from the border and not on it, where the zeros around the large map do not interpolate; those rows
and columns are computed as they were.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from exporters.optimise import resizing, rewriting


def convolve_first(node: rewriting.Node) -> tf.Tensor | None:
    """Enlargement, convolution, bias -> convolution, bias, enlargement; see above for which."""
    if node.op != 'BiasAdd' or node.inputs[0].op.type != 'Conv2D' or node.consumers_of[0] > 1:
        return None
    convolution = node.inputs[0].op
    factors = resizing.factors(convolution.inputs[0].op)
    kernel = rewriting.constant(convolution.inputs[1])
    if factors is None or factors == (1, 1) or kernel is None:
        return None
    if convolution.get_attr('strides') != [1, 1, 1, 1] or convolution.get_attr('data_format') != b'NHWC':
        return None
    small, weights = convolution.inputs[0].op.inputs[0], (convolution.inputs[1], node.inputs[1])
    size = convolution.inputs[0].shape[1:3].as_list()
    if kernel.shape[:2] == (1, 1):
        return resizing.resize(_convolve(small, *weights, node.proto.name), size)
    dilations = tuple(convolution.get_attr('dilations')[1:3])
    large_enough = min(small.shape[1:3].as_list()) >= 3
    if kernel.shape[:2] != (3, 3) or convolution.get_attr('padding') != b'SAME' or dilations != factors:
        return None
    if factors != (2, 2) or not large_enough:
        return None
    enlarged = resizing.resize(_convolve(small, *weights, node.proto.name), size)
    return _with_borders(enlarged, small, *weights)


def _convolve(features: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, name: str) -> tf.Tensor:
    return tf.nn.bias_add(tf.nn.conv2d(features, kernel, 1, 'SAME', name=f'{name}/small'), bias, name=f'{name}/biased')


def _with_borders(enlarged: tf.Tensor, small: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """`enlarged` with the second and last but one rows and columns computed from the enlarged input."""
    batch, height, width, channels = enlarged.shape
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing='ij')
    places, values = [], []
    for axis, at in ((1, 1), (1, height - 2), (2, 1), (2, width - 2)):
        places.append(np.stack([rows, columns], -1).take(at, axis=axis - 1))
        values.append(_border(small, kernel, bias, axis=axis, first=at == 1))
    indices = np.concatenate(places).astype(np.int32)
    updates = tf.concat([tf.reshape(value, [batch, -1, channels]) for value in values], 1)
    images = [
        tf.tensor_scatter_nd_update(image, indices, new)
        for image, new in zip(tf.unstack(enlarged), tf.unstack(updates), strict=True)
    ]
    return tf.stack(images)


def _border(small: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, *, axis: int, first: bool) -> tf.Tensor:
    """One row (axis 1) or column (axis 2) next to the border: two of the kernel's three taps meet pixels there."""
    size = small.shape.as_list()
    begin, length = [0, 0, 0, 0], [-1, -1, -1, -1]
    begin[axis], length[axis] = 0 if first else size[axis] - 3, 3
    near = tf.slice(small, begin, length)
    enlarged = resizing.resize(near, [2 * n - 1 for n in near.shape[1:3]])
    met = enlarged[:, 1::2] if axis == 1 else enlarged[:, :, 1::2]
    padding, dilations = [[0, 0], [2, 2], [2, 2], [0, 0]], [2, 2]
    padding[axis] = [1, 0] if first else [0, 1]
    dilations[axis - 1] = 1
    return tf.nn.bias_add(tf.nn.conv2d(tf.pad(met, padding), kernel, 1, 'VALID', dilations=dilations), bias)
