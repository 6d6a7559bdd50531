"""Arithmetic of operations, read from static shapes; nothing is run."""

from __future__ import annotations

import math

import tensorflow as tf


def operation_flops(op: tf.Operation) -> int:
    """Multiplications and additions, counted apart, of convolutions and matrix products; 0 for the rest."""
    if op.type == 'Conv2D':
        return 2 * math.prod(op.outputs[0].shape) * math.prod(op.inputs[1].shape[:3])
    if op.type == 'DepthwiseConv2dNative':
        return 2 * math.prod(op.outputs[0].shape) * math.prod(op.inputs[1].shape[:2])
    if op.type == 'Conv2DBackpropInput':  # a transposed convolution: each input pixel spreads over the kernel
        return 2 * math.prod(op.inputs[2].shape) * math.prod(op.inputs[1].shape[:3])
    if op.type in ('MatMul', 'BatchMatMulV2'):
        inner = op.inputs[0].shape[-2 if op.node_def.attr['transpose_a'].b else -1]
        return 2 * math.prod(op.outputs[0].shape) * inner
    return 0
