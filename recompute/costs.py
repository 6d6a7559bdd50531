"""Bytes of tensors and work of operations, read from static shapes; nothing is run."""

from __future__ import annotations

import tensorflow as tf

from core.flops import operation_flops

# Work that moving one byte is worth: multiplications and additions of a convolution that take as long. Read off
# `benchmarks/gradient_checkpointing.py --calibrate` on a CPU with AVX-512: 7 for a ReLU or a sum, 11 for concatenation,
# 24 for batch norm's statistics and normalisation, 30 for a bilinear resize.
FLOPS_PER_BYTE = 8.0
_PASSES = {'FusedBatchNormV3': 3.0, 'ResizeBilinear': 4.0, 'ConcatV2': 1.4}

# Outputs that are the input's own memory.
ALIASES = frozenset(
    {'Identity', 'Reshape', 'Squeeze', 'ExpandDims', 'StopGradient', 'PreventGradient', 'EnsureShape', 'CheckNumerics'}
)


# What oneDNN's bfloat16 rewrite computes and hands on in bfloat16, of the operations that networks here are made of.
_BFLOAT16 = frozenset(
    {'Add', 'AddV2', 'AvgPool', 'BiasAdd', 'ConcatV2', 'Conv2D', 'Conv2DBackpropInput', 'DepthwiseConv2dNative'}
    | {'DepthwiseConv2dNativeBackpropInput', 'FusedBatchNormV3', 'MatMul', 'MaxPool', 'Mul', 'Pad', 'Relu', 'Relu6'}
    | {'AvgPoolGrad', 'FusedBatchNormGradV3', 'MaxPoolGrad', 'Relu6Grad', 'ReluGrad', 'Slice', 'StridedSlice', 'Sub'}
)


def stored_bytes(tensor: tf.Tensor, *, bfloat16: bool) -> int:
    """`num_bytes`, or what is left of them when the graph is rewritten to compute in bfloat16."""
    halved = bfloat16 and tensor.dtype == tf.float32 and tensor.op.type in _BFLOAT16
    return num_bytes(tensor) // 2 if halved else num_bytes(tensor)


def num_bytes(tensor: tf.Tensor) -> int:
    """Bytes of a tensor of static shape; 0 for resources, strings and the like.

    Raises ValueError if the shape is not known.
    """
    if tensor.dtype in (tf.resource, tf.variant, tf.string) or _is_reserve_space(tensor):
        return 0
    count = tensor.shape.num_elements()
    if count is None:
        raise ValueError(f'{tensor.name}: the shape {tensor.shape} is not fixed')
    return count * tensor.dtype.size


def _is_reserve_space(tensor: tf.Tensor) -> bool:
    """Statistics that batch norm hands to its own gradient; the third has no static shape, all are vectors."""
    return tensor.op.type.startswith('FusedBatchNorm') and tensor.value_index > 2


def work(op: tf.Operation) -> float:
    """Cost of running `op`, in FLOPs: its arithmetic, and its memory traffic at FLOPS_PER_BYTE."""
    if op.type in ALIASES:
        return 0.0
    moved = sum(num_bytes(t) for t in [*op.inputs, *op.outputs] if t.shape.is_fully_defined())
    return operation_flops(op) + FLOPS_PER_BYTE * moved * _PASSES.get(op.type, 1.0)
