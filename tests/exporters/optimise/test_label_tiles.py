"""Class ids by tiles against float64 interpolation, and against resizing and argmax, at factors that are not whole."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from exporters.optimise import label_tiles, labels, resizing, rewriting
from tests.exporters.optimise import graphs


def _plain(size, crop=None):
    def function(x):
        enlarged = resizing.resize(x, list(size))
        if crop is not None:
            enlarged = enlarged[:, : crop[0], : crop[1]]
        return tf.cast(tf.argmax(enlarged, -1, tf.int32), tf.uint8)

    return function


@pytest.fixture(params=['tiles', 'the whole image'])
def both(request, monkeypatch):
    """`_both`, tiles or the whole image interpolated however many tiles are mixed."""
    monkeypatch.setattr(label_tiles, '_MOST_MIXED', 1.0 if request.param == 'tiles' else -1.0)
    return _both


def _both(shape, size, crop=None):
    """(graph of resize and argmax, the rewritten one) for a shape of logits and a size of the image."""
    graph_def = graphs.build(_plain(size, crop), shape)
    rewritten = rewriting.rewrite(graph_def, [graphs.OUTPUT], label_tiles.by_cells_or_tiles)
    assert 'Where' in graphs.ops(rewritten) and graphs.ops(rewritten) & {'If', 'StatelessIf'}
    return graph_def, rewritten


def _enlarged(logits, size):
    """In float64, corners aligned, by the definition."""

    def matrix(given, made):
        places = np.arange(made) * (given - 1) / (made - 1)
        return np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(given)))

    rows, columns = (matrix(*pair) for pair in zip(logits.shape[1:3], size, strict=True))
    return np.einsum('ph,qw,nhwc->npqc', rows, columns, logits.astype(np.float64))


@pytest.mark.parametrize(
    'shape, size',
    [
        ((1, 5, 9, 4), (16, 24)),  # whole tiles
        ((2, 6, 7, 5), (29, 43)),  # tiles beyond the image, two images
        ((1, 9, 17, 7), (33, 53)),  # 4 and 52 / 16
        ((3, 4, 2, 2), (30, 6)),  # fewer columns than a tile has
        ((1, 12, 5, 19), (25, 11)),  # hardly more than twice
    ],
)
def test_ids_are_those_of_the_exact_interpolation(both, shape, size):
    before, after = both(shape, size)
    coarse = tf.image.resize(graphs.noise(shape[0], 3, 3, shape[3]), shape[1:3], 'bicubic').numpy()
    blocks = np.repeat(np.repeat(graphs.integers(*shape, seed=2, largest=3), 2, 1), 2, 2)[:, : shape[1], : shape[2]]
    for logits in (graphs.noise(*shape), coarse, 1e-6 * coarse, 1e30 * coarse, 1.0 * blocks):
        logits = logits.astype(np.float32)
        exact = _enlarged(logits, size)
        two = np.sort(exact, -1)[..., -2:]
        clear = two[..., 1] - two[..., 0] > 1e-4 * np.abs(logits).max()
        ids = graphs.run(after, logits)
        assert ids.shape == (shape[0], *size) and ids.dtype == np.uint8 and clear.mean() > 0.2
        np.testing.assert_array_equal(ids[clear], exact.argmax(-1)[clear])
        np.testing.assert_array_equal(ids[clear], graphs.run(before, logits)[clear])


def test_equal_logits_are_the_first_class(both):
    _, after = both((1, 5, 9, 4), (17, 30))
    assert not graphs.run(after, np.zeros((1, 5, 9, 4), np.float32)).any()


def test_an_id_that_is_largest_only_between_the_samples_is_found(both):
    logits = np.zeros((1, 3, 2, 3), np.float32)
    logits[..., 0] = [[10, -10], [-10, 10], [-10, 10]]
    logits[..., 1] = -logits[..., 0]
    logits[..., 2] = 9
    _, after = both(logits.shape, (12, 12))
    ids = graphs.run(after, logits)
    np.testing.assert_array_equal(ids, _enlarged(logits, (12, 12)).argmax(-1))
    assert ids[0, 3, 5] == 2 and 2 not in ids[0, ::11, ::11]


def test_the_whole_image_is_interpolated_where_most_tiles_are_mixed(monkeypatch):
    marked = label_tiles._interpolated_ids

    def ids_of_tiles(*args):
        return tf.zeros_like(marked(*args)) + 255

    monkeypatch.setattr(label_tiles, '_interpolated_ids', ids_of_tiles)
    before, after = _both((1, 17, 17, 3), (73, 73))
    noise, split = graphs.noise(1, 17, 17, 3), np.zeros((1, 17, 17, 3), np.float32)
    split[:, :, 4:, 1] = 1
    np.testing.assert_array_equal(graphs.run(after, noise), graphs.run(before, noise))
    ids = graphs.run(after, split)
    border = np.flatnonzero((ids == 255).any((0, 1)))
    assert (border == np.arange(8, 24)).all() and (ids[..., :8] == 0).all() and (ids[..., 24:] == 1).all()


def test_more_tiles_than_one_chunk(monkeypatch):
    monkeypatch.setattr(labels, '_LARGEST_CHUNK', 2 * 64 * 4)
    monkeypatch.setattr(label_tiles, '_MOST_MIXED', 1.0)
    before, after = _both((1, 5, 6, 4), (33, 47))
    logits = graphs.noise(1, 5, 6, 4)
    np.testing.assert_array_equal(graphs.run(after, logits), graphs.run(before, logits))


def test_a_crop_is_taken_from_the_ids(both):
    before, after = both((1, 5, 9, 4), (34, 60), crop=(32, 51))
    logits = graphs.noise(1, 5, 9, 4)
    np.testing.assert_array_equal(graphs.run(after, logits), graphs.run(before, logits))
    assert graphs.run(after, logits).shape == (1, 32, 51)


@pytest.mark.parametrize('size', [(9, 66), (30, 17), (5, 9), (3, 4)])
def test_less_than_twice_stays_as_it_is(size):
    rewritten = rewriting.rewrite(
        graphs.build(_plain(size), (1, 5, 9, 4)), [graphs.OUTPUT], label_tiles.by_cells_or_tiles
    )
    assert {'ArgMax', 'ResizeBilinear'} <= graphs.ops(rewritten) and 'Where' not in graphs.ops(rewritten)


def test_whole_factors_are_left_to_cells(monkeypatch):
    monkeypatch.setattr(label_tiles, 'class_ids', None)
    rewritten = rewriting.rewrite(
        graphs.build(_plain((33, 65)), (1, 5, 9, 4)), [graphs.OUTPUT], label_tiles.by_cells_or_tiles
    )
    assert 'Where' in graphs.ops(rewritten)
