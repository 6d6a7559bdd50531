"""Layers that every network of this project is made of, on slim's variable names.

Sizes are Python ints where TensorFlow knows them and scalar tensors where it does not, so one function serves the
training graph (fixed crop) and an exported graph of free height and width.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from third_party import slim

Size = int | tf.Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchNorm:
    """Batch normalisation settings (Ioffe and Szegedy, arXiv:1502.03167).

    Attributes:
      decay: share of the old moving average kept each step, in [0, 1).
      center: whether to learn beta. scale: whether to learn gamma.
      epsilon: added to the variance.
      train: False normalises with the moving averages, also during training, and leaves them as they are.
      synchronized: statistics of a batch are those of all replicas together, not of each.
    """

    decay: float = 0.9997
    center: bool = True
    scale: bool = True
    epsilon: float = 1e-5
    train: bool = True
    synchronized: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupNorm:
    """Group normalisation settings (Wu and He, arXiv:1803.08494).

    Attributes:
      groups: groups of channels, 1 or more; a layer whose width is no multiple of it has their greatest common divisor.
      epsilon: added to the variance.
    """

    groups: int = 32
    epsilon: float = 1e-5

    def __post_init__(self):
        if self.groups < 1:
            raise ValueError(f'groups must be 1 or more, got {self.groups}')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hyperparams:
    """What every convolution of a model shares.

    Attributes:
      initializer: of convolution kernels.
      regularizer: kernel -> scalar loss, or None. Applied to convolution kernels only; not to depthwise kernels
        (Howard et al., arXiv:1704.04861, section 3.2: little or no decay there), biases or batch norm.
      batch_norm: batch normalisation settings.
      group_norm: replaces batch norm where it is not None.
    """

    initializer: Any
    regularizer: Callable[[tf.Tensor], tf.Tensor] | None = None
    batch_norm: BatchNorm = BatchNorm()
    group_norm: GroupNorm | None = None


@slim.add_arg_scope
def group_norm(
    inputs: tf.Tensor,
    groups: int = 32,
    epsilon: float = 1e-5,
    activation_fn: Callable[[tf.Tensor], tf.Tensor] | None = None,
    scope: str = 'GroupNorm',
) -> tf.Tensor:
    """[B, H, W, C] with mean 0 and variance 1 over each image's H, W and group of channels, times gamma plus beta.

    Arguments are those of slim's normalisers, so that it can be a `normalizer_fn`; see `GroupNorm`.
    """
    channels = inputs.shape[-1]
    num_groups = math.gcd(groups, channels)
    height, width = spatial_size(inputs)
    with tf.compat.v1.variable_scope(scope):
        beta = tf.compat.v1.get_variable('beta', [channels], initializer=tf.compat.v1.zeros_initializer())
        gamma = tf.compat.v1.get_variable('gamma', [channels], initializer=tf.compat.v1.ones_initializer())
    grouped = tf.reshape(inputs, tf.stack([-1, height, width, num_groups, channels // num_groups]))
    mean, variance = tf.nn.moments(grouped, axes=[1, 2, 4], keepdims=True)
    normal = (grouped - mean) * tf.math.rsqrt(variance + epsilon)
    outputs = tf.reshape(normal, tf.stack([-1, height, width, channels])) * gamma + beta
    outputs = tf.ensure_shape(outputs, inputs.shape)
    return outputs if activation_fn is None else activation_fn(outputs)


@slim.add_arg_scope
def normalize(
    inputs: tf.Tensor,
    normalizer_fn: Callable[..., tf.Tensor] = slim.batch_norm,
    activation_fn: Callable[[tf.Tensor], tf.Tensor] | None = None,
    scope: str = 'BatchNorm',
) -> tf.Tensor:
    """The model's normalisation as a layer of its own, for networks that normalise in front of their convolutions."""
    return normalizer_fn(inputs, activation_fn=activation_fn, scope=scope)


