"""What an inference graph need not carry: identities, assertions of known shapes, and what is constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from exporters.optimise import rewriting

_IDENTITIES = frozenset({'Identity', 'StopGradient', 'PreventGradient', 'Snapshot', 'CheckNumerics'})
_LARGEST_CONSTANT = 1 << 20  # elements; a larger one is cheaper computed than stored


def without_control_inputs(graph_def: Any, outputs: Sequence[str]) -> Any:
    """A frozen graph has no side effects, so order is given by its data alone."""
    cleaned = tf.compat.v1.GraphDef()
    cleaned.CopyFrom(graph_def)
    for node in cleaned.node:
        node.input[:] = [source for source in node.input if not source.startswith('^')]
    nodes = rewriting.in_order(cleaned, outputs)
    return tf.compat.v1.GraphDef(node=nodes, versions=graph_def.versions, library=graph_def.library)


def remove_identities(node: rewriting.Node) -> tf.Tensor | None:
    """Identity and its kind, casts and reshapes that change nothing, and EnsureShape where the shape is known."""
    if node.op in _IDENTITIES:
        return node.inputs[0]
    if node.op == 'Cast' and node.proto.attr['SrcT'].type == node.proto.attr['DstT'].type:
        return node.inputs[0]
    if node.op == 'EnsureShape':
        ensured = tf.TensorShape(node.proto.attr['shape'].shape)
        given = node.inputs[0].shape
        known = given.rank is not None and given.is_compatible_with(ensured)
        if known and all(own is not None or wanted is None for own, wanted in zip(given, ensured, strict=True)):
            return node.inputs[0]
    return None


def fold_constants(graph_def: Any, outputs: Sequence[str]) -> Any:
    """Each operation all of whose inputs are constants, computed; the shape of a tensor is one if it is static."""
    graph_def = rewriting.rewrite(graph_def, outputs, _static_shape)
    order = rewriting.in_order(graph_def, outputs)
    fixed: set[str] = set()
    for node in order:
        if node.op != 'Placeholder' and all(source.split(':')[0] in fixed for source in node.input):
            fixed.add(node.name)
    frontier = {source for node in order if node.name not in fixed for source in node.input}
    frontier = {source for source in frontier if source.split(':')[0] in fixed}
    by_name = {node.name: node for node in order}
    computed = sorted(source for source in frontier if by_name[source.split(':')[0]].op != 'Const')
    values = _values(graph_def, computed)

    def fold(node: rewriting.Node) -> list[tf.Tensor] | None:
        name = node.proto.name
        if f'{name}' in values and values[name].size <= _LARGEST_CONSTANT:
            return [tf.constant(values[name], name=name)]
        return None

    return rewriting.rewrite(graph_def, outputs, fold)


def _values(graph_def: Any, tensors: Sequence[str]) -> dict[str, Any]:
    """{operation: value of its only output}."""
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(graph_def, name='')
        fetched = [graph.get_operation_by_name(name.split(':')[0]) for name in tensors]
        single = [op for op in fetched if len(op.outputs) == 1]
        return {op.name: value for op, value in zip(single, session.run([op.outputs[0] for op in single]), strict=True)}


def _static_shape(node: rewriting.Node) -> tf.Tensor | None:
    if node.op != 'Shape' or not node.inputs[0].shape.is_fully_defined():
        return None
    dtype = tf.as_dtype(node.proto.attr['out_type'].type or tf.int32)
    return tf.constant(node.inputs[0].shape.as_list(), dtype, name=node.proto.name)
