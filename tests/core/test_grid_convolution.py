"""A convolution of enlarged grids without the enlarged grids, against resizing, concatenating and convolving."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from core import layers
from core.grid_convolution import convolve_enlarged_grids

_CHANNELS = (3, 2, 5)


def one_after_the_other(grids, kernels, size):
    enlarged = tf.concat([layers.resize_bilinear(grid, size) for grid in grids], axis=-1)
    return tf.nn.conv2d(enlarged, tf.concat(kernels, axis=2), 1, 'SAME')


def random_case(grid_sizes, rng, batch=2, depth=4):
    grids = [
        tf.constant(rng.normal(size=(batch, *s, c)), tf.float32) for s, c in zip(grid_sizes, _CHANNELS, strict=False)
    ]
    kernels = [tf.constant(rng.normal(size=(3, 3, c, depth)), tf.float32) for c in _CHANNELS[: len(grids)]]
    return grids, kernels


@pytest.mark.parametrize(
    ('size', 'grid_sizes'),
    [
        ((9, 7), [(1, 1), (2, 2), (6, 6)]),
        ((5, 12), [(5, 12), (1, 3)]),
        ((1, 6), [(1, 2)]),
        ((1, 1), [(1, 1), (1, 1)]),
        ((2, 2), [(2, 1)]),
    ],
)
def test_values_and_gradients_are_those_of_the_convolution_of_enlarged_grids(size, grid_sizes):
    rng = np.random.default_rng(5)
    grids, kernels = random_case(grid_sizes, rng)
    upstream = tf.constant(rng.normal(size=(2, *size, 4)), tf.float32)

    @tf.function(autograph=False)
    def both(grids, kernels):
        found = []
        for convolve in (convolve_enlarged_grids, one_after_the_other):
            with tf.GradientTape() as tape:
                tape.watch([*grids, *kernels])
                outputs = convolve(grids, kernels, size)
                total = tf.reduce_sum(outputs * upstream)
            found.append((outputs, *tape.gradient(total, [*grids, *kernels])))
        return found

    for ours, expected in zip(*both(grids, kernels), strict=True):
        np.testing.assert_allclose(ours, expected, atol=5e-5)


_sides = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=30, deadline=None)
@given(size=_sides, shares=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=3))
def test_any_size_and_any_grids_that_are_not_larger(size, shares):
    grid_sizes = [(min(n, size[0]), min(m, size[1])) for n, m in shares]
    grids, kernels = random_case(grid_sizes, np.random.default_rng(1), batch=1)
    ours = convolve_enlarged_grids(grids, kernels, size)
    np.testing.assert_allclose(ours, one_after_the_other(grids, kernels, size), atol=5e-5)


def test_far_less_work_than_the_convolution():
    from core.flops import operation_flops

    def flops_of(convolve):
        graph = tf.Graph()
        with graph.as_default():
            grids = [tf.zeros([1, n, n, 512]) for n in (1, 2, 3, 6)]
            convolve(grids, [tf.zeros([3, 3, 512, 512]) for _ in grids], (90, 90))
        return sum(operation_flops(op) for op in graph.get_operations())

    assert flops_of(convolve_enlarged_grids) < flops_of(one_after_the_other) / 100
