"""Each pass against the graph that it replaces; whole numbers where the two must agree to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from engine.timing import operation_counts
from exporters.optimise import batch_norm, cleaning, commuting, convolutions, pixels, pyramid, resizing, rewriting
from tests.exporters.optimise import graphs


def _rewritten(function, shape, *rules, dtype=tf.float32):
    graph_def = graphs.build(function, shape, dtype)
    rewritten = graph_def
    for rule in rules:
        rewritten = rewriting.rewrite(rewritten, [graphs.OUTPUT], rule)
    return graph_def, rewritten


def _norm(x, op=tf.raw_ops.FusedBatchNormV3, **settings):
    channels = x.shape[-1]
    gamma, beta, mean = (graphs.noise(channels, seed=seed) for seed in range(3))
    variance = np.exp(graphs.noise(channels, seed=3))
    settings = {'is_training': False, 'epsilon': 1e-3} | settings
    return op(x=x, scale=gamma, offset=beta, mean=mean, variance=variance, **settings)[0]


NORMS = [tf.raw_ops.FusedBatchNorm, tf.raw_ops.FusedBatchNormV2, tf.raw_ops.FusedBatchNormV3]


@pytest.mark.parametrize('op', NORMS)
def test_batch_norm_goes_into_the_convolution(op):
    kernel = graphs.noise(3, 3, 4, 5)
    before, after = _rewritten(
        lambda x: tf.nn.relu(_norm(tf.nn.conv2d(x, kernel, [1, 2], 'SAME', dilations=1), op)),
        (2, 7, 9, 4),
        batch_norm.fold,
    )
    assert graphs.ops(after) == {'Placeholder', 'Const', 'Conv2D', 'BiasAdd', 'Relu', 'Identity'}
    values = graphs.noise(2, 7, 9, 4, seed=9)
    np.testing.assert_allclose(graphs.run(after, values), graphs.run(before, values), rtol=1e-4, atol=1e-5)


def test_batch_norm_goes_into_dilated_and_depthwise_convolutions():
    depthwise, kernel = graphs.noise(3, 3, 4, 2), graphs.noise(3, 3, 8, 5, seed=1)

    def function(x):
        x = _norm(tf.nn.depthwise_conv2d(x, depthwise, [1, 1, 1, 1], 'SAME'))
        return _norm(tf.nn.conv2d(x, kernel, 1, 'SAME', dilations=2))

    before, after = _rewritten(function, (1, 7, 9, 4), batch_norm.fold)
    assert 'Mul' not in graphs.ops(after) and 'FusedBatchNormV3' not in graphs.ops(after)
    values = graphs.noise(1, 7, 9, 4, seed=9)
    np.testing.assert_allclose(graphs.run(after, values), graphs.run(before, values), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('reason', ['no convolution', 'read twice', 'bias between'])
def test_batch_norm_with_nothing_to_go_into_is_arithmetic(reason):
    kernel = graphs.noise(1, 1, 4, 4)

    def function(x):
        if reason == 'no convolution':
            return _norm(tf.nn.relu(x))
        y = tf.nn.conv2d(x, kernel, 1, 'SAME')
        return _norm(y) + y if reason == 'read twice' else _norm(tf.nn.relu6(y))

    before, after = _rewritten(function, (1, 3, 5, 4), batch_norm.fold)
    assert 'Mul' in graphs.ops(after)
    values = graphs.noise(1, 3, 5, 4, seed=9)
    np.testing.assert_allclose(graphs.run(after, values), graphs.run(before, values), rtol=1e-4, atol=1e-5)


def test_batch_norm_in_training_is_left_alone():
    def function(x):
        empty = np.zeros(0, np.float32)
        return tf.raw_ops.FusedBatchNormV3(
            x=x, scale=[1.0], offset=[0.0], mean=empty, variance=empty, is_training=True
        )[0]

    before, after = _rewritten(function, (1, 3, 5, 1), batch_norm.fold)
    assert graphs.ops(after) == graphs.ops(before)


@pytest.mark.parametrize('height, width, rate', [(7, 9, (2, 2)), (8, 11, (3, 3)), (5, 5, (4, 4)), (9, 7, (2, 3))])
def test_convolution_on_tiles_becomes_dilation(height, width, rate):
    kernel = graphs.integers(3, 3, 2, 3)

    def function(x):
        filled = [(-(size + 2 * r) % r) for size, r in zip((height, width), rate, strict=True)]
        paddings = [[r, r + more] for r, more in zip(rate, filled, strict=True)]
        tiles = tf.raw_ops.SpaceToBatchND(input=x, block_shape=rate, paddings=paddings)
        tiles = tf.nn.conv2d(tiles, kernel, 1, 'VALID')
        return tf.raw_ops.BatchToSpaceND(input=tiles, block_shape=rate, crops=[[0, more] for more in filled])

    before, after = _rewritten(function, (2, height, width, 2), convolutions.native_dilation)
    assert graphs.ops(after) == {'Placeholder', 'Const', 'Conv2D', 'Identity'}
    (node,) = (n for n in after.node if n.op == 'Conv2D')
    assert node.attr['padding'].s == b'SAME' and list(node.attr['dilations'].list.i) == [1, *rate, 1]
    values = graphs.integers(2, height, width, 2, seed=1)
    np.testing.assert_array_equal(graphs.run(after, values), graphs.run(before, values))


@pytest.mark.parametrize('height, width, padding', [(9, 13, b'SAME'), (8, 13, b'EXPLICIT')])
def test_padding_goes_into_the_convolution(height, width, padding):
    kernel = graphs.integers(7, 7, 3, 4)

    def function(x):
        return tf.nn.conv2d(tf.pad(x, [[0, 0], [3, 3], [3, 3], [0, 0]]), kernel, 2, 'VALID')

    before, after = _rewritten(function, (1, height, width, 3), convolutions.merge_padding)
    (node,) = (n for n in after.node if n.op == 'Conv2D')
    assert node.attr['padding'].s == padding and 'Pad' not in graphs.ops(after)
    values = graphs.integers(1, height, width, 3, seed=1)
    np.testing.assert_array_equal(graphs.run(after, values), graphs.run(before, values))


def test_padding_with_another_value_stays():
    def function(x):
        return tf.nn.conv2d(
            tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=1), np.ones((3, 3, 2, 2), 'f'), 1, 'VALID'
        )

    before, after = _rewritten(function, (1, 4, 5, 2), convolutions.merge_padding)
    values = graphs.integers(1, 4, 5, 2)
    np.testing.assert_array_equal(graphs.run(after, values), graphs.run(before, values))


@pytest.mark.parametrize(
    'size, expected', [((5, 9), 'MaxPool'), ((3, 5), 'MaxPool'), ((9, 17), None), ((4, 9), 'ResizeBilinear')]
)
def test_a_resize_to_every_nth_pixel_takes_those(size, expected):
    before, after = _rewritten(lambda x: resizing.resize(x, list(size)), (2, 9, 17, 3), resizing.halve_by_slicing)
    assert graphs.ops(after) & {'MaxPool', 'ResizeBilinear'} == ({expected} if expected else set())
    values = graphs.noise(2, 9, 17, 3)
    np.testing.assert_array_equal(graphs.run(after, values), graphs.run(before, values))


def test_arithmetic_on_pixels_waits_until_they_are_picked_and_is_a_convolution():
    def function(x):
        centred = (tf.cast(x, tf.float32) - tf.constant([123.68, 116.779, 103.939])) / 4.0
        return resizing.resize(centred, [5, 9])

    rules = (resizing.halve_by_slicing, pixels.as_convolution)
    before, after = _rewritten(function, (1, 9, 17, 3), *rules, dtype=tf.uint8)
    assert not graphs.ops(after) & {'Sub', 'RealDiv', 'ResizeBilinear', 'MaxPool'}
    values = np.random.default_rng(0).integers(0, 256, (1, 9, 17, 3), np.uint8)
    np.testing.assert_array_equal(graphs.run(after, values), graphs.run(before, values))


@pytest.mark.parametrize('size', [(33, 65), (40, 70)])
def test_enlarging_twice_is_enlarging_once(size):
    def function(x):
        return resizing.resize(resizing.resize(x, [9, 17]), list(size))

    before, after = _rewritten(function, (1, 5, 9, 2), resizing.merge_enlargements)
    assert sum(node.op == 'ResizeBilinear' for node in after.node) == 1
    values = graphs.noise(1, 5, 9, 2)
    np.testing.assert_allclose(graphs.run(after, values), graphs.run(before, values), atol=2e-6)


@pytest.mark.parametrize('first, second', [((8, 17), (33, 65)), ((9, 17), (8, 17))])
def test_other_resizes_are_not_merged(first, second):
    _, after = _rewritten(
        lambda x: resizing.resize(resizing.resize(x, list(first)), list(second)),
        (1, 5, 9, 2),
        resizing.merge_enlargements,
    )
    assert sum(node.op == 'ResizeBilinear' for node in after.node) == 2


@pytest.mark.parametrize('batch, height, width', [(1, 5, 9), (2, 3, 4), (1, 4, 3)])
def test_a_dilated_convolution_comes_before_the_enlargement(batch, height, width):
    kernel, bias = graphs.integers(3, 3, 2, 3), graphs.integers(3)

    def function(x):
        enlarged = resizing.resize(x, [2 * height - 1, 2 * width - 1])
        return tf.nn.bias_add(tf.nn.conv2d(enlarged, kernel, 1, 'SAME', dilations=2), bias)

    before, after = _rewritten(function, (batch, height, width, 2), commuting.convolve_first)
    assert 'TensorScatterUpdate' in graphs.ops(after)
    values = 4 * graphs.integers(batch, height, width, 2, seed=1)
    np.testing.assert_array_equal(graphs.run(after, values), graphs.run(before, values))


def test_a_pointwise_convolution_comes_before_the_enlargement():
    kernel, bias = graphs.integers(1, 1, 4, 3), graphs.integers(3)

    def function(x):
        return tf.nn.bias_add(tf.nn.conv2d(resizing.resize(x, [9, 25]), kernel, 1, 'SAME'), bias)

    before, after = _rewritten(function, (2, 5, 7, 4), commuting.convolve_first)
    order = [node.op for node in after.node if node.op in ('Conv2D', 'BiasAdd', 'ResizeBilinear')]
    assert order == ['Conv2D', 'BiasAdd', 'ResizeBilinear']
    values = 8 * graphs.integers(2, 5, 7, 4, seed=1)
    np.testing.assert_array_equal(graphs.run(after, values), graphs.run(before, values))


@pytest.mark.parametrize(
    'settings', [{'strides': 2}, {'dilations': 3}, {'padding': 'VALID', 'dilations': 2}], ids=lambda s: '-'.join(s)
)
def test_other_convolutions_stay_behind_the_enlargement(settings):
    kernel = graphs.integers(3, 3, 2, 3)

    def function(x):
        enlarged = resizing.resize(x, [9, 17])
        convolved = tf.nn.conv2d(enlarged, kernel, **({'strides': 1, 'padding': 'SAME'} | settings))
        return tf.nn.bias_add(convolved, np.zeros(3, np.float32))

    _, after = _rewritten(function, (1, 5, 9, 2), commuting.convolve_first)
    assert [n.op for n in after.node if n.op in ('Conv2D', 'ResizeBilinear')] == ['ResizeBilinear', 'Conv2D']


@pytest.mark.parametrize('stride', [1, 2])
def test_whole_means_leave_pixels_whole_and_the_answer_as_it_is(stride):
    mean = np.array([123.68, 116.78, 103.94], np.float32)
    kernel, bias = graphs.noise(3, 3, 3, 5), graphs.noise(5, seed=1)
    before, after = _rewritten(
        lambda x: tf.nn.bias_add(tf.nn.conv2d(tf.cast(x, tf.float32) - mean, kernel, stride, 'SAME'), bias),
        (1, 17, 19, 3),
        pixels.as_convolution,
        pixels.whole_means,
        dtype=tf.uint8,
    )
    images = np.random.default_rng(0).integers(0, 256, (1, 17, 19, 3), np.uint8)
    wanted, given = graphs.run(before, images), graphs.run(after, images)
    np.testing.assert_allclose(given[:, 1:-1, 1:-1], wanted[:, 1:-1, 1:-1], atol=1e-3)
    assert np.abs(given - wanted).max() < 0.5 * np.abs(kernel).sum((0, 1, 2)).max()  # at the border, half a level
    constants = [tf.make_ndarray(node.attr['value'].tensor) for node in after.node if node.op == 'Const']
    (shift,) = (value for value in constants if value.shape == (3,))
    np.testing.assert_array_equal(shift, [-124, -117, -104])


def test_whole_means_are_for_pixels_alone():
    def pick(x):
        return tf.nn.conv2d(x, np.eye(3, dtype=np.float32)[np.newaxis, np.newaxis], 1, 'SAME')

    before, after = _rewritten(
        lambda x: tf.nn.bias_add(pick(tf.nn.bias_add(pick(x), [0.3] * 3)), [0.0] * 3), (1, 5, 5, 3), pixels.whole_means
    )
    assert len(before.node) == len(after.node)


def _pyramid(x, *, sizes=(1, 2, 3), dilation=1, beside=1):
    """Features beside enlarged grids, convolved."""
    levels = [tf.nn.avg_pool2d(x, [9 // n, 10 // n], [9 // n, 10 // n], 'VALID') for n in sizes]
    enlarged = [resizing.resize(level, x.shape[1:3]) for level in levels]
    joined = tf.concat([x, *enlarged, *[tf.nn.relu(x)] * (beside - 1)], axis=-1)
    kernel = graphs.noise(3, 3, joined.shape[-1], 5, seed=4)
    return tf.nn.bias_add(tf.nn.conv2d(joined, kernel, 1, 'SAME', dilations=dilation), graphs.noise(5, seed=5))


@pytest.mark.parametrize('beside', [1, 2])
def test_a_pyramid_is_convolved_on_its_grids(beside):
    before, after = _rewritten(lambda x: tf.nn.relu6(_pyramid(x, beside=beside)), (2, 9, 10, 4), pyramid.on_grids)
    assert 'ResizeBilinear' not in graphs.ops(after)
    assert 'BatchMatMulV2' in graphs.ops(after)
    values = graphs.noise(2, 9, 10, 4, seed=9)
    np.testing.assert_allclose(graphs.run(after, values), graphs.run(before, values), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('settings', [{'sizes': (4, 5)}, {'dilation': 2}])
def test_levels_of_many_cells_and_dilated_convolutions_stay(settings):
    _, after = _rewritten(lambda x: _pyramid(x, **settings), (1, 9, 10, 4), pyramid.on_grids)
    assert {'ResizeBilinear', 'ConcatV2'} < graphs.ops(after) and 'BatchMatMulV2' not in graphs.ops(after)


def test_what_lies_beside_features_of_unknown_channels_stays():
    """As behind a padding that depends on the size of the image, in a graph for images of any size."""

    def function(x):
        amounts = tf.concat([[0, 0, 0], tf.shape(x)[1:2] % 2, [0, 0, 0, 0]], 0)
        features = tf.pad(x, tf.reshape(amounts, [4, 2]))
        joined = tf.concat([features, tf.nn.relu(features)], axis=-1)
        return tf.nn.bias_add(tf.nn.conv2d(joined, graphs.noise(3, 3, 8, 5), 1, 'SAME'), graphs.noise(5))

    before, after = _rewritten(function, (1, None, None, 4), cleaning.remove_identities, pyramid.on_grids)
    values = graphs.noise(1, 5, 6, 4, seed=9)
    np.testing.assert_array_equal(graphs.run(after, values), graphs.run(before, values))


def test_the_kernels_on_grids_are_counted_as_parameters_and_the_places_of_grids_are_not():
    before, after = _rewritten(_pyramid, (2, 9, 10, 4), pyramid.on_grids)
    after = cleaning.fold_constants(after, [graphs.OUTPUT])
    counted = []
    for graph_def in (before, after):
        with tf.Graph().as_default() as graph:
            tf.graph_util.import_graph_def(graph_def, name='')
        counted.append(operation_counts.of_graph(graph))
    assert counted[0]['million_parameters'] == counted[1]['million_parameters'] == 3 * 3 * 16 * 5 / 1e6
    assert counted[1]['gflops'] < counted[0]['gflops']
