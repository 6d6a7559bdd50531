"""Batch normalisation folded into the convolution before it (Jacob et al., arXiv:1712.05877, section 3.2)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from exporters.optimise import rewriting

_NORMS = frozenset({'FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3'})
_CONVOLUTIONS = frozenset({'Conv2D', 'DepthwiseConv2dNative'})


def fold(node: rewriting.Node) -> list[tf.Tensor] | None:
    """Convolution, batch norm with constant statistics -> convolution with another kernel, bias.

    gamma (conv(x, k) - mean) / sqrt(variance + epsilon) + beta = conv(x, k s) + (beta - mean s), s = gamma / sqrt(...).
    A batch norm with nothing to fold it into becomes a multiplication and an addition.
    """
    if node.op not in _NORMS or node.proto.attr['is_training'].b:
        return None
    statistics = rewriting.constants(node.inputs[1:5])
    if statistics is None or node.proto.attr['data_format'].s not in (b'NHWC', b''):
        return None
    gamma, beta, mean, variance = (np.float64(value) for value in statistics)
    scale = gamma / np.sqrt(variance + node.proto.attr['epsilon'].f)
    bias = tf.constant((beta - mean * scale).astype(np.float32), name=f'{node.proto.name}/bias')
    scaled = _scaled_convolution(node, scale)
    if scaled is None:
        scaled = node.inputs[0] * tf.constant(scale.astype(np.float32))
    # The statistics are outputs of their own, which inference does not read.
    return [tf.nn.bias_add(scaled, bias, name=node.proto.name), *node.inputs[3:5]]


def _scaled_convolution(node: rewriting.Node, scale: np.ndarray) -> tf.Tensor | None:
    convolution = node.inputs[0].op
    if convolution.type not in _CONVOLUTIONS or node.consumers_of[0] > 1:
        return None
    kernel = rewriting.constant(convolution.inputs[1])
    if kernel is None or convolution.get_attr('data_format') != b'NHWC':
        return None
    if convolution.type == 'DepthwiseConv2dNative':
        scale = scale.reshape(kernel.shape[2:])  # [channels, multiplier]: output channel c m + j
    folded = tf.constant((kernel * scale).astype(np.float32), name=f'{convolution.name}/folded')
    return with_inputs(convolution, [convolution.inputs[0], folded])


def with_inputs(operation: tf.Operation, inputs: list[tf.Tensor]) -> tf.Tensor:
    """A copy of a one-output operation on other inputs."""
    attributes = dict(operation.node_def.attr)
    return operation.graph.create_op(operation.type, inputs, name=operation.name, attrs=attributes).outputs[0]
