"""The channel graph of random nets against brute force: switch a channel off, and see which inputs of kernels are 0."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from compression import cutting, tracing
from compression.channels import KEPT, Axis
from core.errors import UserError

_SIZE = (7, 9)


@dataclasses.dataclass
class Seen:
    """A convolution as it ran: its kernel's name and its input."""

    kernel: str
    inputs: tf.Tensor


class Net:
    """A net that is a function of a `run(net, images)`; variables are made at its first run, seeded by their names."""

    input_channels = 3

    def __init__(self, run: Callable[[Net, tf.Tensor], tf.Tensor]):
        self._run = run
        self._variables: dict[str, tf.Variable] = {}
        self.seen: list[Seen] = []

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        return images - tf.constant([1.0, 2.0, 3.0])

    def predict(self, images: tf.Tensor, is_training: bool) -> dict[str, tf.Tensor]:
        del is_training
        self.seen = []
        return {'logits': self._run(self, images)}

    def in_published_order(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def variables_by_name(self) -> dict[str, tf.Variable]:
        return self._variables

    def variable(self, name: str, shape: list[int]) -> tf.Variable:
        if name not in self._variables:
            rng = np.random.default_rng(len(self._variables))
            with tf.init_scope():
                value = rng.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape).astype('f4')
                self._variables[name] = tf.Variable(np.abs(value) if name.endswith('variance') else value)
        return self._variables[name]

    def conv(
        self, x: tf.Tensor, width: int, name: str, *, size: int = 1, groups: int = 1, bias: bool = True
    ) -> tf.Tensor:
        self.seen.append(Seen(f'{name}/weights', x))
        y = tf.nn.conv2d(x, self.variable(f'{name}/weights', [size, size, x.shape[-1] // groups, width]), 1, 'SAME')
        return tf.nn.bias_add(y, self.variable(f'{name}/biases', [width])) if bias else y

    def depthwise(self, x: tf.Tensor, name: str, multiplier: int) -> tf.Tensor:
        kernel = self.variable(f'{name}/depthwise_weights', [3, 3, x.shape[-1], multiplier])
        y = tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], 'SAME')
        return self.norm(y, name)

    def norm(self, x: tf.Tensor, name: str) -> tf.Tensor:
        gamma, beta, mean, variance = (
            self.variable(f'{name}/BatchNorm/{leaf}', [x.shape[-1]])
            for leaf in ('gamma', 'beta', 'moving_mean', 'moving_variance')
        )
        return tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, mean, variance, is_training=False)[0]


def random_net(seed: int) -> Net:
    """Ten steps of everything that nets are made of, on tensors taken at random; what is left over is concatenated."""

    def run(net: Net, images: tf.Tensor) -> tf.Tensor:
        rng = np.random.default_rng(seed)
        pool = [net.conv(images, 4, 'first', size=3)]
        for step in range(10):
            name = f'step_{step}'
            x = pool.pop(int(rng.integers(len(pool)))) if len(pool) > 2 else pool[int(rng.integers(len(pool)))]
            pool.append(_step(net, x, pool, name, rng))
        return net.conv(tf.concat(pool, -1), 2, 'logits')

    return Net(run)


def _step(net: Net, x: tf.Tensor, pool: list[tf.Tensor], name: str, rng: np.random.Generator) -> tf.Tensor:
    kind = rng.choice(
        ['conv', 'norm', 'depthwise', 'grouped', 'add', 'concat', 'split', 'slice', 'pool', 'mean', 'many']
    )
    width = x.shape[-1]
    if kind == 'norm':
        return tf.nn.leaky_relu(net.norm(net.conv(x, int(rng.integers(2, 7)), name, bias=False), name))
    if kind == 'depthwise':
        return net.depthwise(x, name, int(rng.integers(1, 3)))
    if kind == 'grouped' and width % 2 == 0:
        return net.conv(x, 4, name, groups=2)
    if kind == 'add':
        return x + net.conv(tf.nn.leaky_relu(x), width, name, size=3)
    if kind == 'concat':
        return tf.concat([x, pool[-1]], -1)
    if kind == 'split' and width % 2 == 0:
        first, second = tf.split(x, 2, axis=-1)
        return net.conv(first, width // 2, name) + second
    if kind == 'slice' and width > 2:
        return x[..., 1 : width - 1]
    if kind == 'pool':
        return tf.nn.avg_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 1, 'VALID')
    if kind == 'mean':
        return x + tf.reduce_mean(x, [1, 2], keepdims=True)
    if kind == 'many':
        return tf.add_n([x, net.conv(x, width, f'{name}_a'), net.conv(x, width, f'{name}_b')])
    return tf.nn.leaky_relu(net.conv(x, int(rng.integers(2, 7)), name, size=3))


