"""Which convolutions run in bfloat16: the error of each by itself, and the choice."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from exporters import optimise
from exporters.optimise import mixed, precision, rewriting, sensitivity
from tests.exporters.optimise import graphs

_SIZE = (1, 9, 13, 3)
_KERNELS = (graphs.noise(3, 3, 3, 8, seed=1), graphs.noise(1, 1, 8, 4, seed=2))
_BIAS = graphs.noise(8, seed=3) * 20


def _rounded(values):
    return tf.cast(tf.cast(values, tf.bfloat16), tf.float32)


def _scores(images, rounded=()):
    """A convolution with bias, and a classifier; those in `rounded` in bfloat16, in arithmetic of float32."""
    net = tf.cast(images, tf.float32) - 120.3
    for number, (kernel, bias) in enumerate(zip(_KERNELS, (_BIAS, None), strict=True)):
        kernel = tf.constant(kernel)
        if number in rounded:
            net, kernel, bias = _rounded(net), _rounded(kernel), None if bias is None else _rounded(bias)
        net = tf.nn.conv2d(net, kernel, 1, 'SAME')
        net = net if bias is None else tf.nn.bias_add(net, bias)
        net = _rounded(net) if number in rounded else net
        net = tf.nn.relu(net) if number == 0 else net
    return net


def _labelled(images):
    enlarged = tf.raw_ops.ResizeBilinear(images=_scores(images), size=[17, 25], align_corners=True)
    return tf.cast(tf.argmax(enlarged, -1, tf.int32), tf.uint8)


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(0).integers(0, 256, _SIZE, np.uint8)


@pytest.fixture(scope='module')
def graph_def():
    return graphs.build(_labelled, _SIZE, tf.uint8)


def test_the_error_of_a_layer_is_that_of_rounding_it_alone(graph_def, images):
    layers = sensitivity.measure(graph_def, [images])
    assert [layer.flops for layer in layers] == [2 * 9 * 13 * 8 * 27, 2 * 9 * 13 * 4 * 8]
    exact = _scores(images).numpy().reshape(-1, 4)
    order = exact.argsort(-1)
    first, second = order[:, -1:], order[:, -2:-1]

    def lead(scores):
        return (np.take_along_axis(scores, first, 1) - np.take_along_axis(scores, second, 1))[:, 0]

    closest = lead(exact).argsort()[: int(0.1 * len(exact))]
    for number, layer in enumerate(layers):
        change = lead(_scores(images, (number,)).numpy().reshape(-1, 4)) - lead(exact)
        np.testing.assert_allclose(layer.error, np.square(change[closest]).mean(), rtol=1e-3)
        assert layer.error > 0


def test_what_rounds_nothing_has_no_error(images):
    kernel = graphs.integers(3, 3, 3, 4)
    graph_def = graphs.build(
        lambda x: tf.argmax(tf.nn.conv2d(tf.cast(x // 64, tf.float32), kernel, 1, 'SAME'), -1), _SIZE, tf.uint8
    )
    (layer,) = sensitivity.measure(graph_def, [images, images[:, ::-1]])
    assert (layer.error, layer.flops) == (0, 2 * 2 * 9 * 13 * 4 * 27)


def test_only_chosen_convolutions_and_what_follows_them_are_narrow(graph_def, images):
    names = [layer.name for layer in sensitivity.measure(graph_def, [images])]
    for chosen, narrow in (((), set()), (names[:1], {'Conv2D', 'BiasAdd', 'Relu'}), (names[1:], {'Conv2D'})):
        made = precision.bfloat16(graph_def, [graphs.OUTPUT], chosen)
        found = {n.op for n in made.node if n.op != 'Cast' and n.attr['T'].type == tf.bfloat16.as_datatype_enum}
        assert found == narrow


def test_a_sum_with_what_is_float32_stays_float32():
    kernel = graphs.noise(1, 1, 3, 3)
    graph_def = graphs.build(lambda x: tf.nn.conv2d(x, kernel, 1, 'SAME') + tf.nn.conv2d(x, kernel, 1, 'SAME'), _SIZE)
    first, second = (n.name for n in rewriting.in_order(graph_def, [graphs.OUTPUT]) if n.op == 'Conv2D')
    for chosen, wanted in (([first], tf.float32), ([first, second], tf.bfloat16)):
        made = precision.bfloat16(graph_def, [graphs.OUTPUT], chosen)
        (added,) = (node for node in made.node if node.op == 'AddV2')
        assert added.attr['T'].type == wanted.as_datatype_enum


def test_the_choice_keeps_the_class_ids_and_takes_what_it_can():
    """Two branches are added: one decides by parts in a thousand, the other by large whole numbers."""
    fine, coarse = graphs.noise(3, 3, 3, 4, seed=4) * 1e-3 + 1, np.ones((3, 3, 3, 4), np.float32)

    def function(x):
        x = tf.cast(x, tf.float32)
        return tf.argmax(tf.nn.conv2d(x, fine, 1, 'SAME') + tf.nn.conv2d(tf.round(x / 32), coarse, 1, 'SAME'), -1)

    images = np.random.default_rng(1).integers(0, 256, (1, 33, 41, 3), np.uint8)
    graph_def = graphs.build(function, (1, 33, 41, 3), tf.uint8)
    names = [n.name for n in rewriting.in_order(graph_def, [graphs.OUTPUT]) if n.op == 'Conv2D']
    expected = graphs.run(graph_def, images)
    everywhere = graphs.run(precision.bfloat16(graph_def, [graphs.OUTPUT], names), images)
    assert (everywhere == expected).mean() < 0.9

    chosen = mixed.choose(graph_def, [graphs.OUTPUT], lambda: iter([images]))

    assert mixed.choose(graph_def, [graphs.OUTPUT], lambda: iter([images])) == chosen
    assert (len(chosen.bfloat16), len(chosen.float32), chosen.batches) == (1, 1, 1)
    made = precision.bfloat16(graph_def, [graphs.OUTPUT], chosen.bfloat16)
    assert (graphs.run(made, images) == expected).mean() >= 0.999


def test_mixed_needs_images(graph_def):
    with pytest.raises(ValueError, match='mixed needs images to choose by'):
        optimise.optimise(graph_def, outputs=[graphs.OUTPUT], compute='mixed')
