"""The forward pass as a list of operations: what the backward walk differentiates and the planner weighs."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from third_party import gradients as tf_gradients

_MUCH_SMALLER = 8


class ForwardGraph:
    """Every operation that an objective is computed from, in a topological order.

    That is the order of creation, with two exceptions. What reads variables alone (a regulariser) stands where the
    network reads the same variable: its gradient is then made beside the kernel's, not for the whole model at once. And
    a convolution that leaves little of its input (the classifier of an auxiliary head), with its bias, stands right
    behind what it reads, which then need not wait for it.

    Attributes:
      objective: the scalar to differentiate.
      graph: the graph being traced.
      operations: all ancestors of the objective by data, the objective's own last; but not what is within a function
        that has a gradient of its own, such as an exchange between replicas.
    """

    def __init__(self, objective: tf.Tensor):
        self.objective = objective
        self.graph = objective.graph
        ancestors = _ancestors(objective.op)
        as_created = [op for op in self.graph.get_operations() if id(op) in ancestors]
        keys = _order_keys(as_created)
        order = sorted(range(len(as_created)), key=lambda created: (keys[created], created))
        self.operations = [as_created[created] for created in order]

    def depending_on(self, sources: Iterable[tf.Tensor]) -> set[int]:
        """Ids of `sources` and of every floating-point tensor computed from them."""
        active = {id(source) for source in sources}
        for op in self.operations:
            if any(id(t) in active for t in op.inputs):
                active.update(id(t) for t in op.outputs if t.dtype.is_floating or t.dtype.is_complex)
        return active

    def fingerprint(self) -> tuple[str, ...]:
        """Types of the operations in order: equal for two traces of the same computation."""
        return tuple(op.type for op in self.operations)


def _ancestors(last: tf.Operation) -> set[int]:
    found, waiting = {id(last)}, [last]
    while waiting:
        for tensor in tf_gradients.differentiable_inputs(waiting.pop()):
            if id(tensor.op) not in found:
                found.add(id(tensor.op))
                waiting.append(tensor.op)
    return found


def _leaves_little(op: tf.Operation) -> bool:
    """Whether it is a convolution whose output is far smaller than what it reads."""
    if op.type != 'Conv2D' or not all(t.shape.is_fully_defined() for t in (op.inputs[0], op.outputs[0])):
        return False
    return _MUCH_SMALLER * op.outputs[0].shape.num_elements() <= op.inputs[0].shape.num_elements()


def _order_keys(operations: list[tf.Operation]) -> list[int]:
    """Rank of each operation, given in order of creation, none below that of its inputs."""
    place = {id(op): index for index, op in enumerate(operations)}
    readers: dict[int, int] = {}
    data: set[int] = set()
    for index, op in enumerate(operations):
        if op.type == 'ReadVariableOp' or not op.inputs:
            continue
        if any(id(t.op) in data or t.op.type.startswith('Placeholder') for t in op.inputs):
            data.add(id(op))
            for t in op.inputs:
                if t.op.type == 'ReadVariableOp':
                    readers.setdefault(id(t.op.inputs[0]), index)
    keys: list[int] = []
    early: set[int] = set()
    for index, op in enumerate(operations):
        if _leaves_little(op) or (op.type == 'BiasAdd' and id(op.inputs[0].op) in early):
            early.add(id(op))
            known = [t.op for t in op.inputs if id(t.op) in place]
            key = max((keys[place[id(source)]] for source in known if source.type != 'ReadVariableOp'), default=index)
            for read in (source for source in known if source.type == 'ReadVariableOp'):
                for needed in (read, read.inputs[0].op):
                    keys[place[id(needed)]] = min(key, keys[place[id(needed)]])
        elif op.type == 'ReadVariableOp':
            key = min(index, readers.get(id(op.inputs[0]), index))
        elif op.inputs and id(op) not in data:
            key = max((keys[place[id(t.op)]] for t in op.inputs if id(t.op) in place), default=index)
        else:
            key = max([index, *(keys[place[id(t.op)]] for t in op.inputs if id(t.op) in place)])
        keys.append(key)
    return keys
