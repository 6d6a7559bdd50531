"""ResNet v1 (He et al., arXiv:1512.03385) under slim's variable names.

tf-slim's own resnet_v1 cannot scale its width, resize in the middle or set the dilation of a block, which PSPNet and
ICNet need; its names and its habit of striding in the last unit of a block are kept, so its checkpoints load.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence

import tensorflow as tf

from core import layers
from core.feature_extractor import FeatureExtractor, StrideBudget
from third_party import slim

IMAGENET_MEAN = (123.68, 116.779, 103.939)  # RGB mean of ImageNet, as VGG (arXiv:1409.1556) subtracts it


@dataclasses.dataclass(frozen=True)
class Block:
    """Units of one block: base width, number of units, stride of the last unit, and the block's own dilation."""

    name: str
    width: int
    num_units: int
    stride: int
    dilation: int = 1


def blocks_of(*num_units: int) -> tuple[Block, ...]:
    """The four blocks of table 1 of the paper with these numbers of units."""
    widths, strides = (64, 128, 256, 512), (2, 2, 2, 1)
    return tuple(
        Block(f'block{i}', width, units, stride)
        for i, (width, units, stride) in enumerate(zip(widths, num_units, strides, strict=True), start=1)
    )


# Strides past `output_stride` become dilation, which multiplies the block's own: block3 runs at 2 * 2, block4 at 4 * 4.
# The product is what the reference trained and published; a paper's ResNet-50 would have 2 and 4.
_DILATED_50 = (
    Block('block1', 64, 3, 2, 1),
    Block('block2', 128, 4, 2, 1),
    Block('block3', 256, 6, 2, 2),
    Block('block4', 512, 3, 1, 4),
)
_FEATURE_OF_BLOCK = {'block1': 'c3', 'block2': 'c4', 'block4': 'c5'}


