"""Arithmetic in bfloat16: half the bytes, and twice the multiplications a second where the processor has them.

The pixels become bfloat16 in front of the first convolution; the logits come out of the last one, which stays in
float32, for it decides between classes whose scores are close.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import tensorflow as tf

from exporters.optimise import rewriting

# Each has one type for all of its float inputs and outputs, called T.
_TYPED = frozenset(
    {'AddN', 'AddV2', 'AvgPool', 'BiasAdd', 'ConcatV2', 'Conv2D', 'DepthwiseConv2dNative', 'MatMul', 'MaxPool', 'Pad'}
    | {'Pack', 'Relu', 'Relu6', 'Reshape', 'Slice', 'StridedSlice', 'TensorScatterUpdate', 'Unpack'}
)
CONVOLUTIONS = frozenset({'Conv2D', 'DepthwiseConv2dNative', 'MatMul'})


def bfloat16(graph_def: Any, outputs: Sequence[str], convolutions: Collection[str] | None = None) -> Any:
    """The graph with convolutions in bfloat16, and what lies between them where all that it reads is bfloat16 already.

    Args:
      graph_def: float32.
      outputs: names of operations.
      convolutions: names of those; None for all from the first to the last but one of each path.
    """
    order = rewriting.in_order(graph_def, outputs)
    inside = _between(order) if convolutions is None else _around(order, convolutions)
    narrowed: dict[str, tf.Tensor] = {}

    def narrow(tensor: tf.Tensor) -> tf.Tensor:
        if tensor.dtype != tf.float32:
            return tensor
        if tensor.name not in narrowed:
            narrowed[tensor.name] = _narrow(tensor)
        return narrowed[tensor.name]

    def rule(node: rewriting.Node) -> list[tf.Tensor] | None:
        if node.proto.name not in inside:
            return None
        attributes = dict(node.proto.attr)
        attributes['T'] = tf.compat.v1.AttrValue(type=tf.bfloat16.as_datatype_enum)
        inputs = [narrow(tensor) for tensor in node.inputs]
        graph = tf.compat.v1.get_default_graph()
        made = graph.create_op(node.op, inputs, name=node.proto.name, attrs=attributes).outputs
        return [tf.cast(tensor, tf.float32, name=f'{node.proto.name}/float32') for tensor in made]

    return rewriting.rewrite(graph_def, outputs, rule)


def _narrow(tensor: tf.Tensor) -> tf.Tensor:
    value = rewriting.constant(tensor)
    if value is not None:
        return tf.constant(value.astype(tf.bfloat16.as_numpy_dtype), name=f'{tensor.op.name}/bfloat16')
    if tensor.op.type == 'Cast' and tensor.op.inputs[0].dtype in (tf.bfloat16, tf.uint8):
        return tf.cast(tensor.op.inputs[0], tf.bfloat16)  # 0..255 is exact
    return tf.cast(tensor, tf.bfloat16)


def _between(order: Sequence[Any]) -> set[str]:
    """Names of the typed float32 operations that have a convolution at or before them, and one behind them."""
    sources = {node.name: [source.split(':')[0] for source in node.input] for node in order}
    started: set[str] = set()
    for node in order:
        if node.op in CONVOLUTIONS or any(source in started for source in sources[node.name]):
            started.add(node.name)
    followed: set[str] = set()
    for node in reversed(order):
        if node.op in CONVOLUTIONS or node.name in followed:
            followed.update(sources[node.name])
    return {node.name for node in order if _is_typed_float32(node)} & started & followed


def _around(order: Sequence[Any], convolutions: Collection[str]) -> set[str]:
    """`convolutions` and what follows them, up to what reads float32 from elsewhere."""
    constants = {node.name for node in order if node.op == 'Const'}
    inside: set[str] = set()
    for node in order:
        sources = {source.split(':')[0] for source in node.input}
        follows = node.op not in CONVOLUTIONS and sources & inside and sources <= inside | constants
        if _is_typed_float32(node) and (node.name in convolutions or follows):
            inside.add(node.name)
    return inside


def _is_typed_float32(node: Any) -> bool:
    return node.op in _TYPED and node.attr['T'].type == tf.float32.as_datatype_enum
