"""Plans of random nets carried out by the backward walk's own copies: work and memory are what the planner said."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from recompute import backward, planner
from recompute.activations import Activations, Buffer
from recompute.carry_out import make_schedule
from recompute.planner import Late
from recompute.segments import SegmentOptions


class Operation:
    """Stands for a graph operation of one output: knows its value, and what it waits for."""

    def __init__(self, inputs: Sequence[Tensor], size: int, function: Callable[..., float]):
        self.type = 'Conv2D'
        self.name = 'layer'
        self.inputs = list(inputs)
        self.outputs = [Tensor(self, size)]
        self.function = function
        self.value = function(*(t.op.value for t in inputs))
        self.original: Operation | None = None
        self.waits_for: Sequence[Any] = ()


@dataclasses.dataclass(eq=False)
class Tensor:
    op: Operation
    size: int
    value_index: int = 0


class Net(Activations):
    """A net that branches at random. Every operation's gradient reads its output and all of its inputs."""

    def __init__(self, rng: np.random.Generator):
        self.batch = Operation([], 0, lambda: 1.0)
        self.operations: list[Any] = []
        self.buffers = []
        self._index = {}
        last = self.batch.outputs[0]
        for place in range(int(rng.integers(4, 14))):
            inputs = [last]
            if place > 1 and rng.random() < 0.3:
                inputs.append(self.operations[int(rng.integers(max(0, place - 4), place))].outputs[0])
            factor, size = float(rng.integers(2, 50)), int(rng.integers(1, 20))
            op = Operation(inputs, size, lambda *values, factor=factor: (sum(values) * factor + 1) % 997)
            last = op.outputs[0]
            for t in inputs:
                if t.op is not self.batch:
                    self.buffers[self._index[id(t)]].last_use = place
            self._index[id(last)] = place
            self.operations.append(op)
            self.buffers.append(self._buffer(op, place, rng))
        for b, op in zip(self.buffers, self.operations, strict=True):
            readers = [place for place, other in enumerate(self.operations) if op.outputs[0] in other.inputs]
            b.read_at(sorted({b.place, *readers}, reverse=True))
        self.gradient_bytes = [0] * len(self.operations)
        self.workspace_bytes = [0] * len(self.operations)

    def _buffer(self, op: Operation, place: int, rng: np.random.Generator) -> Buffer:
        return Buffer(
            place=place,
            last_use=place,
            size=op.outputs[0].size,
            needed=False,
            replaceable=True,
            expensive=bool(rng.random() < 0.6),
            first_read=place,
            last_read=place,
            work=float(rng.integers(1, 100)),
            sources=sum({1 << self._index[id(t)] for t in op.inputs if t.op is not self.batch}),
        )


class Walk:
    """The backward pass over all operations: who asks for what, and which copies are made when."""

    def __init__(self, net: Net, options: SegmentOptions, plan: planner.Solution, monkeypatch: pytest.MonkeyPatch):
        self.net = net
        self.copies: list[Operation] = []
        self._controls: list[Sequence[Any]] = [()]
        monkeypatch.setattr(backward.tf, 'control_dependencies', self._waiting)
        monkeypatch.setattr(backward.tf_gradients, 'copy_operation', self._copy)
        schedule: Any = make_schedule(options, plan.choices)
        rerun: Any = backward._Rerun(schedule)
        self.reads: list[tuple[int, Tensor]] = []
        entered = None
        for place in reversed(range(len(net.operations))):
            if schedule.segment_of[place] != entered:
                entered = schedule.segment_of[place]
                rerun.enter(entered, place)
            rerun.late_trigger = [place]
            op = net.operations[place]
            for t in [*(t for t in op.inputs if t.op is not net.batch), *op.outputs]:
                found = rerun.tensor(t)
                assert found.op.value == t.op.value
                self.reads.append((place, found))

    @contextlib.contextmanager
    def _waiting(self, places: Sequence[int]) -> Iterator[None]:
        self._controls.append(places)
        yield
        self._controls.pop()

    def _copy(self, op: Operation, inputs: Sequence[Tensor], name: str) -> Operation:
        copy = Operation(inputs, op.outputs[0].size, op.function)
        copy.original, copy.waits_for = op, self._controls[-1]
        self.copies.append(copy)
        return copy

    def work(self) -> float:
        return sum(self.net.buffers[self.net.operations.index(copy.original)].work for copy in self.copies)

    def peak(self) -> int:
        """Most bytes that wait for a gradient, and of the forward pass's own that wait for a copy."""
        last: dict[Tensor, int] = {}
        for place, t in self.reads:
            last[t] = min(last.get(t, place), place)
        for copy in self.copies:
            for t in copy.inputs:
                if t.op is not self.net.batch and (t in last or t.op.original is None):
                    last[t] = min(last.get(t, len(self.net.operations)), *copy.waits_for)
        return max(
            sum(t.size for t, until in last.items() if until <= place <= min(t.op.waits_for, default=place))
            for place in range(len(self.net.operations))
        )


@pytest.mark.parametrize('seed', range(30))
def test_a_plan_takes_what_was_said(seed: int, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(seed)
    net = Net(rng)
    options = SegmentOptions(net, [-1, *range(len(net.operations))])
    segments = options.all(with_gradients=False, late=Late.ALL)
    least = planner.least_peak(segments, options.length, reruns=options.reruns(), precision=0)
    most = options.option(0, options.length, 0.0, with_gradients=False).kept
    for budget in (least.peak, (least.peak + most) // 2, most):
        plan = planner.least_cost(segments, options.length, budget, options.reruns())
        assert plan is not None and plan.peak <= budget
        walk = Walk(net, options, plan, monkeypatch)
        assert walk.work() <= plan.cost
        assert walk.peak() <= plan.peak


def test_plans_inside_plans_are_among_them():
    found = 0
    for seed in range(30):
        net = Net(np.random.default_rng(seed))
        options = SegmentOptions(net, [-1, *range(len(net.operations))])
        segments = options.all(with_gradients=False, late=Late.ALL)
        plan = planner.least_peak(segments, options.length, reruns=options.reruns(), precision=0)
        found += any(choice.inside for choice in plan.choices)
    assert found > 10
