"""Parameters and operations of a TensorFlow graph."""

from __future__ import annotations

import math

import tensorflow as tf


def of_graph(graph: tf.Graph) -> dict[str, float | None]:
    """Million parameters (elements of constants of two axes or more that feed products) and GFLOPs of one image.

    GFLOPs are None where the graph does not know the sizes.
    """
    operations = graph.get_operations()
    weights = {}
    for operation in operations:
        if operation.type in _PRODUCTS:
            kernel = operation.inputs[1]
            weights[_origin(kernel)] = math.prod(kernel.shape)
    try:
        gflops = round(sum(map(flops, operations)) / 1e9, 1)
    except TypeError:  # a free side
        gflops = None
    return {'million_parameters': round(sum(weights.values()) / 1e6, 2), 'gflops': gflops}


_PRODUCTS = frozenset({'Conv2D', 'DepthwiseConv2dNative', 'Conv2DBackpropInput', 'MatMul'})


def flops(operation: tf.Operation) -> int:
    """Multiplications and additions of one operation; 0 for all that are not products of tensors.

    Raises TypeError where a size is not known.
    """
    kind = operation.type
    if kind not in _PRODUCTS:
        return 0
    kernel = operation.inputs[1].shape
    if kind == 'Conv2D':
        return 2 * math.prod(operation.outputs[0].shape) * kernel[0] * kernel[1] * kernel[2]
    if kind == 'DepthwiseConv2dNative':
        return 2 * math.prod(operation.outputs[0].shape) * kernel[0] * kernel[1]
    if kind == 'Conv2DBackpropInput':  # a transposed convolution: each input pixel spreads over the kernel
        return 2 * math.prod(operation.inputs[2].shape) * kernel[0] * kernel[1] * kernel[2]
    rows = operation.inputs[0].shape[0 if operation.get_attr('transpose_a') else 1]
    return 2 * math.prod(operation.outputs[0].shape) * rows


def _origin(kernel: tf.Tensor) -> str:
    """The constant or variable that a kernel is read, cast or dequantised from."""
    while kernel.op.inputs and kernel.op.type in ('Cast', 'Identity', 'Mul', 'ReadVariableOp'):
        kernel = kernel.op.inputs[0]
    return kernel.op.name
