"""Kernels that are solved for: what the removed channels said is taken from those that are left, as far as they can."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from compression import cutting, tracing
from compression.channels import KEPT, Axis, ChannelGraph
from core.errors import UserError
from engine import refit, traced_net
from engine.compression_report import RefittedLayer
from tests.compression.test_tracing import Net

WIDTHS = {'first': 6, 'second': 8, 'residual': 8, 'middle': 4, 'dilated': 6, 'plain': 5}


def build(widths: Mapping[str, int]) -> Any:
    """A residual block, batch norm, strides, tiles of a dilated layer, a bias, and a depthwise layer at the end."""

    def layer(net: Net, x: tf.Tensor, name: str, size: int, stride: int = 1, rate: int = 1) -> tf.Tensor:
        kernel = net.variable(f'{name}/weights', [size, size, x.shape[-1], widths[name]])
        y = tf.nn.with_space_to_batch(
            x,
            [rate, rate],
            'SAME',
            lambda t, *_: tf.nn.conv2d(t, kernel, stride, 'SAME' if rate == 1 else 'VALID'),
            [size] * 2,
        )
        return net.norm(y, name)

    def run(net: Net, images: tf.Tensor) -> tf.Tensor:
        x = tf.nn.relu(layer(net, images / 50.0, 'first', 3, stride=2))
        shortcut = layer(net, x, 'second', 1)
        inner = tf.nn.relu(layer(net, x, 'middle', 3))
        x = tf.nn.relu(shortcut + layer(net, inner, 'residual', 1))
        x = tf.nn.relu(layer(net, x, 'dilated', 3, rate=2))
        x = tf.nn.relu(net.conv(x, widths['plain'], 'plain'))
        return net.conv(net.depthwise(x, 'depth', 1), 2, 'logits')

    return Net(run)


def images(number: int) -> list[tf.Tensor]:
    rng = np.random.default_rng(number)
    return [tf.constant(rng.uniform(0, 255, (3, 17, 23, 3)), tf.float32) for _ in range(number)]


def values(net: Net) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in net.variables_by_name().items()}


def repeat_channel(net: Net, name: str, source: int, copies: dict[int, float]) -> None:
    """Makes channels of a layer multiples of another, behind batch norm as well."""
    for variable, value in values(net).items():
        if variable.startswith(f'{name}/') and not variable.endswith('depthwise_weights'):
            for copy, factor in copies.items():
                scaled = variable.endswith(('gamma', 'beta', 'biases')) or (
                    'BatchNorm' not in variable and name == 'plain'
                )
                value[..., copy] = value[..., source] * (factor if scaled else 1.0)
            net.variables_by_name()[variable].assign(value)


def lengths_of(net: Net, name: str) -> np.ndarray:
    return np.sqrt(np.square(values(net)[f'{name}/weights']).sum((0, 1, 2)))


def cut_net(whole: Net, graph: ChannelGraph, removed: Mapping[str, list[int]]) -> tuple[Any, np.ndarray]:
    keep = np.ones(graph.num_channels, bool)
    for name, channels in removed.items():
        ids = graph.axes[Axis(f'{name}/weights', 3)][channels]
        assert KEPT not in ids
        keep[ids] = False
    widths = {name: int(graph.stays(Axis(f'{name}/weights', 3), keep).sum()) for name in WIDTHS}
    net = build(widths)
    logits_of(net)(images(1)[0])
    for name, value in values(whole).items():
        net.variables_by_name()[name].assign(cutting.cut(graph, keep, name, value))
    return net, keep


def logits_of(net: Net) -> Callable[[tf.Tensor], np.ndarray]:
    return lambda x: net.predict(net.preprocess(x), is_training=False)['logits'].numpy()


def difference(whole: Net, cut: Net, x: tf.Tensor) -> float:
    wanted = logits_of(whole)(x)
    return float(np.abs(logits_of(cut)(x) - wanted).max() / np.abs(wanted - wanted.mean((0, 1, 2))).max())


def errors(done: Sequence[RefittedLayer]) -> tuple[dict[str, float], dict[str, float]]:
    """{layer: error} before and after, of the layers that were solved for."""
    solved = [row for row in done if not row.left]
    return {row.layer: row.error_before or 0.0 for row in solved}, {row.layer: row.error or 0.0 for row in solved}


@pytest.fixture
def whole() -> Any:
    net = build(WIDTHS)
    logits_of(net)(images(1)[0])
    rng = np.random.default_rng(3)
    for name, variable in net.variables_by_name().items():
        if name.endswith('gamma'):
            variable.assign(rng.choice([-1, 1], variable.shape) * rng.uniform(0.5, 1.5, variable.shape))
    return net


def test_what_other_channels_say_as_well_is_recovered_exactly(whole):
    """Copies of channels that stay, by positive factors: behind relu, on a residual sum, before tiles and a bias."""
    repeat_channel(whole, 'first', 0, {3: 2.0, 4: 0.5})
    repeat_channel(whole, 'middle', 1, {2: 3.0})
    for name in ('second', 'residual'):
        repeat_channel(whole, name, 2, {5: 1.5, 6: 1.0})
    repeat_channel(whole, 'dilated', 0, {1: 4.0})
    graph = tracing.trace(whole, size=(17, 23))
    removed = {'first': [3, 4], 'middle': [2], 'second': [5, 6], 'dilated': [1]}
    cut, keep = cut_net(whole, graph, removed)
    before = difference(whole, cut, images(1)[0])

    done = refit.fit(whole, cut, graph, keep, images(4), ridge=1e-9)

    assert before > 0.1 and difference(whole, cut, images(1)[0]) < 1e-3
    rows = {row.layer: row for row in done}
    assert [row.layer for row in done] == [
        'first',
        'second',
        'middle',
        'residual',
        'dilated',
        'plain',
        'depth',
        'logits',
    ]
    assert rows['depth'].left == 'depthwise' and rows['depth'].error is None
    before_by_layer, after = errors(done)
    assert max(after.values()) < 1e-5
    assert before_by_layer['residual'] > 0.01 and before_by_layer['plain'] > 0.01


def test_each_layer_comes_nearer_where_nothing_can_be_exact(whole):
    graph = tracing.trace(whole, size=(17, 23))
    cut, keep = cut_net(
        whole, graph, {'first': [1, 5], 'middle': [0], 'second': [0, 7], 'dilated': [2, 3], 'plain': [1]}
    )
    before, lengths = (
        difference(whole, cut, images(1)[0]),
        lengths_of(cut, 'residual'),
    )

    done = refit.fit(whole, cut, graph, keep, images(4))

    assert difference(whole, cut, images(1)[0]) < 0.9 * before
    before_by_layer, after = errors(done)
    assert all(after[layer] <= before_by_layer[layer] for layer in after)
    assert max(before_by_layer.values()) > 0.2
    # Lengths of filters and signs of scales stay: weight decay and learning rate mean what they did.
    np.testing.assert_allclose(lengths_of(cut, 'residual'), lengths, rtol=1e-4)
    kept = graph.stays(Axis('residual/weights', 3), keep)
    assert (values(cut)['residual/BatchNorm/gamma'] * values(whole)['residual/BatchNorm/gamma'][kept] > 0).all()


def test_the_averages_are_those_of_what_the_new_kernel_makes(whole):
    graph = tracing.trace(whole, size=(17, 23))
    cut, keep = cut_net(whole, graph, {'first': [1, 5]})
    (x,) = images(1)
    refit.fit(whole, cut, graph, keep, [x])
    found = values(cut)
    features = tf.nn.relu(
        tf.nn.batch_normalization(
            tf.nn.conv2d((cut.preprocess(x)) / 50.0, found['first/weights'], 2, 'SAME'),
            *(found[f'first/BatchNorm/{leaf}'] for leaf in ('moving_mean', 'moving_variance', 'beta', 'gamma')),
            0.001,
        )
    )
    made = tf.nn.conv2d(features, found['middle/weights'], 1, 'SAME').numpy()
    np.testing.assert_allclose(found['middle/BatchNorm/moving_mean'], made.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(found['middle/BatchNorm/moving_variance'], made.var((0, 1, 2)), rtol=1e-3)


def test_large_layers_are_left(whole, monkeypatch):
    graph = tracing.trace(whole, size=(17, 23))
    cut, keep = cut_net(whole, graph, {'first': [1]})
    monkeypatch.setattr(refit, '_MOST_INPUTS', 44)  # middle: 9 * 5; dilated: 9 * 8
    before = values(cut)['middle/weights']
    rows = {row.layer: row for row in refit.fit(whole, cut, graph, keep, images(1))}
    assert [name for name, row in rows.items() if 'more than 44 inputs' in row.left] == ['middle', 'dilated']
    assert np.array_equal(values(cut)['middle/weights'], before)


def test_no_batch_is_an_error(whole):
    graph = tracing.trace(whole, size=(17, 23))
    cut, keep = cut_net(whole, graph, {'first': [1]})
    with pytest.raises(UserError, match='hold no batch to refit'):
        refit.fit(whole, cut, graph, keep, [])


def test_a_full_disk_is_told_with_what_helps():
    with pytest.raises(UserError, match=r'^/dev/full: cannot keep .*: No space left on device; set TMPDIR to a folder'):
        traced_net.save('/dev/full', [np.zeros(100_000)])
