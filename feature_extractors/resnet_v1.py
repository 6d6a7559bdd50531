"""Dilated ResNet v1 (He et al., arXiv:1512.03385) under slim's variable names.

tf-slim's own resnet_v1 cannot scale its width, resize in the middle or set the dilation of a block, which PSPNet and
ICNet need; its names and its habit of striding in the last unit of a block are kept, so its checkpoints load.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import tensorflow as tf

from core import layers
from core.feature_extractor import FeatureExtractor
from third_party import slim


@dataclasses.dataclass(frozen=True)
class _Block:
    """Units of one block: base width, number of units, stride of the last unit, and the block's own dilation."""

    name: str
    width: int
    num_units: int
    stride: int
    dilation: int


# Strides past `output_stride` become dilation, which multiplies the block's own: block3 runs at 2 * 2, block4 at 4 * 4.
# The product is what the reference trained and published; a paper's ResNet-50 would have 2 and 4.
_RESNET_50 = (
    _Block('block1', 64, 3, 2, 1),
    _Block('block2', 128, 4, 2, 1),
    _Block('block3', 256, 6, 2, 2),
    _Block('block4', 512, 3, 1, 4),
)
_FEATURE_OF_BLOCK = {'block1': 'c3', 'block2': 'c4', 'block4': 'c5'}


class DilatedResNet50(FeatureExtractor):
    """ResNet-50 v1 at output stride 8; features c3 [H/8, 256 f], c4 [H/8, 512 f], c5 [H/8, 2048 f] at filter scale f.

    With `halve_after_c3`, c4 and c5 have stride 16.
    """

    scope = 'resnet_v1_50'
    channel_means = (123.68, 116.779, 103.939)  # RGB mean of ImageNet, as VGG (arXiv:1409.1556) subtracts it
    _blocks: Sequence[_Block] = _RESNET_50
    _output_stride = 8

    def __call__(self, images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        with tf.compat.v1.variable_scope(self.scope), slim.arg_scope([slim.conv2d], activation_fn=tf.nn.relu):
            net = _conv2d_same(images, layers.scaled_width(64, self.filter_scale), 7, stride=2, scope='conv1')
            net = slim.max_pool2d(net, 3, stride=2, padding='SAME', scope='pool1')
            return self._build_blocks(net)

    def _build_blocks(self, net: tf.Tensor) -> dict[str, tf.Tensor]:
        features = {}
        stride, dilation = 4, 1
        for block in self._blocks:
            with tf.compat.v1.variable_scope(block.name):
                for unit in range(1, block.num_units + 1):
                    unit_stride = block.stride if unit == block.num_units else 1
                    dense = stride >= self._output_stride
                    with tf.compat.v1.variable_scope(f'unit_{unit}'):
                        net = self._bottleneck(
                            net, block.width, stride=1 if dense else unit_stride, rate=dilation * block.dilation
                        )
                    if dense:
                        dilation *= unit_stride
                    else:
                        stride *= unit_stride
            if block.name in _FEATURE_OF_BLOCK:
                features[_FEATURE_OF_BLOCK[block.name]] = net
            if block.name == 'block1' and self.halve_after_c3:
                net = layers.halve(net)
        return features

    def _bottleneck(self, inputs: tf.Tensor, width: int, *, stride: int, rate: int) -> tf.Tensor:
        narrow, wide = int(width * self.filter_scale), int(4 * width * self.filter_scale)
        with tf.compat.v1.variable_scope('bottleneck_v1'):
            if inputs.shape[-1] == wide:
                shortcut = inputs if stride == 1 else slim.max_pool2d(inputs, 1, stride=stride, scope='shortcut')
            else:
                shortcut = slim.conv2d(inputs, wide, 1, stride=stride, activation_fn=None, scope='shortcut')
            residual = slim.conv2d(inputs, narrow, 1, scope='conv1')
            residual = _conv2d_same(residual, narrow, 3, stride=stride, rate=rate, scope='conv2')
            residual = slim.conv2d(residual, wide, 1, activation_fn=None, scope='conv3')
            return tf.nn.relu(shortcut + residual)


def _conv2d_same(
    inputs: tf.Tensor, width: int, kernel_size: int, *, stride: int, scope: str, rate: int = 1
) -> tf.Tensor:
    """Convolution whose strided form samples the same pixels at odd and even sizes: padding fixed by the kernel."""
    if stride == 1:
        return slim.conv2d(inputs, width, kernel_size, rate=rate, padding='SAME', scope=scope)
    reach = (kernel_size - 1) * rate
    before, after = reach // 2, reach - reach // 2
    padded = tf.pad(inputs, [[0, 0], [before, after], [before, after], [0, 0]])
    return slim.conv2d(padded, width, kernel_size, stride=stride, rate=rate, padding='VALID', scope=scope)
