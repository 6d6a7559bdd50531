"""Arithmetic on the image, done by convolutions.

Subtracting three means from two million pixels is a broadcast whose inner loop is three long: it takes longer than a
3x3 convolution. As a bias behind a 1x1 convolution with the identity it runs at the speed of memory, and it is exact:
a product with one, sums with zero.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from exporters.optimise import rewriting


def as_convolution(node: rewriting.Node) -> tf.Tensor | None:
    """x - c, x + c, x c or x / c for channels c [C] of an image of up to four channels -> convolution, bias."""
    if node.op not in ('Sub', 'Add', 'AddV2', 'Mul', 'RealDiv') or node.inputs[0].dtype != tf.float32:
        return None
    features, value = node.inputs[0], rewriting.constant(node.inputs[1])
    if value is None or value.ndim > 1 or features.shape.rank != 4 or (features.shape[-1] or 5) > 4:
        return None
    value = np.broadcast_to(value, features.shape[-1:]).astype(np.float32)
    scale, bias = np.ones_like(value), np.zeros_like(value)
    if node.op == 'Mul':
        scale = value
    elif node.op == 'RealDiv':
        scale = 1 / value
    else:
        bias = -value if node.op == 'Sub' else value
    strides = [1, 1]
    pool = features.op
    if pool.type == 'MaxPool' and list(pool.get_attr('ksize')) == [1, 1, 1, 1]:
        features, strides = pool.inputs[0], list(pool.get_attr('strides'))[1:3]
    picked = tf.nn.conv2d(features, np.diag(scale)[np.newaxis, np.newaxis], strides, 'VALID')
    return tf.nn.bias_add(picked, bias, name=node.proto.name)
