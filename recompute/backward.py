"""Reverse-mode differentiation of a traced graph, with chosen activations computed a second time instead of kept.

One walk over the forward operations in reverse calls each one's registered gradient function. The function sees the
operation through a stand-in: an input or output that the schedule keeps is the forward pass's own tensor, any other is
computed again from kept ones the moment the function asks for it. The same functions are called in the same order with
the same sums whatever the schedule, so gradients are bit-equal to those of plain training wherever the kernels are
deterministic, and a variable's gradient cannot get lost.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import tensorflow as tf

from recompute.forward import ForwardGraph
from recompute.schedule import Schedule
from third_party import gradients as tf_gradients

Gradient = tf.Tensor | None
# Not biases nor activation functions: oneDNN may compute those in one operation with the convolution before them.
_IN_ORDER = frozenset(
    {'Conv2D', 'DepthwiseConv2dNative', 'MatMul', 'FusedBatchNormV3', 'MaxPool', 'AvgPool', 'ResizeBilinear'}
)
_Level = tuple[str, int]


def gradients(
    forward: ForwardGraph,
    variables: Sequence[tf.Variable],
    schedule: Schedule | None = None,
    *,
    on_place: Callable[[int], object] | None = None,
    gates: dict[int, tf.Operation] | None = None,
) -> list[Gradient]:
    """d objective / d variable for each variable, None where the objective does not depend on it.

    Args:
      forward: the operations the objective was made of.
      variables: inside `strategy.run`, the replica's own copies are meant.
      schedule: what to keep and when to compute the rest again; None keeps everything.
      on_place: told the number of each operation of `forward` once its gradient is made.
      gates: with a schedule, filled with an operation for the id of each variable's gradient that what comes later in
        the backward pass waits for, see `spend_early`.

    Raises LookupError for an operation that has no registered gradient.
    """
    if schedule:
        _in_order(forward)
    walk = _Walk(forward, schedule, on_place or (lambda place: None))
    found = walk.run(variables)
    if gates is not None:
        gates.update(walk.gates)
    return found


def _in_order(forward: ForwardGraph) -> None:
    """Lets the forward pass begin its large operations one after the other, in the order it was planned in.

    An executor is free to begin every branch of a network before it ends one, and would hold the activations of all.
    Convolutions with a bias are left as they are: oneDNN computes both in one operation, but not if the convolution has
    to wait for something else, and in bfloat16 that rounds differently.
    """
    ordered = (op for op in forward.operations if op.type in _IN_ORDER and not _has_bias(op))
    for before, after in itertools.pairwise(ordered):
        tf_gradients.run_before(after, [before])


def _has_bias(op: tf.Operation) -> bool:
    return any(reader.type == 'BiasAdd' for output in op.outputs for reader in output.consumers())


def spend_early(gradients: Iterable[tf.Tensor], gates: Mapping[int, tf.Operation]) -> None:
    """Lets the backward pass wait until what reads each gradient of a variable has run, so that it is freed.

    An executor may run whatever is ready, and one of a single thread runs last what was ready first: sums of squares
    for the norm, and with them every gradient, stayed to the end of the step. To be called once the readers are made;
    none of them may need a later gradient.
    """
    for gradient in gradients:
        if id(gradient) in gates:
            tf_gradients.run_before(gates[id(gradient)], gradient.consumers())


class _Walk:
    """State of one reverse walk: the gradients still to be passed on, and what was computed again.

    Attributes:
      gates: see `gradients`.
    """

    def __init__(self, forward: ForwardGraph, schedule: Schedule | None, on_place: Callable[[int], object]):
        self._forward = forward
        self._schedule = schedule
        self._on_place = on_place
        self._rerun = _Rerun(schedule) if schedule else None
        self._open: dict[int, tf.Tensor] = {}
        self._made: list[Any] = []
        self._last_sum: list[Any] = []
        self._gate: list[Any] = []
        self._since_gate: list[Any] = []
        self.gates: dict[int, tf.Operation] = {}

    def run(self, variables: Sequence[tf.Variable]) -> list[Gradient]:
        graph, objective = self._forward.graph, self._forward.objective
        handles = [tf_gradients.captured_handle(graph, variable) for variable in variables]
        active = self._forward.depending_on(handles)
        operations = self._forward.operations
        segment = None
        with tf.name_scope('backward'):
            self._add(objective, self._seed(objective))
            for index in reversed(range(len(operations))):
                if not any(id(t) in self._open for t in operations[index].outputs) or not operations[index].inputs:
                    continue
                if self._schedule and self._schedule.segment_of[index] != segment:
                    segment = self._schedule.segment_of[index]
                    self._enter(segment)
                self._differentiate(operations[index], active)
                self._on_place(index)
            return [self._open.pop(id(handle), None) for handle in handles]

    def _seed(self, objective: tf.Tensor) -> tf.Tensor:
        """d objective / d objective. A constant, so it is told to wait, and with it what the last segment reruns."""
        with tf.control_dependencies([objective] if self._rerun else []):
            return tf.ones_like(objective)

    def _differentiate(self, op: tf.Operation, active: set[int]) -> None:
        incoming = [self._open.pop(id(t), None) for t in op.outputs]
        if not any(id(t) in active for t in op.inputs):
            return
        function = _GRADIENTS.get(op.type) or tf_gradients.gradient_function(op)
        if function is None:
            return
        seen: Any = op if self._rerun is None else _StandIn(op, self._rerun)
        incoming = [_zeros(t) if g is None else g for g, t in zip(incoming, op.outputs, strict=True)]
        if self._rerun is not None:
            self._rerun.late_trigger = [*self._gate, *(g for g in incoming if g is not None)]
        with tf.name_scope(op.name), tf.control_dependencies(self._waiting(incoming)):
            outgoing = function(seen, *incoming)
            outgoing = outgoing if isinstance(outgoing, (list, tuple)) else [outgoing]
            for tensor, gradient in zip(op.inputs, outgoing, strict=True):
                if gradient is not None and id(tensor) in active:
                    self._add(tensor, tf.convert_to_tensor(gradient))

    def _add(self, tensor: tf.Tensor, gradient: tf.Tensor) -> None:
        """Sums as gradients come, two at a time: no schedule changes this order, and AddN's depends on free memory.

        In a planned step what follows waits for the sum, or all branches would have their parts at the same time.
        """
        known = self._open.get(id(tensor))
        if known is not None:
            gradient = tf.add(known, gradient)
            self._last_sum = [gradient] if self._rerun else []
        if self._rerun and tensor.dtype == tf.resource:
            gradient = self._closed(gradient)
        self._open[id(tensor)] = gradient
        self._made.append(gradient)
        self._since_gate.append(gradient)

    def _closed(self, gradient: tf.Tensor) -> tf.Tensor:
        """A variable's gradient, under a name of its own: it comes before all that follows.

        Else kernels' gradients would be put off, and hold what they are computed from. It comes after what was made
        just before, which may read the variable: an update beside a reader would copy the variable.
        """
        with tf.control_dependencies(self._since_gate):
            gradient = tf.identity(gradient)
        with tf.control_dependencies([gradient, *self._gate]):
            self._gate = [tf.no_op(name='gate')]
        self._since_gate = []
        self.gates[id(gradient)] = self._gate[0]
        self._made += self._gate
        return gradient

    def _waiting(self, incoming: Sequence[Gradient]) -> list[Any]:
        """A gradient that was made in a later segment may lie ready long before this one's turn."""
        before = self._last_sum + self._gate
        if self._rerun is None or self._rerun.trigger is None:
            return before
        made = {id(g) for g in self._made}
        return before + ([] if any(id(g) in made for g in incoming) else [self._rerun.trigger])

    def _enter(self, segment: int) -> None:
        """What the earlier segment computes again waits for every gradient of the one just passed, kernels' included.

        Otherwise the executor would run it during the forward pass, since all its inputs are there.
        """
        assert self._rerun is not None
        with tf.control_dependencies(self._made):
            self._rerun.enter(segment, tf.no_op(name='segment_done'))
        self._made = []


