"""Windows times a kernel are the convolution, for every padding, stride and dilation; sums and batch norm are found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from compression import linear_layers
from compression.channels import ChannelEdges
from compression.linear_layers import LinearLayer, Norm
from compression.tracing import captured_variables
from compression.walk import Walk
from tests.compression.test_tracing import Net


def layers_of(net: Any, size: tuple[int, int] = (9, 12)) -> tuple[list[LinearLayer], dict[str, str], Any]:
    graph = tf.__internal__.FuncGraph('layers')
    with graph.as_default():
        images = tf.compat.v1.placeholder(tf.float32, [2, *size, 3])
        outputs = net.predict(images, is_training=False)
    shapes = {name: tuple(variable.shape) for name, variable in net.variables_by_name().items()}
    walk = Walk(ChannelEdges(), captured_variables(graph, net), shapes)
    walk.run(graph, images, outputs.values())
    return *linear_layers.find(walk, graph), graph


@pytest.mark.parametrize('tiled', [False, True])
@pytest.mark.parametrize(
    ('padding', 'size', 'stride', 'rate'),
    [
        *(('SAME', (3, 3), 1, 1), ('SAME', (3, 3), 2, 1), ('SAME', (2, 3), 2, 1), ('SAME', (1, 1), 2, 1)),
        *(('VALID', (3, 3), 1, 1), ('VALID', (3, 2), 2, 1), ('SAME', (3, 3), 1, 2), ('VALID', (3, 3), 1, 2)),
        ('SAME', (3, 3), 1, 4),
    ],
)
def test_windows_times_kernel_are_the_convolution(padding, size, stride, rate, tiled):
    def run(net: Net, x: tf.Tensor) -> tf.Tensor:
        kernel = net.variable('layer/weights', [*size, 3, 5])
        if tiled and rate > 1:
            y = tf.nn.with_space_to_batch(
                x, [rate, rate], padding, lambda tiles, *_: tf.nn.conv2d(tiles, kernel, 1, 'VALID'), size
            )
        else:
            y = tf.nn.conv2d(x, kernel, stride, padding, dilations=rate)
        return tf.nn.relu(y)

    net = Net(run)
    (layer,), left, _ = layers_of(net)
    assert not left and layer.kernel == 'layer/weights' and layer.norm is None and layer.total is None
    x = np.random.default_rng(1).normal(size=(2, 9, 12, 3)).astype(np.float32)
    kernel = net.variables_by_name()['layer/weights'].numpy()
    wanted = tf.nn.conv2d(x, kernel, stride, padding, dilations=rate).numpy()
    places = np.unravel_index(np.arange(wanted[..., 0].size), wanted.shape[:3])
    seen = linear_layers.windows(layer, x, places)
    np.testing.assert_allclose(seen @ kernel.reshape(-1, 5), wanted.reshape(-1, 5), rtol=1e-4, atol=1e-5)


def norm(net: Net, x: tf.Tensor, name: str) -> tf.Tensor:
    vectors = [net.variable(f'{name}/{part}', [x.shape[-1]]) for part in ('gamma', 'beta', 'mean', 'variance')]
    return tf.compat.v1.nn.fused_batch_norm(x, *vectors, epsilon=1e-3, is_training=False)[0]


def test_what_is_behind_a_convolution_and_added_to_it():
    def run(net: Net, x: tf.Tensor) -> tf.Tensor:
        shortcut = norm(net, net.conv(x, 4, 'shortcut', bias=False), 'shortcut/norm')
        inner = tf.nn.relu(net.conv(x, 4, 'inner'))
        outer = norm(net, net.conv(inner, 4, 'outer', bias=False), 'outer/norm')
        branched = net.conv(tf.nn.relu(shortcut + outer), 4, 'branched', bias=False)
        return branched + norm(net, branched, 'before/norm')

    layers, left, graph = layers_of(Net(run))
    found = {layer.kernel.partition('/')[0]: layer for layer in layers}
    assert list(found) == ['shortcut', 'inner', 'outer', 'branched'] and not left
    names = {key: f'outer/norm/{key}' for key in ('gamma', 'beta', 'mean', 'variance')}
    assert found['outer'].norm == Norm(**names, epsilon=float(np.float32(1e-3)))
    assert found['inner'].bias == 'inner/biases' and found['inner'].norm is None
    # The later summand makes up for the earlier one, which is what it is by then.
    total = found['outer'].total
    assert found['outer'].other is found['shortcut'].output and total is not None and total.op.type == 'AddV2'
    assert found['shortcut'].total is None and found['shortcut'].norm is not None
    # What two operations read is not the batch norm's alone.
    assert found['branched'].norm is None and found['branched'].total is None
    assert graph is found['outer'].features.graph


def test_layers_that_are_none_say_why():
    def run(net: Net, x: tf.Tensor) -> tf.Tensor:
        x = net.conv(x, 4, 'first')
        x = tf.nn.depthwise_conv2d(x, net.variable('depth/depthwise_weights', [3, 3, 4, 1]), [1, 1, 1, 1], 'SAME')
        x = net.conv(x, 4, 'grouped', groups=2)
        x = net.conv(net.conv(x, 4, 'twice'), 4, 'twice')
        x = tf.nn.dropout(x, 0.5)
        return net.conv(x, 2, 'last')

    layers, left, _ = layers_of(Net(run))
    assert [layer.kernel for layer in layers] == ['first/weights']
    assert {kernel.partition('/')[0]: reason for kernel, reason in left.items()} == {
        'depth': 'depthwise',
        'grouped': 'grouped',
        'twice': 'its kernel is used more than once',
        'last': 'behind dropout',
    }
