"""Class ids by cells against resizing and argmax, on logits of every kind."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from exporters.optimise import labels, resizing, rewriting
from tests.exporters.optimise import graphs


def _plain(factors, crop=None):
    def function(x):
        height, width = ((n - 1) * factor + 1 for n, factor in zip(x.shape[1:3], factors, strict=True))
        enlarged = resizing.resize(x, [height, width])
        if crop is not None:
            enlarged = enlarged[:, : crop[0], : crop[1]]
        return tf.cast(tf.argmax(enlarged, -1, tf.int32), tf.uint8)

    return function


@pytest.fixture(params=['chunks', 'at once'])
def both(request):
    """(graph of resize and argmax, the rewritten one) for a shape and factors."""

    def build(shape, factors, crop=None):
        graph_def = graphs.build(_plain(factors, crop), shape)
        rule = labels.by_cells if request.param == 'chunks' else labels.by_cells_portable
        rewritten = rewriting.rewrite(graph_def, [graphs.OUTPUT], rule)
        loops = graphs.ops(rewritten) & {'While', 'StatelessWhile', 'Bitcast'}
        assert 'Where' in graphs.ops(rewritten) and bool(loops) == (request.param == 'chunks')
        return graph_def, rewritten

    return build


@pytest.mark.parametrize(
    'shape, factors',
    [
        ((1, 5, 9, 4), (8, 8)),
        ((2, 4, 3, 19), (8, 8)),
        ((3, 4, 7, 5), (4, 4)),
        ((1, 3, 4, 2), (4, 2)),
        ((1, 2, 2, 3), (16, 4)),
    ],
)
def test_whole_numbers_have_the_same_ids_ties_included(both, shape, factors):
    before, after = both(shape, factors)
    for seed in range(6):
        largest = (1, 2, 2, 40, 40, 1000)[seed]  # few values: ties at samples and between them
        logits = graphs.integers(*shape, seed=seed, largest=largest)
        np.testing.assert_array_equal(graphs.run(after, logits), graphs.run(before, logits))


@pytest.mark.parametrize('factors', [(8, 8), (3, 5)])
def test_noise_smooth_maps_and_flat_ones_have_the_same_ids(both, factors):
    shape = (1, 9, 17, 7)
    before, after = both(shape, factors)
    coarse = tf.image.resize(graphs.noise(1, 3, 5, 7), shape[1:3], 'bicubic').numpy()
    for logits in (graphs.noise(*shape), coarse, 1e-6 * coarse, np.zeros(shape, np.float32), 1e30 * coarse):
        np.testing.assert_array_equal(graphs.run(after, logits), graphs.run(before, logits))


def test_an_id_that_is_largest_only_between_the_samples_is_found(both):
    logits = np.zeros((1, 2, 2, 3), np.float32)
    logits[..., 0] = [[10, -10], [-10, 10]]
    logits[..., 1] = -logits[..., 0]
    logits[..., 2] = 9
    before, after = both(logits.shape, (8, 8))
    ids = graphs.run(after, logits)
    np.testing.assert_array_equal(ids, graphs.run(before, logits))
    assert ids[0, 4, 4] == 2 and 2 not in ids[0, ::8, ::8]


def test_nearly_equal_logits_differ_at_most_where_rounding_decides(both):
    shape = (1, 9, 9, 5)
    before, after = both(shape, (8, 8))
    for seed in range(4):
        logits = 100 + 1e-5 * graphs.noise(*shape, seed=seed)
        differ = graphs.run(after, logits) != graphs.run(before, logits)
        exact = _float64(logits, 8)
        two = np.sort(exact, -1)[..., -2:]
        assert (two[differ][:, 1] - two[differ][:, 0] < 2e-5).all()


def _float64(logits, factor):
    height, width = logits.shape[1:3]
    y, x = (np.arange((n - 1) * factor + 1) / factor for n in (height, width))
    top, left = (np.minimum(v.astype(int), n - 2) for v, n in ((y, height), (x, width)))
    v, u = (y - top)[:, None, None], (x - left)[None, :, None]
    image = logits[0].astype(np.float64)
    corner = [[image[top + i][:, left + j] for j in (0, 1)] for i in (0, 1)]
    upper, lower = (a + (b - a) * u for a, b in corner)
    return (upper + (lower - upper) * v)[None]


def test_more_cells_than_one_chunk(both, monkeypatch):
    monkeypatch.setattr(labels, '_LARGEST_CHUNK', 2 * 81 * 4)
    before, after = both((1, 5, 6, 4), (8, 8))
    logits = graphs.noise(1, 5, 6, 4)
    np.testing.assert_array_equal(graphs.run(after, logits), graphs.run(before, logits))


def test_a_crop_is_taken_from_the_ids(both):
    before, after = both((1, 5, 9, 4), (8, 8), crop=(32, 61))
    logits = graphs.noise(1, 5, 9, 4)
    np.testing.assert_array_equal(graphs.run(after, logits), graphs.run(before, logits))
    assert graphs.run(after, logits).shape == (1, 32, 61)


def test_no_tensor_has_the_size_of_the_image_and_the_depth_of_the_logits(both):
    _, after = both((1, 5, 9, 4), (8, 8))
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(after, name='')
        sizes = [t.shape.num_elements() or 0 for op in graph.get_operations() for t in op.outputs]
    assert max(sizes) < 33 * 65 * 4


@pytest.mark.parametrize('size', [(30, 65), (5, 9)])
def test_other_sizes_are_left_to_tiles(size):
    graph_def = graphs.build(
        lambda x: tf.cast(tf.argmax(resizing.resize(x, list(size)), -1, tf.int32), tf.uint8), (1, 5, 9, 4)
    )
    rewritten = rewriting.rewrite(graph_def, [graphs.OUTPUT], labels.by_cells)
    assert 'ArgMax' in graphs.ops(rewritten) and 'Where' not in graphs.ops(rewritten)