class _Rerun:
    """Computes activations again when asked: each once on entering its segment, or late, right before its use.

    What a rerun around the segment keeps is computed when the backward pass enters the rerun's last segment. Every copy
    therefore belongs to a level: that of a rerun; the segment's own, which holds whatever is asked for; or that of one
    late tensor, which makes its own copies of the other late ones that it takes: sharing them would hold them for long.

    Attributes:
      late_trigger: what late copies wait for: the gradients that are about to be passed on, and those before them.
    """

    def __init__(self, schedule: Schedule):
        self._schedule = schedule
        self._copies: dict[tuple[_Level, int], tf.Operation] = {}
        self._triggers: dict[_Level, Any] = {}
        self._levels: list[_Level] = []
        self.late_trigger: list[Any] = []

    @property
    def trigger(self) -> Any:
        """What the copies of the segment wait for; None before the first."""
        return self._triggers[self._levels[-1]] if self._levels else None

    def enter(self, segment: int, trigger: Any) -> None:
        """The backward pass comes to a segment; copies that it is the first to want wait for `trigger`."""
        self._levels = [('rerun', number) for number in self._schedule.inside[segment]] + [('segment', segment)]
        for level in self._levels:
            self._triggers.setdefault(level, trigger)

    def tensor(self, tensor: tf.Tensor) -> tf.Tensor:
        """The kept tensor itself, or the same value computed again from kept ones."""
        level = self._level(tensor, ('late', id(tensor.op)))
        return tensor if level is None else self._copy(tensor.op, level).outputs[tensor.value_index]

    def _level(self, tensor: tf.Tensor, reader: _Level) -> _Level | None:
        """Where a copy on `reader`'s level finds the tensor; None if the forward pass has kept it.

        A copy made on entry uses none that are made late, one made by a rerun none that belong to what is inside it.
        """
        if self._schedule.keeps(tensor):
            return None
        for level in self._levels[:-1]:
            if level == reader or id(tensor) in self._schedule.kept_by[level[1]]:
                return level
        return reader if reader[0] == 'late' and id(tensor) in self._schedule.late else self._levels[-1]

    def _copy(self, last: tf.Operation, level: _Level) -> tf.Operation:
        """A loop and not a recursion: a long chain would meet Python's limit."""
        waiting = [(level, last)]
        while waiting:
            level, op = waiting[-1]
            sources = [(self._level(t, level), t.op) for t in op.inputs]
            missing = [(where, source) for where, source in sources if where and self._known(where, source) is None]
            if missing:
                waiting += missing
                continue
            waiting.pop()
            if self._known(level, op) is None:
                self._copies[level, id(op)] = self._copy_one(op, level)
        copy = self._known(level, last)
        assert copy is not None
        return copy

    def _known(self, level: _Level, op: tf.Operation) -> tf.Operation | None:
        return self._copies.get((level, id(op)))

    def _copy_one(self, op: tf.Operation, level: _Level) -> tf.Operation:
        inputs = []
        for t in op.inputs:
            where = self._level(t, level)
            copy = self._known(where, t.op) if where else None
            inputs.append(t if copy is None else copy.outputs[t.value_index])
        with tf.control_dependencies(self.late_trigger if level[0] == 'late' else [self._triggers[level]]):
            return tf_gradients.copy_operation(op, inputs, f'recompute/{op.name}')


