"""Weights stored in fewer bits and made float again by the graph itself."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import tensorflow as tf

from core.export_forms import STORED_TYPES

_SMALLEST = 512  # elements; below, what dequantises would take the space that is saved


def store(graph_def: Any, stored: str) -> Any:
    """The graph with each large float constant in fewer bits.

    bfloat16 keeps 8 bits of the mantissa. int8 has one scale for each output channel, the last axis: the largest
    magnitude there is 127, and no value is off by more than half a step.

    Raises:
      ValueError: `stored` is not one of `STORED_TYPES`.
    """
    if stored not in STORED_TYPES:
        raise ValueError(f'stored: got {stored!r}, choose from {list(STORED_TYPES)}')
    smaller = tf.compat.v1.GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        value = _weights(node)
        if value is None or stored == 'float32':
            smaller.node.append(node)
        else:
            smaller.node.extend((_as_bfloat16 if stored == 'bfloat16' else _as_int8)(node.name, value))
    return smaller


def _weights(node: Any) -> np.ndarray | None:
    if node.op != 'Const' or node.attr['dtype'].type not in (tf.float32.as_datatype_enum, tf.bfloat16.as_datatype_enum):
        return None
    value = tf.make_ndarray(node.attr['value'].tensor)
    return value if value.ndim > 1 and value.size >= _SMALLEST else None


def _as_bfloat16(name: str, value: np.ndarray) -> list[Any]:
    if value.dtype == ml_dtypes.bfloat16:
        return [_constant(name, value)]
    return [_constant(f'{name}/stored', value.astype(ml_dtypes.bfloat16)), _cast(name, f'{name}/stored', value.dtype)]


def _as_int8(name: str, value: np.ndarray) -> list[Any]:
    wanted, value = value.dtype, value.astype(np.float32)
    largest = np.abs(value).max(axis=tuple(range(value.ndim - 1)))
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    steps = np.rint(value / scale).astype(np.int8)
    product = name if wanted == np.float32 else f'{name}/float32'
    nodes = [
        _constant(f'{name}/stored', steps),
        _constant(f'{name}/scale', scale),
        _cast(f'{name}/steps', f'{name}/stored', np.dtype(np.float32), source=np.dtype(np.int8)),
        _node('Mul', product, [f'{name}/steps', f'{name}/scale'], T=np.dtype(np.float32)),
    ]
    if wanted != np.float32:
        nodes.append(_cast(name, product, wanted, source=np.dtype(np.float32)))
    return nodes


def _constant(name: str, value: np.ndarray) -> Any:
    node = _node('Const', name, [], dtype=value.dtype)
    node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(value))
    return node


def _cast(name: str, of: str, wanted: np.dtype, source: Any = None) -> Any:
    return _node('Cast', name, [of], SrcT=np.dtype(source or ml_dtypes.bfloat16), DstT=wanted)


def _node(op: str, name: str, inputs: list[str], **types: np.dtype) -> Any:
    node = tf.compat.v1.NodeDef(op=op, name=name, input=inputs)
    for key, dtype in types.items():
        node.attr[key].type = tf.as_dtype(dtype).as_datatype_enum
    return node
