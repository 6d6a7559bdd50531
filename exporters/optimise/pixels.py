"""Arithmetic on the image, done by convolutions.

Subtracting three means from two million pixels is a broadcast whose inner loop is three long: it takes longer than a
3x3 convolution. As a bias behind a 1x1 convolution with the identity it runs at the speed of memory, and it is exact:
a product with one, sums with zero.

In bfloat16 a mean such as 123.68 would be 123.5, which moves every pixel the same way, and a pixel less its mean has
more digits than the type keeps. A pixel less a whole number near the mean is exact.
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


def whole_means(node: rewriting.Node) -> tf.Tensor | None:
    """Pixels + b, convolution, bias -> pixels + round(b), convolution, bias + kernel (b - round(b)): for bfloat16.

    Equal but for the zeros around the image, which are off by less than one of 256 levels.
    """
    if node.op != 'BiasAdd' or node.inputs[0].op.type != 'Conv2D':
        return None
    convolution = node.inputs[0].op
    shifted = convolution.inputs[0].op
    constants = rewriting.constants([convolution.inputs[1], node.inputs[1]])
    if constants is None or shifted.type != 'BiasAdd' or not _is_of_pixels(shifted.inputs[0].op):
        return None
    shift = rewriting.constant(shifted.inputs[1])
    if shift is None or not (rest := shift - np.rint(shift)).any():
        return None
    kernel, bias = (value.astype(np.float64) for value in constants)
    bias = (bias + np.einsum('hwio,i->o', kernel, rest)).astype(np.float32)
    whole = tf.nn.bias_add(shifted.inputs[0], np.rint(shift), name=f'{shifted.name}/whole')
    attributes = dict(convolution.node_def.attr)
    made = convolution.graph.create_op(
        'Conv2D', [whole, convolution.inputs[1]], name=convolution.name, attrs=attributes
    ).outputs[0]
    return tf.nn.bias_add(made, bias, name=node.proto.name)


def _is_of_pixels(operation: tf.Operation) -> bool:
    """Whether it picks pixels in 0..255 as they are."""
    if operation.type != 'Conv2D' or operation.inputs[0].op.type != 'Cast':
        return False
    kernel = rewriting.constant(operation.inputs[1])
    one = kernel is not None and kernel.shape[:2] == (1, 1) and np.array_equal(kernel[0, 0], np.eye(kernel.shape[2]))
    return one and operation.inputs[0].op.inputs[0].dtype == tf.uint8
