"""A GraphDef rebuilt node by node, a rule saying which nodes become something else.

A rule is a function of one operation of the old graph and the tensors that its inputs have become. It answers with the
tensors that take the place of the operation's outputs, made by ordinary TensorFlow calls, or None: then the operation
is copied. It sees what is upstream of it in its final form, with static shapes, and constants through `constant`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True, kw_only=True)
class Node:
    """An operation of the graph before the rewriting.

    Attributes:
      proto: its NodeDef.
      inputs: what its inputs have become.
      num_consumers: how many inputs of other operations its first output feeds; an output of the graph counts too.
      consumers_of: the same for each of `inputs`, in the graph before.
    """

    proto: Any
    inputs: Sequence[tf.Tensor]
    num_consumers: int
    consumers_of: Sequence[int]

    @property
    def op(self) -> str:
        return self.proto.op


Rule = Callable[[Node], Sequence[tf.Tensor] | tf.Tensor | None]


def rewrite(graph_def: Any, outputs: Sequence[str], rule: Rule) -> Any:
    """The GraphDef after one application of `rule` to each operation, inputs first; what `outputs` do not need is gone.

    Args:
      graph_def: without control flow and without control inputs.
      outputs: names of operations, which keep their names.
      rule: see above.
    """
    consumers = Counter(_tensor_name(source) for node in graph_def.node for source in node.input)
    consumers.update(f'{name}:0' for name in outputs)
    became: dict[str, tf.Tensor] = {}
    with tf.Graph().as_default() as graph:
        for node in in_order(graph_def, outputs):
            sources = [_tensor_name(source) for source in node.input]
            inputs = [became[source] for source in sources]
            view = Node(
                proto=node,
                inputs=inputs,
                num_consumers=consumers[f'{node.name}:0'],
                consumers_of=[consumers[source] for source in sources],
            )
            made = rule(view)
            if made is None:
                made = graph.create_op(node.op, inputs, name=node.name, attrs=dict(node.attr)).outputs
            elif isinstance(made, tf.Tensor):
                made = [made]
            became |= {f'{node.name}:{number}': tensor for number, tensor in enumerate(made)}
        kept: dict[str, str] = {}
        for name in outputs:
            kept[name] = _own_operation(became[f'{name}:0'], name, taken=kept.values())
    return _renamed(graph.as_graph_def(), kept)


def in_order(graph_def: Any, outputs: Sequence[str]) -> list[Any]:
    """The nodes that `outputs` depend on, each behind its inputs."""
    by_name = {node.name: node for node in graph_def.node}
    order: dict[str, Any] = {}
    waiting = [(name, False) for name in reversed(outputs)]
    while waiting:
        name, inputs_done = waiting.pop()
        if name in order:
            continue
        if inputs_done:
            order[name] = by_name[name]
            continue
        waiting.append((name, True))
        waiting += [(source.lstrip('^').split(':')[0], False) for source in reversed(by_name[name].input)]
    return list(order.values())


def constant(tensor: tf.Tensor) -> np.ndarray | None:
    """The value of a Const, None for what is none."""
    return tf.make_ndarray(tensor.op.node_def.attr['value'].tensor) if tensor.op.type == 'Const' else None


def constants(tensors: Sequence[tf.Tensor]) -> list[np.ndarray] | None:
    """The values of all of them; None if one is no Const."""
    values = [value for value in map(constant, tensors) if value is not None]
    return values if len(values) == len(tensors) else None


def _tensor_name(source: str) -> str:
    return source if ':' in source else f'{source}:0'


def _own_operation(tensor: tf.Tensor, name: str, *, taken: Collection[str]) -> str:
    """The operation that shall be called `name`: the tensor's own, or a copy if it cannot have that name.

    Nothing is computed from an output: converters take for outputs what ends the graph.
    """
    free = (
        tensor.op.type not in ('Placeholder', 'Const')
        and len(tensor.op.outputs) == 1
        and tensor.op.name not in taken
        and not tensor.consumers()
    )
    return (tensor if free else tf.identity(tensor, name=f'{name}_output')).op.name


def _renamed(graph_def: Any, kept: dict[str, str]) -> Any:
    """Only what is needed, with {public name: present name} made true."""
    public = {present: name for name, present in kept.items()}
    nodes = in_order(graph_def, list(public))
    taken = {node.name for node in nodes}
    names = {name: f'{name}_inner' for name in set(kept) & taken if public.get(name) != name} | public

    def renamed(source: str) -> str:
        base, colon, number = source.partition(':')
        return names.get(base, base) + colon + number

    for node in nodes:
        node.name = names.get(node.name, node.name)
        node.input[:] = [renamed(source) for source in node.input]
    return tf.compat.v1.GraphDef(node=nodes, versions=graph_def.versions, library=graph_def.library)
