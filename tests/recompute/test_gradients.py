"""The reverse walk, with and without a plan, against TensorFlow's own gradients and against itself."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from recompute import backward
from recompute.forward import ForwardGraph
from recompute.plan import Mode, Planner, Request
from tests import forked
from tests.recompute import compare_gradients
from tests.recompute.compare_gradients import NESTED, REQUESTS, planned_step
from tests.recompute.nets import NETS, Net, images
from tests.recompute.thorough import HalvingPlanner

_RECOMPUTE = 'recompute/'


@pytest.fixture(scope='module')
def compared() -> dict[str, Any]:
    return json.loads(forked.run(compare_gradients.main, patience_seconds=900))


@pytest.mark.parametrize('name', NETS)
def test_without_a_plan_gradients_are_the_tapes(compared: dict[str, Any], name: str):
    """But for the order in which three gradients of one tensor are added."""
    assert compared[name]['tape'] < 2e-6


@pytest.mark.parametrize('mode', [*REQUESTS, NESTED])
@pytest.mark.parametrize('name', NETS)
def test_a_plan_changes_no_bit(compared: dict[str, Any], name: str, mode: str):
    """Objective, gradients and batch-norm averages of two steps: an average that moved twice would differ."""
    result = compared[name][mode]
    assert result['unequal'] == [] and result['zero'] == []


@pytest.mark.parametrize('name', NETS)
def test_plans_do_recompute(compared: dict[str, Any], name: str):
    """Else equality would say nothing."""
    assert compared[name]['memory']['extra_work'] > 0.05
    assert compared[name]['memory']['kept'] < compared[name]['memory']['plain']
    assert compared[name]['none']['extra_work'] == 0


def test_work_and_share_stay_within_what_was_asked(compared: dict[str, Any]):
    for result in compared.values():
        assert result['auto']['extra_work'] <= 1 / 3
        assert result['share']['kept'] <= 0.9 * result['share']['plain']


def _traced(name: str, request: Request | Planner | None) -> tf.Graph:
    net = Net(NETS[name])
    step = planned_step(net, Planner(request) if isinstance(request, Request) else request)
    return tf.function(step, autograph=False).get_concrete_function().graph


def _ancestors(op: tf.Operation) -> set[tf.Operation]:
    found, waiting = {op}, [op]
    while waiting:
        current = waiting.pop()
        for source in [*(t.op for t in current.inputs), *current.control_inputs]:
            if source not in found:
                found.add(source)
                waiting.append(source)
    return found


@pytest.mark.parametrize('nested', [False, True])
@pytest.mark.parametrize('name', NETS)
def test_every_copy_waits_for_the_end_of_the_forward_pass(name: str, nested: bool):
    """Otherwise the executor would run it at once, since everything it reads is there: nothing would be saved."""
    graph = _traced(name, HalvingPlanner() if nested else Request(mode=Mode.MEMORY))
    copies = [op for op in graph.get_operations() if _RECOMPUTE in op.name]
    (seed,) = [op for op in graph.get_operations() if op.name.startswith('backward/ones')][:1]
    assert copies and seed.control_inputs
    early = [copy.name for copy in copies if not set(seed.control_inputs) <= _ancestors(copy)]
    assert not early


def _waits(graph: tf.Graph) -> list[bool]:
    """Of each convolution of the forward pass but the first: whether it cannot begin before the one made before it."""
    forward = [op for op in graph.get_operations() if op.type == 'Conv2D' and 'backward/' not in op.name]
    return [before in _ancestors(after) for before, after in itertools.pairwise(forward)]


def test_a_planned_forward_pass_does_one_branch_after_the_other():
    assert all(_waits(_traced('pyramid', Request(mode=Mode.MEMORY))))
    assert not all(_waits(_traced('pyramid', None)))


def test_a_plain_step_has_no_copies():
    assert not [op for op in _traced('chain', None).get_operations() if _RECOMPUTE in op.name]
    assert not [op for op in _traced('chain', Request(mode=Mode.NONE)).get_operations() if _RECOMPUTE in op.name]


def test_no_operation_runs_more_than_twice_but_late_ones():
    """A copy under the same name would be numbered `_1`; convolutions are copied once."""
    operations = _traced('residual', Request(mode=Mode.MEMORY)).get_operations()
    copied = [op.name.split(_RECOMPUTE)[1] for op in operations if _RECOMPUTE in op.name and op.type == 'Conv2D']
    assert copied and len(copied) == len(set(copied))


def test_plans_inside_plans_run_the_first_layers_most():
    operations = _traced('residual', HalvingPlanner()).get_operations()
    copies = [op for op in operations if _RECOMPUTE in op.name and op.type == 'Conv2D']
    count = [sum(op.name.split(_RECOMPUTE)[1].startswith(f'conv{i}') for op in copies) for i in range(4)]
    assert count == [2, 1, 1, 0]  # The first runs three times in all.


def test_batch_norm_averages_are_moved_by_the_forward_pass_alone():
    plain, planned = (_traced('chain', request) for request in (None, HalvingPlanner()))
    count = [sum(op.type.startswith('Assign') for op in graph.get_operations()) for graph in (plain, planned)]
    assert count[0] == count[1] == 8


def test_a_stateful_draw_is_never_repeated():
    operations = _traced('stateful_dropout', HalvingPlanner()).get_operations()
    assert sum(op.type == 'RandomUniform' for op in operations) == 3


def test_the_mask_of_the_forward_pass_is_the_mask_of_the_gradient():
    """y = w * x * mask: the gradient of the sum of y is the sum of x * mask, of the very mask that made y."""
    x = np.random.default_rng(0).uniform(1, 2, (4, 64, 64, 8)).astype(np.float32)
    w = tf.Variable(3.0)
    planner = HalvingPlanner()

    @tf.function(autograph=False)
    def step() -> tuple[tf.Tensor, tf.Tensor]:
        y = tf.nn.dropout(tf.nn.relu(w * x), 0.5)
        forward = ForwardGraph(tf.reduce_sum(tf.square(y)))
        (gradient,) = backward.gradients(forward, [w], planner(forward, [w]))
        assert gradient is not None
        return y, gradient

    masks = []
    for _ in range(2):
        y, gradient = step()
        masks.append(y.numpy() != 0)
        assert 0.45 < masks[-1].mean() < 0.55
        want = np.sum((2 * y.numpy() * x * masks[-1] * 2).astype(np.float64))
        assert float(gradient) == pytest.approx(want, rel=1e-4)
    assert not np.array_equal(*masks)
    assert planner.plan is not None and planner.plan.extra_work > 0


@pytest.mark.parametrize('name', ['residual', 'regularized'])
def test_what_reads_a_gradient_runs_before_the_layer_below(name: str):
    """Otherwise an executor may put it off, and each gradient stays to the end of the step."""
    net, order = Net(NETS[name]), {}

    @tf.function(autograph=False)
    def step() -> list[tf.Tensor]:
        variables, gates = list(net.trainable.values()), {}
        forward = ForwardGraph(net(images()))
        schedule = HalvingPlanner()(forward, variables)
        found = [tf.convert_to_tensor(g) for g in backward.gradients(forward, variables, schedule, gates=gates)]
        squares = [tf.nn.l2_loss(gradient) for gradient in found]
        backward.spend_early(found, gates)
        order.update({id(square.op): gates[id(gradient)] for square, gradient in zip(squares, found, strict=True)})
        return squares

    step.get_concrete_function()
    graph = next(iter(order.values())).graph
    gates = sorted(order.values(), key=graph.get_operations().index)
    assert len(gates) > 3 and all(earlier in _ancestors(later) for earlier, later in itertools.pairwise(gates))
    assert all(square in {id(op) for op in _ancestors(gate)} for square, gate in order.items())
    kernels = [op for op in graph.get_operations() if op.type == 'Conv2DBackpropFilter' and 'backward' in op.name]
    assert all(gates[0] in _ancestors(kernel) for kernel in kernels[1:])


def test_a_gradient_that_is_passed_on_as_it_is_makes_no_circle():
    """Of y = x + w the gradient is that of both: what reads w's must not wait for what comes after x's."""
    x, w = (tf.Variable(np.full((2, 8, 8, 256), value, np.float32)) for value in (1.5, 2.5))

    @tf.function(autograph=False)
    def step() -> list[tf.Tensor]:
        gates: dict[int, tf.Operation] = {}
        forward = ForwardGraph(tf.reduce_sum(tf.square(tf.nn.relu(tf.square(x) + w))))
        schedule = HalvingPlanner()(forward, [x, w])
        found = [tf.convert_to_tensor(g) for g in backward.gradients(forward, [x, w], schedule, gates=gates)]
        doubled = [2 * gradient for gradient in found]
        backward.spend_early(found, gates)
        assert len(gates) == 2
        return doubled

    for doubled, want in zip(step(), (2 * 2 * 4.75 * 2 * 1.5, 2 * 2 * 4.75), strict=True):
        np.testing.assert_array_equal(doubled, np.full(x.shape, want, np.float32))


def test_a_variable_that_nothing_depends_on_has_no_gradient():
    used, unused = tf.Variable(2.0), tf.Variable(3.0)

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        forward = ForwardGraph(used * used)
        first, second = backward.gradients(forward, [used, unused])
        assert second is None and first is not None
        return first

    assert float(step()) == 4.0


def test_an_operation_without_a_gradient_is_named():
    weight = tf.Variable(np.ones((1, 4, 4, 1), np.float32))

    @tf.function(autograph=False)
    def step() -> None:
        total = tf.reduce_sum(tf.raw_ops.ResizeArea(images=weight, size=[2, 2]))
        backward.gradients(ForwardGraph(total), [weight])

    with pytest.raises(LookupError, match='ResizeArea'):
        step.get_concrete_function()
