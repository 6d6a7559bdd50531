"""Leaf layers against numpy, with fixed and with free sizes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from core import layers
from third_party import slim


def _features(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(2, height, width, 3)).astype(np.float32)


def _pool_in_numpy(features: np.ndarray, factor: float) -> np.ndarray:
    _, height, width, _ = features.shape
    cell_h, cell_w = max(1, int(height / factor)), max(1, int(width / factor))
    rows = [
        [features[:, y : y + cell_h, x : x + cell_w].mean((1, 2)) for x in range(0, width - cell_w + 1, cell_w)]
        for y in range(0, height - cell_h + 1, cell_h)
    ]
    return np.stack([np.stack(row, 1) for row in rows], 1)


@pytest.mark.parametrize('size', [(7, 12), (13, 9), (2, 3)])
@pytest.mark.parametrize('factor', [1, 2, 3, 6])
def test_average_pool_grid_equals_numpy_with_fixed_and_free_size(size, factor):
    features = _features(*size)
    want = _pool_in_numpy(features, factor)
    np.testing.assert_allclose(layers.average_pool_grid(tf.constant(features), factor), want, atol=1e-6)
    free = tf.function(
        lambda x: layers.average_pool_grid(x, factor),
        autograph=False,
        input_signature=[tf.TensorSpec([None, None, None, 3])],
    )
    np.testing.assert_allclose(free(features), want, atol=1e-6)


@pytest.mark.parametrize(('size', 'half', 'double'), [((65, 33), (33, 17), (129, 65)), ((6, 9), (3, 5), (11, 17))])
def test_halve_and_enlarge_sizes(size, half, double):
    features = tf.constant(_features(*size))
    assert tuple(layers.halve(features).shape[1:3]) == half
    assert tuple(layers.enlarge(features, 2).shape[1:3]) == double


def test_enlarge_keeps_the_corners_and_the_original_pixels():
    features = _features(5, 4)
    enlarged = layers.enlarge(tf.constant(features), 2).numpy()
    np.testing.assert_allclose(enlarged[:, ::2, ::2], features, atol=1e-6)
    np.testing.assert_allclose(enlarged[:, 1::2, ::2], (features[:, 1:] + features[:, :-1]) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ('width', 'scale', 'want'), [(64, 1.0, 64), (64, 0.5, 32), (512, 0.25, 128), (64, 0.1, 6), (4, 0.1, 1)]
)
def test_scaled_width(width, scale, want):
    assert layers.scaled_width(width, scale) == want


def test_add_all_sums_from_left_to_right():
    """AddN's order depends on whose memory is free; and mobile runtimes lack it."""
    arrays = [_features(3, 4) * k for k in (1.0, 1e-3, 3.0, -1.0)]
    compiled = tf.function(lambda *t: layers.add_all(t)).get_concrete_function(*map(tf.constant, arrays))
    assert 'AddN' not in {op.type for op in compiled.graph.get_operations()}
    want = ((arrays[0] + arrays[1]) + arrays[2]) + arrays[3]
    np.testing.assert_array_equal(compiled(*map(tf.constant, arrays)), want)


def test_resized_labels_bring_no_new_ids():
    labels = tf.constant(np.random.default_rng(0).choice([0, 2, 255], (1, 17, 23)).astype(np.int32))
    resized = layers.resize_labels(labels, (5, 9)).numpy()
    assert resized.shape == (1, 5, 9) and set(np.unique(resized)) <= {0, 2, 255}
    assert resized[0, 0, 0] == labels[0, 0, 0] and resized[0, -1, -1] == labels[0, -1, -1]


@pytest.mark.parametrize(('size', 'rate'), [(2, 2), (3, 2), (2, 4), (3, 1)])
def test_dilated_max_pool_equals_numpy(size: int, rate: int):
    features = np.abs(_features(9, 11))
    before = (size - 1) // 2 * rate
    after = (size - 1) * rate - before
    padded = np.pad(features, [(0, 0), (before, after), (before, after), (0, 0)])
    windows = [
        padded[:, y : y + 9, x : x + 11] for y in range(0, size * rate, rate) for x in range(0, size * rate, rate)
    ]
    want = np.max(windows, axis=0)
    np.testing.assert_array_equal(layers.max_pool(tf.constant(features), size, stride=1, rate=rate), want)
    free = tf.function(
        lambda x: layers.max_pool(x, size, stride=1, rate=rate),
        autograph=False,
        input_signature=[tf.TensorSpec([None, None, None, 3])],
    )
    np.testing.assert_array_equal(free(features), want)


def test_max_pool_cannot_stride_and_dilate():
    with pytest.raises(ValueError, match='dilated pooling has stride 1'):
        layers.max_pool(tf.zeros([1, 4, 4, 1]), 2, stride=2, rate=2)


@pytest.mark.parametrize(('channels', 'groups', 'used'), [(8, 4, 4), (6, 4, 2), (8, 1, 1), (3, 32, 1)])
def test_group_norm_equals_numpy(channels: int, groups: int, used: int):
    features = np.random.default_rng(4).normal(2, 3, size=(2, 5, 7, channels)).astype(np.float32)
    grouped = features.reshape(2, 5, 7, used, channels // used)
    mean, variance = grouped.mean((1, 2, 4), keepdims=True), grouped.var((1, 2, 4), keepdims=True)
    want = ((grouped - mean) / np.sqrt(variance + 1e-3)).reshape(features.shape)
    store = slim.VariableStore()
    with store.scope():
        got = layers.group_norm(tf.constant(features), groups=groups, epsilon=1e-3)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
        store._vars['GroupNorm/gamma'].assign(tf.fill([channels], 2.0))
        store._vars['GroupNorm/beta'].assign(tf.fill([channels], 1.0))
        active = layers.group_norm(tf.constant(features), groups=groups, epsilon=1e-3, activation_fn=tf.nn.relu)
    np.testing.assert_allclose(active, np.maximum(2 * want + 1, 0), rtol=1e-4, atol=1e-3)


def test_group_norm_needs_a_group():
    with pytest.raises(ValueError, match='groups must be 1 or more'):
        layers.GroupNorm(groups=0)
