"""What the backward pass of plain training reads and holds, found by building it aside."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Mapping, Sequence, Set

import tensorflow as tf

from recompute import costs
from recompute.backward import gradients
from recompute.forward import ForwardGraph

# They read a tensor's shape, which a fixed crop makes a constant, and never its content.
_SHAPE_ONLY = frozenset({'Shape', 'ShapeN', 'Rank', 'Size', 'ZerosLike', 'OnesLike'})
# They write their result over an input that nothing else reads.
_IN_PLACE = frozenset({'Add', 'AddV2', 'Mul', 'Sub', 'ReluGrad', 'Relu6Grad'})


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackwardPass:
    """Of one forward pass; a place is the number of a forward operation, whose gradient is made there.

    Attributes:
      reads: for the id of each of the forward pass's tensors that gradients are computed from: the places that read it,
        descending.
      gradient_bytes: for each place, most bytes of gradients that exist while the backward pass is at it.
      variable_bytes: of the gradients of all variables together.
    """

    reads: Mapping[int, Sequence[int]]
    gradient_bytes: Sequence[int]
    variable_bytes: int

    @property
    def needed(self) -> Set[int]:
        """Ids of the tensors that gradients are computed from."""
        return self.reads.keys()


def trace_backward(
    forward: ForwardGraph, variables: Sequence[tf.Variable], *, gradients_wait: bool = True, bfloat16: bool = False
) -> BackwardPass:
    """Builds the backward pass in a graph of its own, which then knows what it had to fetch from outside.

    Args:
      gradients_wait: the gradients of variables are held to the end, as for clipping by their common norm; else each is
        applied as soon as it is there.
      bfloat16: the graph will be rewritten to compute in bfloat16.
    """
    scratch = tf.__internal__.FuncGraph('backward_of_plain_training')
    ends: list[int] = []  # operations of the scratch graph when each place was done
    places: list[int] = []

    def done(place: int) -> None:
        ends.append(len(scratch.get_operations()))
        places.append(place)

    with scratch.as_default():
        found = zip(gradients(forward, variables, on_place=done), variables, strict=True)
        results = [_as_large_as(variable, g) for g, variable in found if g is not None]
    operations = scratch.get_operations()
    used = _used(results)
    place_of = {
        op: places[min(bisect.bisect_right(ends, number), len(ends) - 1)] for number, op in enumerate(operations)
    }
    reads: dict[int, Sequence[int]] = {}
    for outer, inner in scratch.captures:
        if inner.op in used:
            readers = {place_of[op] for op in inner.consumers() if op in used and op.type not in _SHAPE_ONLY}
            if readers:
                reads[id(outer)] = sorted(readers, reverse=True)
    lasting = {t.op for t in results} if gradients_wait else set()
    by_operation = _live_bytes([op for op in operations if op in used], lasting, bfloat16)
    gradient_bytes = [0] * len(forward.operations)
    for op, live in by_operation.items():
        gradient_bytes[place_of[op]] = max(gradient_bytes[place_of[op]], live)
    return BackwardPass(
        reads=reads,
        gradient_bytes=gradient_bytes,
        variable_bytes=sum(costs.num_bytes(t) for t in results) if gradients_wait else 0,
    )


def _as_large_as(variable: tf.Variable, gradient: tf.Tensor) -> tf.Tensor:
    """The gradient with its shape, which a scratch graph cannot tell where an axis comes from the forward pass."""
    gradient.set_shape(variable.shape)
    return gradient


def _used(results: Sequence[tf.Tensor]) -> set[tf.Operation]:
    """Everything that the results depend on; the rest is pruned before anything runs."""
    found = {t.op for t in results}
    waiting = list(found)
    while waiting:
        for tensor in waiting.pop().inputs:
            if tensor.op not in found:
                found.add(tensor.op)
                waiting.append(tensor.op)
    return found


def _live_bytes(
    operations: Sequence[tf.Operation], lasting: Set[tf.Operation], bfloat16: bool
) -> dict[tf.Operation, int]:
    """Bytes that exist while each operation runs, if they run in this order and `lasting` ones' results stay."""
    root: dict[int, tf.Operation] = {}
    last_use: dict[tf.Operation, int] = {}
    for number, op in enumerate(operations):
        for t in op.inputs:
            last_use[root.get(id(t), t.op)] = number
        made_by = root.get(id(op.inputs[0]), op.inputs[0].op) if op.type in costs.ALIASES and op.inputs else op
        for t in op.outputs:
            root[id(t)] = made_by
        if op in lasting:
            last_use[made_by] = len(operations)
        last_use.setdefault(made_by, number)
    freed: dict[int, list[tf.Operation]] = {}
    for op, number in last_use.items():
        freed.setdefault(number, []).append(op)
    size = {op: _made_bytes(op, bfloat16) for op in operations}
    total, found = 0, {}
    for number, op in enumerate(operations):
        dying = sum(size.get(source, 0) for source in freed.get(number, ()) if source is not op)
        total += size[op]
        overwritten = min(size[op], dying) if op.type in _IN_PLACE else 0
        found[op] = total - overwritten
        total -= dying + (size[op] if op in freed.get(number, ()) else 0)
    return found


def _made_bytes(op: tf.Operation, bfloat16: bool) -> int:
    if op.type in costs.ALIASES or op.type in ('Placeholder', 'Const'):
        return 0
    return sum(costs.stored_bytes(t, bfloat16=bfloat16) for t in op.outputs if t.shape.is_fully_defined())