class _StandIn:
    """What a gradient function sees of an operation: everything as it was, inputs and outputs through `_Rerun`."""

    def __init__(self, op: tf.Operation, rerun: _Rerun):
        self._op = op
        self.inputs = _Tensors(op.inputs, rerun)
        self.outputs = _Tensors(op.outputs, rerun)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._op, name)


class _Tensors(Sequence[tf.Tensor]):
    """Tensors that are computed again only when looked at: most gradients need but one input or output."""

    def __init__(self, originals: Sequence[tf.Tensor], rerun: _Rerun):
        self._originals = list(originals)
        self._rerun = rerun

    def __len__(self) -> int:
        return len(self._originals)

    @overload
    def __getitem__(self, index: int) -> tf.Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[tf.Tensor]: ...
    def __getitem__(self, index: int | slice) -> tf.Tensor | list[tf.Tensor]:
        if isinstance(index, slice):
            return [self._rerun.tensor(t) for t in self._originals[index]]
        return self._rerun.tensor(self._originals[index])

    def __iter__(self) -> Iterator[tf.Tensor]:
        return (self._rerun.tensor(t) for t in self._originals)


def _bias_gradient(op: Any, gradient: tf.Tensor) -> list[tf.Tensor]:
    """As registered, but of a matrix [pixels, C].

    Where BiasAddGrad reads the very tensor that a kernel's gradient reads, oneDNN may compute both in one operation,
    which rounds differently; whether it does depends on the rest of the graph.
    """
    pixels = gradient
    if op.get_attr('data_format') == b'NHWC':
        pixels = tf.reshape(gradient, [-1, gradient.shape[-1]])
    return [gradient, tf.raw_ops.BiasAddGrad(out_backprop=pixels, data_format=op.get_attr('data_format'))]


_GRADIENTS = {'BiasAdd': _bias_gradient}


def _zeros(tensor: tf.Tensor) -> Gradient:
    """Zeros for an output that nothing used; None where there is no such thing as its gradient."""
    if not (tensor.dtype.is_floating or tensor.dtype.is_complex):
        return None
    return tf.zeros(tensor.shape, tensor.dtype) if tensor.shape.is_fully_defined() else tf.zeros_like(tensor)
