"""The options of segments, and what may be left out of them."""

from __future__ import annotations

import pytest
import tensorflow as tf

from recompute import choose, planner
from recompute.activations import Activations
from recompute.forward import ForwardGraph
from recompute.needed import trace_backward
from recompute.segments import SegmentOptions
from recompute.treatment import KEEP_ALL
from tests.recompute.nets import NETS, Net, images


@pytest.fixture(scope='module', params=['residual', 'pyramid', 'three_consumers'])
def options(request) -> SegmentOptions:
    net = Net(NETS[request.param])
    found = []

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        forward = ForwardGraph(net(images()))
        found.append(SegmentOptions(Activations(forward, trace_backward(forward, list(net.trainable.values())))))
        return forward.objective

    step.get_concrete_function()
    return found[0]


def test_all_kept_costs_nothing(options: SegmentOptions):
    whole = options.option(0, options.length, KEEP_ALL)
    assert whole.cost == 0
    assert planner.least_peak(options.all(), options.length, most_cost=0).cost == 0


def test_a_bound_leaves_out_nothing_of_use(options: SegmentOptions):
    everything = options.all()
    budget = int(1.05 * planner.least_peak(everything, options.length).peak)  # the planner's grid rounds up
    bounded = options.all(at_most=budget)
    assert sum(map(len, bounded.values())) < sum(map(len, everything.values()))
    again = planner.least_cost(bounded, options.length, budget)
    want = planner.least_cost(everything, options.length, budget)
    assert again is not None and want is not None and again.cost == want.cost


def test_memory_mode_is_close_to_the_least_for_less_work(options: SegmentOptions):
    total = options.activations.total_work
    found = choose.near_the_least(options)
    least = planner.least_peak(options.all(), options.length, most_cost=0.94 * total)
    assert found.peak <= 1.05 * least.peak and found.cost <= least.cost <= 0.94 * total


def test_fewer_positions_make_a_plan_too(options: SegmentOptions):
    coarse = options.all(positions=[*range(0, options.length, 3), options.length])
    assert {position for pair in coarse for position in pair} == {*range(0, options.length, 3), options.length}
    assert (
        planner.least_peak(coarse, options.length).peak >= planner.least_peak(options.all(), options.length).peak * 0.99
    )