def class_scores(features: tf.Tensor, num_classes: int, *, scope: str, **settings: Any) -> tf.Tensor:
    """[B, h, w, C] -> [B, h, w, num_classes]: 1x1 convolution with bias, no norm, no activation, never narrower."""
    return slim.conv2d(
        features,
        num_classes,
        1,
        activation_fn=None,
        normalizer_fn=None,
        fixed_width=True,
        scope=scope,
        **settings,
    )


@contextlib.contextmanager
def layer_scope(hyperparams: Hyperparams, *, is_training: bool) -> Iterator[None]:
    """The scope in which convolutions carry `hyperparams`, normalisation and ReLU6 (the heads' activation).

    Batch-norm settings sit on `slim.batch_norm` itself, not in `normalizer_params`, so that an inner scope can switch
    them: a frozen backbone, or the second run of a recomputed segment.
    """
    norm, groups = hyperparams.batch_norm, hyperparams.group_norm
    normalizer = slim.batch_norm if groups is None else group_norm
    convolutions = [slim.conv2d, slim.separable_conv2d, slim.conv2d_transpose]
    with slim.arg_scope(
        convolutions,
        weights_initializer=hyperparams.initializer,
        activation_fn=tf.nn.relu6,
        normalizer_fn=normalizer,
    ):
        with (
            slim.arg_scope([normalize], normalizer_fn=normalizer),
            slim.arg_scope([group_norm], **({} if groups is None else dataclasses.asdict(groups))),
            slim.arg_scope([slim.dropout], is_training=is_training),
            slim.arg_scope(
                [slim.batch_norm],
                decay=norm.decay,
                center=norm.center,
                scale=norm.scale,
                epsilon=norm.epsilon,
                is_training=is_training and norm.train,
                updates_collections=None,
            ),
        ):
            yield


