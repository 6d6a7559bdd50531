"""Parameters and operations of a TensorFlow graph."""

from __future__ import annotations

import math

import tensorflow as tf

from core.flops import operation_flops


def of_graph(graph: tf.Graph) -> dict[str, float | None]:
    """Million parameters (elements of constants of two axes or more that feed products) and GFLOPs of one run.

    GFLOPs are None where the graph does not know the sizes.
    """
    operations = graph.get_operations()
    weights = {}
    for operation in operations:
        if operation.type in _PRODUCTS:
            kernel = operation.inputs[1]
            origin = _origin(kernel)
            if not origin.inputs:  # a product of two feature maps has no weights
                weights[origin.name] = math.prod(kernel.shape)
    try:
        gflops = _rounded(sum(map(operation_flops, operations)) / 1e9)
    except TypeError:  # a free side
        gflops = None
    return {'million_parameters': _rounded(sum(weights.values()) / 1e6), 'gflops': gflops}


_PRODUCTS = frozenset({'Conv2D', 'DepthwiseConv2dNative', 'Conv2DBackpropInput', 'MatMul', 'BatchMatMulV2'})


def _rounded(value: float) -> float:
    return float(f'{value:.4g}')


def _origin(kernel: tf.Tensor) -> tf.Operation:
    """The constant or variable that a kernel is read, cast or dequantised from; has inputs if it is none."""
    while kernel.op.inputs and kernel.op.type in ('Cast', 'Identity', 'Mul', 'ReadVariableOp'):
        kernel = kernel.op.inputs[0]
    return kernel.op
