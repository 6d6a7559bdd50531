"""Batch norm's averages on several replicas: the mean over them of what each would have had alone, exchanged once."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from engine import devices, shared_averages
from recompute.plan import Mode, Request
from tests import forked
from tests.engine import test_not_finite


def averages(strategy, given):
    """{name: its values on each device} of the moving averages after one step."""
    step, state = test_not_finite.make_step(strategy, request=Request(mode=Mode.NONE))
    for name, variable in state.variables.items():
        if not name.split('/')[-1].startswith(('moving', 'beta', 'gamma')):
            variable.assign(np.random.default_rng(len(name)).normal(0, 0.3, variable.shape))
    step(given)
    local = strategy.experimental_local_results
    return {n: [copy.numpy() for copy in local(v)] for n, v in state.variables.items() if 'moving' in n}


def compare():
    """In a process of its own, whose CPU is made two devices."""
    two = devices.make_strategy(num_clones=2, clone_on_cpu=True)
    one = tf.distribute.OneDeviceStrategy('/cpu:0')
    (batch,) = test_not_finite.batches(1)
    halves = [{name: value[i : i + 1] for name, value in batch.items()} for i in range(2)]
    moved = []
    original = shared_averages._move
    shared_averages._move = lambda moves: (moved.append(len(moves)), original(moves))[1]
    alone = [averages(one, half) for half in halves]
    assert moved == []
    together = averages(two, test_not_finite.split(two, batch))
    assert moved == [12, 12], moved
    assert len(together) == 12
    for name, copies in together.items():
        expected = (alone[0][name][0] + alone[1][name][0]) / 2
        assert np.abs(alone[0][name][0] - alone[1][name][0]).max() > 1e-6, name
        np.testing.assert_allclose(copies[0], expected, rtol=1e-5, atol=1e-7, err_msg=name)
        np.testing.assert_array_equal(copies[0], copies[1], err_msg=name)
    print('averages are means')


def test_averages_are_means_over_replicas():
    assert 'averages are means' in forked.run(compare)
