"""Small training objectives of the operations that segmentation nets are made of, for tests of the backward pass.

Activations are large enough (tens of kilobytes and more) for the planner to think about them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from third_party import slim

SHAPE = (2, 33, 49, 8)

# Not every processor has a gradient of a dilated convolution.
_RATE = 2 if slim.has_native_dilation() else 1


class Net:
    """Variables made by a first, eager call, by name; each trace finds them again.

    Attributes:
      trainable, averages: variables by name; averages are those of batch norm.
    """

    def __init__(self, objective: Callable[[Net, tf.Tensor], tf.Tensor], seed: int = 0):
        self._objective = objective
        self._rng = np.random.default_rng(seed)
        self.trainable: dict[str, tf.Variable] = {}
        self.averages: dict[str, tf.Variable] = {}
        self(images())
        for average in self.averages.values():
            average.assign(tf.zeros_like(average))

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """images float32 [B, H, W, C] -> the scalar to minimise."""
        return self._objective(self, images)

    def conv(self, x: tf.Tensor, name: str, width: int | None = None, *, stride: int = 1, rate: int = 1) -> tf.Tensor:
        channels = int(x.shape[-1])
        kernel = self._variable(f'{name}/weights', (3, 3, channels, width or channels))
        return tf.nn.conv2d(x, kernel, strides=stride, padding='SAME', dilations=rate, name=name)

    def depthwise(self, x: tf.Tensor, name: str) -> tf.Tensor:
        kernel = self._variable(f'{name}/weights', (3, 3, int(x.shape[-1]), 1))
        return tf.nn.depthwise_conv2d(x, kernel, strides=(1, 1, 1, 1), padding='SAME', name=name)

    def bias(self, x: tf.Tensor, name: str) -> tf.Tensor:
        return tf.nn.bias_add(x, self._variable(f'{name}/biases', (int(x.shape[-1]),)), name=name)

    def norm(self, x: tf.Tensor, name: str) -> tf.Tensor:
        """Batch norm in training; its averages move with decay 0.9."""
        width = int(x.shape[-1])
        gamma = self._variable(f'{name}/gamma', (width,), center=1.0)
        beta = self._variable(f'{name}/beta', (width,))
        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, is_training=True, name=name)
        for kind, value in (('mean', mean), ('variance', variance)):
            if f'{name}/{kind}' not in self.averages:
                self.averages[f'{name}/{kind}'] = self._new(np.zeros(width))
            average = self.averages[f'{name}/{kind}']
            average.assign_sub(0.1 * (average - value))
        return y

    def _variable(self, name: str, shape: tuple[int, ...], center: float = 0.0) -> tf.Variable:
        if name not in self.trainable:
            self.trainable[name] = self._new(self._rng.normal(center, 0.2, shape))
        return self.trainable[name]

    def _new(self, values: np.ndarray) -> tf.Variable:
        return tf.Variable(values.astype(np.float32))


def images(seed: int = 1) -> tf.Tensor:
    """Noise of SHAPE."""
    return tf.constant(np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32))


def _chain(net: Net, x: tf.Tensor) -> tf.Tensor:
    for i in range(4):
        x = tf.nn.relu(net.norm(net.conv(x, f'conv{i}', 12), f'norm{i}'))
    return tf.reduce_mean(tf.square(x - 0.3))


def _residual(net: Net, x: tf.Tensor) -> tf.Tensor:
    for i in range(4):
        x += tf.nn.relu(net.norm(net.conv(x, f'conv{i}'), f'norm{i}'))
    return tf.reduce_mean(tf.square(x - 0.3))


def _three_consumers(net: Net, x: tf.Tensor) -> tf.Tensor:
    """One tensor read by three branches that meet again; and once more behind them."""
    stem = tf.nn.relu(net.norm(net.conv(x, 'stem', 16), 'stem_norm'))
    branches = [
        tf.nn.relu(net.bias(net.conv(stem, 'a', 16), 'a')),
        tf.nn.relu6(net.norm(net.depthwise(stem, 'b'), 'b_norm')),
        tf.tanh(net.conv(stem, 'c', 16, rate=_RATE)),
    ]
    joined = tf.nn.relu(net.norm(net.conv(branches[0] + branches[1] + branches[2], 'join', 16), 'join_norm'))
    return tf.reduce_mean(tf.square(joined + stem))


def _pyramid(net: Net, x: tf.Tensor) -> tf.Tensor:
    """Pooling, resizing and concatenation, as in pyramid pooling; a max pool and an upsampled skip connection."""
    stem = tf.nn.relu(net.norm(net.conv(x, 'stem', 16), 'stem_norm'))
    deep = tf.nn.relu(net.norm(net.conv(tf.nn.max_pool2d(stem, 3, 2, 'SAME'), 'deep', 24), 'deep_norm'))
    levels = [deep]
    for size in (2, 5):
        pooled = tf.nn.avg_pool2d(deep, size, size, 'SAME')
        levels.append(tf.image.resize(net.conv(pooled, f'level{size}', 12), deep.shape[1:3]))
    fused = tf.nn.relu(net.norm(net.conv(tf.concat(levels, -1), 'fuse', 16), 'fuse_norm'))
    large = tf.compat.v1.image.resize_bilinear(fused, stem.shape[1:3], align_corners=True)
    scores = net.bias(net.conv(tf.concat([large, stem], -1), 'scores', 5), 'scores')
    labels = tf.argmax(x[..., :5], -1, tf.int32)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores))


def _regularized(net: Net, x: tf.Tensor) -> tf.Tensor:
    """Every kernel is read by a regulariser too, made behind the whole network; strides and an odd crop."""
    x = tf.nn.relu(net.norm(net.conv(x, 'a', 24, stride=2), 'a_norm'))
    x = x[:, :-1, 1:]
    for i in range(2):
        x = tf.nn.relu(net.norm(net.conv(x, f'b{i}', 24), f'b{i}_norm'))
    x = tf.pad(x, [(0, 0), (1, 2), (2, 1), (0, 0)])
    x = tf.sigmoid(net.conv(x, 'c', 24)) * x
    kernels = [v for name, v in net.trainable.items() if name.endswith('weights')]
    return tf.reduce_mean(tf.square(x - 0.3)) + 0.01 * tf.add_n([tf.nn.l2_loss(kernel) for kernel in kernels])


def _stateless_dropout(net: Net, x: tf.Tensor) -> tf.Tensor:
    for i in range(3):
        x = tf.nn.relu(net.norm(net.conv(x, f'conv{i}', 12), f'norm{i}'))
        x = tf.nn.experimental.stateless_dropout(x, 0.5, seed=[7, i], rng_alg='philox')
    return tf.reduce_mean(tf.square(x - 0.3))


def _stateful_dropout(net: Net, x: tf.Tensor) -> tf.Tensor:
    for i in range(3):
        x = tf.nn.relu(net.norm(net.conv(x, f'conv{i}', 12), f'norm{i}'))
        x = tf.nn.dropout(x, 0.5)
    return tf.reduce_mean(tf.square(x - 0.3))


NETS = {
    'chain': _chain,
    'residual': _residual,
    'three_consumers': _three_consumers,
    'pyramid': _pyramid,
    'regularized': _regularized,
    'stateless_dropout': _stateless_dropout,
    'stateful_dropout': _stateful_dropout,
}