@pytest.mark.parametrize('seed', range(20))
def test_a_removed_channel_is_0_at_the_inputs_that_lose_it_and_nowhere_else(seed: int):
    net = random_net(seed)
    images = tf.constant(np.random.default_rng(seed).normal(size=(1, *_SIZE, 3)).astype('f4'))
    net.predict(net.preprocess(images), is_training=False)
    graph = tracing.trace(net, size=_SIZE)  # pyright: ignore[reportArgumentType]
    whole = {name: variable.numpy() for name, variable in net.variables_by_name().items()}
    assert len({channel for group in graph.groups for channel in group.channels}) == graph.num_channels
    assert (graph.axes[Axis('logits/weights', 3)] == KEPT).all() and (
        graph.axes[Axis('first/weights', 2)] == KEPT
    ).all()

    rng = np.random.default_rng(seed)
    for channel in rng.permutation(graph.num_channels)[:4]:
        keep = np.arange(graph.num_channels) != channel
        for name, value in whole.items():
            net.variables_by_name()[name].assign(cutting.zero(graph, keep, name, value))
        logits = net.predict(net.preprocess(images), is_training=False)['logits'].numpy()

        for seen in net.seen:
            stays = graph.stays(Axis(seen.kernel, 2), keep)
            largest = np.abs(seen.inputs.numpy()).max((0, 1, 2))
            np.testing.assert_array_equal(largest > 0, np.tile(stays, len(largest) // len(stays)), seen.kernel)
        # Weights of inputs that lose the channel do not matter any more.
        for name, variable in net.variables_by_name().items():
            value = variable.numpy()
            if name.endswith('/weights'):
                variable.assign(np.where(graph.stays(Axis(name, 2), keep)[:, None], value, 7.0))
        after = net.predict(net.preprocess(images), is_training=False)['logits'].numpy()
        np.testing.assert_array_equal(after, logits)


def test_random_nets_hold_every_kind_of_layer():
    """What the test above is worth: shared, split and repeated channels occur in it."""
    shared = repeated = kept = 0
    for seed in range(20):
        net = random_net(seed)
        net.predict(tf.zeros([1, *_SIZE, 3]), is_training=False)
        graph = tracing.trace(net, size=_SIZE)  # pyright: ignore[reportArgumentType]
        shared += any(len(group.layers) > 1 for group in graph.groups)
        for convolution in graph.convolutions:
            channels = graph.axes[convolution.outputs]
            repeated += len(set(channels.tolist())) < len(channels) and KEPT not in channels
            kept += KEPT in channels and (channels != KEPT).any()
    assert shared > 10 and repeated > 3


@pytest.mark.parametrize(
    ('op', 'said'),
    [
        (lambda x: tf.nn.softmax(x), "Softmax '.*', behind layer 'middle': not known to the pruner"),
        (lambda x: tf.reduce_mean(x, -1, keepdims=True), "Mean '.*', behind layer 'middle': is used in a way"),
        (
            lambda x: tf.reshape(x, [1, *x.shape[1:3], 2, 2]),
            "Reshape '.*', behind layer 'middle': takes the channels apart",
        ),
        (lambda x: tf.nn.depth_to_space(x, 2), "DepthToSpace '.*', behind layer 'middle': not known"),
        (lambda x: tf.reverse(x, [-1]), "ReverseV2 '.*', behind layer 'middle': not known"),
    ],
    ids=['softmax', 'mean', 'reshape', 'depth_to_space', 'reverse'],
)
def test_an_unknown_operation_is_named_with_its_layer(op, said):
    def run(net: Net, images: tf.Tensor) -> tf.Tensor:
        x = op(tf.nn.relu(net.conv(net.conv(images, 4, 'first'), 4, 'middle')))
        return net.conv(tf.reshape(tf.reduce_mean(x, [1, 2]), [1, 1, 1, -1]), 2, 'logits')

    net = Net(run)
    net.predict(tf.zeros([1, *_SIZE, 3]), is_training=False)
    with pytest.raises(UserError, match=said):
        tracing.trace(net, size=_SIZE)  # pyright: ignore[reportArgumentType]


def test_channels_with_constants_of_their_own_are_kept_and_equal_constants_do_not_matter():
    def run(net: Net, images: tf.Tensor) -> tf.Tensor:
        x = net.conv(images, 3, 'first') * tf.constant([1.0, 2.0, 3.0])
        y = net.conv(x, 3, 'second') * tf.constant([2.0, 2.0, 2.0])
        return net.conv(y, 2, 'logits')

    net = Net(run)
    net.predict(tf.zeros([1, *_SIZE, 3]), is_training=False)
    graph = tracing.trace(net, size=_SIZE)  # pyright: ignore[reportArgumentType]
    assert [group.name for group in graph.groups] == ['second']
