"""Scores of filters against sums written out, and what is made of them where layers share channels."""

from __future__ import annotations

import numpy as np
import pytest

from compression import criteria
from compression.channels import Axis, ChannelEdges, ChannelGraph, Convolution
from core.errors import UserError

A, B, NORM = Axis('a/weights', 3), Axis('b/weights', 3), Axis('a/BatchNorm/gamma', 0)


def graph_of_two() -> ChannelGraph:
    """Layers a and b whose 3 outputs are added, and the batch norm of a."""
    edges = ChannelEdges()
    ids = edges.of(A, 3)
    edges.join(ids, edges.of(B, 3))
    edges.join(ids, edges.of(NORM, 3))
    edges.keep(edges.fresh(1))
    shapes = {'a/weights': (1, 1, 2, 3), 'b/weights': (1, 1, 2, 3), 'a/BatchNorm/gamma': (3,)}
    layers = [Convolution(kernel=x.variable, outputs=x, depthwise=False, positions=1, area=1) for x in (A, B)]
    return edges.finish(shapes, layers)


FILTERS = np.random.default_rng(0).normal(size=(5, 12))


def test_norms_and_distances_by_the_definition():
    assert criteria.l1(FILTERS) == pytest.approx([sum(abs(w) for w in f) for f in FILTERS])
    assert criteria.l2(FILTERS) == pytest.approx([sum(w * w for w in f) ** 0.5 for f in FILTERS])
    distances = [sum(float(np.linalg.norm(f - g)) for g in FILTERS) for f in FILTERS]
    assert criteria.geometric_median(FILTERS) == pytest.approx(distances)


def test_filters_of_a_depthwise_kernel_are_its_inputs():
    edges = ChannelEdges()
    axis = Axis('d/depthwise_weights', 2)
    edges.of(axis, 2)
    edges.keep(edges.fresh(1))
    layer = Convolution(kernel=axis.variable, outputs=axis, depthwise=True, positions=1, area=9)
    graph = edges.finish({axis.variable: (3, 3, 2, 1)}, [layer])
    kernel = np.random.default_rng(1).normal(size=(3, 3, 2, 1))
    (scores,) = criteria.score(graph, {axis.variable: kernel}, 'l1').values()
    assert scores == pytest.approx(np.abs(kernel).sum((0, 1, 3)))


def test_shared_channels_take_the_first_layer_the_mean_or_the_maximum():
    graph = graph_of_two()
    scores = {A: np.array([1.0, 2.0, 3.0]), B: np.array([60.0, 20.0, 10.0])}
    (first,) = criteria.aggregate(graph, scores, 'shortcut', criterion='l1')
    (mean,) = criteria.aggregate(graph, scores, 'mean', criterion='l1')
    (largest,) = criteria.aggregate(graph, scores, 'max', criterion='l1')
    assert first == pytest.approx([1, 2, 3])
    assert mean == pytest.approx([(0.5 + 2) / 2, (1 + 2 / 3) / 2, (1.5 + 1 / 3) / 2])
    assert largest == pytest.approx([2, 1, 1.5])


def test_batch_norm_scale_is_the_size_of_gamma_and_needs_one():
    graph = graph_of_two()
    values = {'a/BatchNorm/gamma': np.array([-3.0, 1.0, 2.0])}
    scores = criteria.score(graph, values, 'batch_norm_scale')
    assert criteria.aggregate(graph, scores, 'shortcut', criterion='batch_norm_scale')[0] == pytest.approx([3, 1, 2])
    with pytest.raises(UserError, match="batch_norm_scale says nothing of layer 'a', which has no batch-norm scale"):
        criteria.aggregate(graph, {}, 'mean', criterion='batch_norm_scale')


def test_random_depends_on_seed_and_layer_alone():
    graph = graph_of_two()
    first, again, other = (criteria.score(graph, {}, 'random', seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first[A], again[A]) and not np.array_equal(first[A], other[A])
    assert not np.array_equal(first[A], first[B])
