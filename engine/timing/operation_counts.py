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
            weights[_origin(kernel)] = math.prod(kernel.shape)
    try:
        gflops = _rounded(sum(map(operation_flops, operations)) / 1e9)
    except TypeError:  # a free side
        gflops = None
    return {'million_parameters': _rounded(sum(weights.values()) / 1e6), 'gflops': gflops}


_PRODUCTS = frozenset({'Conv2D', 'DepthwiseConv2dNative', 'Conv2DBackpropInput', 'MatMul'})


def _rounded(value: float) -> float:
    return float(f'{value:.4g}')


def _origin(kernel: tf.Tensor) -> str:
    """The constant or variable that a kernel is read, cast or dequantised from."""
    while kernel.op.inputs and kernel.op.type in ('Cast', 'Identity', 'Mul', 'ReadVariableOp'):
        kernel = kernel.op.inputs[0]
    return kernel.op.name