class ResNet(FeatureExtractor, abc.ABC):
    """Root and blocks that both versions share.

    Features: c1 after the root convolution, c2 after the pooling, then c3, c4 and c5 at the ends of block1, block2 and
    block4, whose last units stride. So c3 is the first map of stride 8 and c4 the first of stride 16.
    """

    channel_means = IMAGENET_MEAN
    blocks: Sequence[Block]

    def _build(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        features = {}
        budget = StrideBudget(self.output_stride)
        depth = layers.scaled_width(64, self.filter_scale)
        net = self._root(images, depth)
        budget.spend(2)
        net = self._end_stage(features, 'c1', net)
        net = slim.max_pool2d(net, 3, stride=2, padding='SAME', scope='pool1')
        budget.spend(2)
        net = self._end_stage(features, 'c2', net)
        for block in self.blocks:
            with tf.compat.v1.variable_scope(block.name):
                for unit in range(1, block.num_units + 1):
                    stride, rate = budget.spend(block.stride if unit == block.num_units else 1)
                    with tf.compat.v1.variable_scope(f'unit_{unit}'):
                        net, depth = self._unit(net, depth, block.width, stride=stride, rate=rate * block.dilation)
            if block.name in _FEATURE_OF_BLOCK:
                net = self._end_stage(features, _FEATURE_OF_BLOCK[block.name], net)
        return features

    def _width(self, width: int) -> int:
        return max(1, int(width * self.filter_scale))

    @abc.abstractmethod
    def _root(self, images: tf.Tensor, width: int) -> tf.Tensor:
        """7x7 convolution of stride 2."""

    @abc.abstractmethod
    def _unit(self, inputs: tf.Tensor, depth: int, width: int, *, stride: int, rate: int) -> tuple[tf.Tensor, int]:
        """One residual unit of base width `width` at full filter scale: its outputs, and their nominal depth.

        `depth` is the inputs' nominal depth: whether the shortcut is a projection depends on it, and not on how many
        channels are left of a pruned layer.
        """


class ResNetV1(ResNet):
    """Bottleneck units with batch norm and ReLU behind each convolution.

    c3 [256 f], c4 [512 f], c5 [2048 f] at filter scale f.
    """

    def __call__(self, images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        with tf.compat.v1.variable_scope(self.scope), slim.arg_scope([slim.conv2d], activation_fn=tf.nn.relu):
            return self._build(images)

    def _root(self, images: tf.Tensor, width: int) -> tf.Tensor:
        return conv2d_same(images, width, 7, stride=2, scope='conv1')

    def _unit(self, inputs: tf.Tensor, depth: int, width: int, *, stride: int, rate: int) -> tuple[tf.Tensor, int]:
        narrow, wide = self._width(width), self._width(4 * width)
        with tf.compat.v1.variable_scope('bottleneck_v1'):
            shortcut = _shortcut(inputs, depth, wide, stride)
            residual = slim.conv2d(inputs, narrow, 1, scope='conv1')
            residual = conv2d_same(residual, narrow, 3, stride=stride, rate=rate, scope='conv2')
            residual = slim.conv2d(residual, wide, 1, activation_fn=None, scope='conv3')
            return tf.nn.relu(shortcut + residual), wide


class BasicResNetV1(ResNetV1):
    """Units of two 3x3 convolutions; c3 [64 f], c4 [128 f], c5 [512 f].

    slim's zoo has none; the names are those of DeepLab's ResNet-18 and 34 on slim (`lite_bottleneck_v1`).
    """

    def _unit(self, inputs: tf.Tensor, depth: int, width: int, *, stride: int, rate: int) -> tuple[tf.Tensor, int]:
        width = self._width(width)
        with tf.compat.v1.variable_scope('lite_bottleneck_v1'):
            shortcut = _shortcut(inputs, depth, width, stride)
            residual = conv2d_same(inputs, width, 3, stride=1, rate=rate, scope='conv1')
            with slim.arg_scope([slim.conv2d], activation_fn=None):
                residual = conv2d_same(residual, width, 3, stride=stride, rate=rate, scope='conv2')
            return tf.nn.relu(shortcut + residual), width


class ResNetV1_18(BasicResNetV1):
    scope = 'resnet_v1_18'
    blocks = blocks_of(2, 2, 2, 2)


class ResNetV1_34(BasicResNetV1):
    scope = 'resnet_v1_34'
    blocks = blocks_of(3, 4, 6, 3)


class ResNetV1_50(ResNetV1):
    scope = 'resnet_v1_50'
    blocks = blocks_of(3, 4, 6, 3)


class ResNetV1_101(ResNetV1):
    scope = 'resnet_v1_101'
    blocks = blocks_of(3, 4, 23, 3)


class ResNetV1_152(ResNetV1):
    scope = 'resnet_v1_152'
    blocks = blocks_of(3, 8, 36, 3)


class DilatedResNet50(ResNetV1):
    """ResNet-50 v1 as the reference has it: output stride 8, and dilation 4 and 16 in block3 and block4."""

    scope = 'resnet_v1_50'
    blocks = _DILATED_50


def _shortcut(inputs: tf.Tensor, depth: int, width: int, stride: int) -> tf.Tensor:
    if depth != width:
        return slim.conv2d(inputs, width, 1, stride=stride, activation_fn=None, scope='shortcut')
    return subsample(inputs, stride)


def subsample(inputs: tf.Tensor, stride: int) -> tf.Tensor:
    """Every `stride`-th pixel."""
    return inputs if stride == 1 else slim.max_pool2d(inputs, 1, stride=stride, scope='shortcut')


def conv2d_same(
    inputs: tf.Tensor, width: int, kernel_size: int, *, stride: int, scope: str, rate: int = 1
) -> tf.Tensor:
    """Convolution whose strided form samples the same pixels at odd and even sizes: padding fixed by the kernel."""
    if stride == 1:
        return slim.conv2d(inputs, width, kernel_size, rate=rate, padding='SAME', scope=scope)
    reach = (kernel_size - 1) * rate
    before, after = reach // 2, reach - reach // 2
    padded = tf.pad(inputs, [[0, 0], [before, after], [before, after], [0, 0]])
    return slim.conv2d(padded, width, kernel_size, stride=stride, rate=rate, padding='VALID', scope=scope)
