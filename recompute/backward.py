"""Reverse-mode differentiation of a traced graph, with chosen activations computed a second time instead of kept.

One walk over the forward operations in reverse calls each one's registered gradient function. The function sees the
operation through a stand-in: an input or output that the schedule keeps is the forward pass's own tensor, any other is
computed again from kept ones the moment the function asks for it. The same functions are called in the same order with
the same sums whatever the schedule, so gradients are bit-equal to those of plain training wherever the kernels are
deterministic, and a variable's gradient cannot get lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import tensorflow as tf

from recompute.forward import ForwardGraph
from recompute.schedule import Schedule
from third_party import gradients as tf_gradients

Gradient = tf.Tensor | None


def gradients(
    forward: ForwardGraph,
    variables: Sequence[tf.Variable],
    schedule: Schedule | None = None,
    *,
    on_place: Callable[[int], object] | None = None,
) -> list[Gradient]:
    """d objective / d variable for each variable, None where the objective does not depend on it.

    Args:
      forward: the operations the objective was made of.
      variables: inside `strategy.run`, the replica's own copies are meant.
      schedule: what to keep and when to compute the rest again; None keeps everything.
      on_place: told the number of each operation of `forward` once its gradient is made.

    Raises LookupError for an operation that has no registered gradient.
    """
    return _Walk(forward, schedule, on_place or (lambda place: None)).run(variables)


class _Walk:
    """State of one reverse walk: the gradients still to be passed on, and what was computed again."""

    def __init__(self, forward: ForwardGraph, schedule: Schedule | None, on_place: Callable[[int], object]):
        self._forward = forward
        self._schedule = schedule
        self._on_place = on_place
        self._rerun = _Rerun(schedule) if schedule else None
        self._open: dict[int, tf.Tensor] = {}
        self._made: list[tf.Tensor] = []
        self._last_sum: list[tf.Tensor] = []

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
                    self._finish_segment()
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
            self._rerun.late_trigger = [g for g in incoming if g is not None]
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
        self._open[id(tensor)] = gradient
        self._made.append(gradient)

    def _waiting(self, incoming: Sequence[Gradient]) -> list[Any]:
        """A gradient that was made in a later segment may lie ready long before this one's turn."""
        if self._rerun is None or self._rerun.trigger is None:
            return self._last_sum
        made = {id(g) for g in self._made}
        return self._last_sum + ([] if any(id(g) in made for g in incoming) else [self._rerun.trigger])

    def _finish_segment(self) -> None:
        """What the earlier segment computes again waits for every gradient of the one just passed, kernels' included.

        Otherwise the executor would run it during the forward pass, since all its inputs are there.
        """
        assert self._rerun is not None
        with tf.control_dependencies(self._made):
            self._rerun.trigger = tf.no_op(name='segment_done')
        self._made = []


class _Rerun:
    """Computes activations again when asked: each once on entering its segment, or late, right before its use.

    Attributes:
      trigger: what the segment's copies wait for.
      late_trigger: the gradients that are about to be passed on, which late copies wait for.
    """

    def __init__(self, schedule: Schedule):
        self._schedule = schedule
        self._copies: dict[int, tf.Operation] = {}
        self._late_copies: dict[int, tf.Operation] = {}
        self.trigger: Any = None
        self.late_trigger: list[tf.Tensor] = []

    def tensor(self, tensor: tf.Tensor) -> tf.Tensor:
        """The kept tensor itself, or the same value computed again from kept ones."""
        if self._schedule.keeps(tensor):
            return tensor
        return self._copy(tensor.op, late=id(tensor) in self._schedule.late).outputs[tensor.value_index]

    def _copy(self, last: tf.Operation, *, late: bool) -> tf.Operation:
        """A loop and not a recursion: a long chain would meet Python's limit."""
        waiting = [(last, late)]
        while waiting:
            op, late = waiting[-1]
            copies = self._late_copies if late else self._copies
            missing = [source for t in op.inputs if (source := self._missing(t, late=late)) is not None]
            if missing:
                waiting += missing
                continue
            waiting.pop()
            if id(op) not in copies:
                copies[id(op)] = self._copy_one(op, late=late)
        return (self._late_copies if late else self._copies)[id(last)]

    def _source(self, tensor: tf.Tensor, *, late: bool) -> dict[int, tf.Operation] | None:
        """Which copies an input comes from; None if it is kept. A copy made on entry uses none that are made late."""
        if self._schedule.keeps(tensor):
            return None
        return self._late_copies if late and id(tensor) in self._schedule.late else self._copies

    def _missing(self, tensor: tf.Tensor, *, late: bool) -> tuple[tf.Operation, bool] | None:
        copies = self._source(tensor, late=late)
        if copies is None or id(tensor.op) in copies:
            return None
        return tensor.op, copies is self._late_copies

    def _copy_one(self, op: tf.Operation, *, late: bool) -> tf.Operation:
        inputs = []
        for t in op.inputs:
            copies = self._source(t, late=late)
            inputs.append(t if copies is None else copies[id(t.op)].outputs[t.value_index])
        with tf.control_dependencies(self.late_trigger if late else [self.trigger]):
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