def scaled_width(width: int, filter_scale: float) -> int:
    """Number of filters left of `width` at `filter_scale` in (0, 1], rounded down, at least 1."""
    return max(1, int(width // (1.0 / filter_scale)))


def spatial_size(features: tf.Tensor) -> tuple[Size, Size]:
    """Height and width of [B, H, W, C]: ints where known, else scalar int32 tensors."""
    dynamic = None
    sizes: list[Size] = []
    for axis in (1, 2):
        known = features.shape[axis]
        if known is None:
            dynamic = tf.shape(features) if dynamic is None else dynamic
            known = dynamic[axis]
        sizes.append(known)
    return sizes[0], sizes[1]


def resize_bilinear(
    features: tf.Tensor, size: tuple[Size, Size], *, align_corners: bool = True, name: str = 'Interp'
) -> tf.Tensor:
    """Resizes [B, h, w, C] to [B, *size, C] in float32; unchanged if it has that size already.

    `align_corners=True` is the sampling of PSPNet's Interp layer (arXiv:1612.01105), which published weights expect.
    """
    if features.shape[1] is not None and tuple(features.shape[1:3]) == tuple(size):
        return features
    return tf.raw_ops.ResizeBilinear(
        images=features, size=tf.stack(size), align_corners=align_corners, half_pixel_centers=False, name=name
    )


def halve(features: tf.Tensor) -> tf.Tensor:
    """[B, h, w, C] -> [B, (h + 1) // 2, (w + 1) // 2, C], corners aligned: 2k + 1 becomes exactly k + 1."""
    height, width = spatial_size(features)
    return resize_bilinear(features, ((height + 1) // 2, (width + 1) // 2))


def enlarge(features: tf.Tensor, factor: int) -> tf.Tensor:
    """[B, h, w, C] -> [B, (h - 1) * factor + 1, (w - 1) * factor + 1, C], corners aligned."""
    height, width = spatial_size(features)
    return resize_bilinear(features, ((height - 1) * factor + 1, (width - 1) * factor + 1))


def rescale(features: tf.Tensor, factor: float) -> tf.Tensor:
    """[B, h, w, C] -> [B, (h - 1) * factor + 1, (w - 1) * factor + 1, C] rounded down; unchanged for factor 1."""
    if factor == 1:
        return features

    def scaled(size: Size) -> Size:
        if isinstance(size, int):
            return int((size - 1) * factor + 1)
        return tf.cast(tf.cast(size - 1, tf.float32) * factor + 1, tf.int32)

    height, width = spatial_size(features)
    return resize_bilinear(features, (scaled(height), scaled(width)))


def max_pool(features: tf.Tensor, size: int, *, stride: int, rate: int = 1) -> tf.Tensor:
    """Padded maximum over `size` x `size` pixels that lie `rate` apart: [B, ceil(H / stride), ceil(W / stride), C].

    With `rate` above 1 the stride must be 1 and features 0 or more, as behind a ReLU. Then it is what a strided pooling
    turns into when its stride becomes dilation: at sizes 2k + 1, every second pixel is the strided result.
    """
    if rate == 1:
        return tf.nn.max_pool2d(features, size, stride, 'SAME')
    if stride != 1:
        raise ValueError(f'max_pool: a dilated pooling has stride 1, got {stride}')
    return _spread_maximum(_spread_maximum(features, size, rate, axis=1), size, rate, axis=2)


def _spread_maximum(features: tf.Tensor, size: int, rate: int, *, axis: int) -> tf.Tensor:
    before = (size - 1) // 2 * rate
    paddings = [[0, 0] for _ in range(4)]
    paddings[axis] = [before, (size - 1) * rate - before]
    padded = tf.pad(features, paddings)
    lengths: list[Any] = [-1, -1, -1, -1]
    lengths[axis] = spatial_size(features)[axis - 1]
    starts = [[k * rate if i == axis else 0 for i in range(4)] for k in range(size)]
    pooled = tf.slice(padded, starts[0], lengths)
    for start in starts[1:]:
        pooled = tf.maximum(pooled, tf.slice(padded, start, lengths))
    pooled.set_shape(features.shape)  # a slice of free length forgets the others too
    return pooled


def average_pool_grid(features: tf.Tensor, pooling_factor: float) -> tf.Tensor:
    """One level of the pyramid pooling module: means over cells of (h // factor, w // factor) pixels.

    Cells do not overlap; rows and columns left over at the bottom and right belong to no cell, as in the reference.

    Args:
      features: [B, h, w, C].
      pooling_factor: 1 or more; factor 1 is the mean of the whole map. A factor above h or w pools single pixels.

    Returns:
      [B, h // cell height, w // cell width, C].
    """
    height, width = spatial_size(features)
    if isinstance(height, int) and isinstance(width, int):
        cell = (max(1, int(height / pooling_factor)), max(1, int(width / pooling_factor)))
        return tf.nn.avg_pool2d(features, cell, strides=cell, padding='VALID')
    return _average_pool_dynamic(features, height, width, pooling_factor)


def _average_pool_dynamic(features: tf.Tensor, height: Size, width: Size, pooling_factor: float) -> tf.Tensor:
    # The pooling operation wants its window at graph-building time; a reshape into cells does not.
    def cell_of(size: Size) -> tf.Tensor:
        return tf.maximum(1, tf.cast(tf.cast(size, tf.float32) / pooling_factor, tf.int32))

    cell_height, cell_width = cell_of(height), cell_of(width)
    rows, columns = height // cell_height, width // cell_width
    cropped = features[:, : rows * cell_height, : columns * cell_width, :]
    channels = features.shape[-1]
    cells = tf.reshape(cropped, tf.stack([-1, rows, cell_height, columns, cell_width, channels]))
    return tf.reduce_mean(cells, axis=[2, 4])


def add_all(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Sum of equally shaped tensors, from left to right.

    AddN begins with whichever operand's memory it may write to, so its last bits depend on what else a step keeps.
    """
    return functools.reduce(tf.add, tensors)


def resize_labels(labels: tf.Tensor, size: tuple[Size, Size]) -> tf.Tensor:
    """Nearest-neighbour resize of class ids int32 [B, H, W] to [B, *size], corners aligned; no new ids appear."""
    if labels.shape[1] is not None and tuple(labels.shape[1:3]) == tuple(size):
        return labels
    resized = tf.raw_ops.ResizeNearestNeighbor(images=labels[..., None], size=tf.stack(size), align_corners=True)
    return tf.squeeze(resized, axis=-1)
