"""Dilated MobileNetV2 (Sandler et al., arXiv:1801.04381) under slim's variable names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from core import layers
from core.feature_extractor import FeatureExtractor
from third_party import slim


@dataclasses.dataclass(frozen=True)
class _Block:
    """An inverted residual: output width at filter scale 1, and stride (table 2 of the paper)."""

    width: int
    stride: int = 1


_BLOCKS = (
    _Block(24, 2), _Block(24),
    _Block(32, 2), _Block(32), _Block(32),
    _Block(64, 2), _Block(64), _Block(64), _Block(64),
    _Block(96), _Block(96), _Block(96),
    _Block(160, 2), _Block(160), _Block(160),
    _Block(320),
)  # fmt: skip
_C3_BLOCK = 3


class DilatedMobileNetV2(FeatureExtractor):
    """MobileNetV2 at output stride 8; features c3 [H/8, 32 f], c4 [H/8, 64 f], c5 [H/8, 320 f] at filter scale f.

    The first two layers keep their 32 and 16 filters at every filter scale, as the reference's do. With
    `halve_after_c3` the net ends one block earlier (c5 of 160 f filters, stride 16) and c4 is the last block of 32 f:
    the reference numbers its layers through the resize, and its checkpoints have these shapes.
    """

    scope = 'MobilenetV2'
    channel_means = (127.5, 127.5, 127.5)
    channel_scale = 127.5
    _output_stride = 8

    def __call__(self, images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        with tf.compat.v1.variable_scope(self.scope):
            net = slim.conv2d(images, 32, 3, stride=2, padding='SAME', scope='Conv')
            with tf.compat.v1.variable_scope('expanded_conv'):
                net = _inverted_residual(net, 16, stride=1, rate=1, expansion=1)
            return self._build_blocks(net)

    def _build_blocks(self, net: tf.Tensor) -> dict[str, tf.Tensor]:
        names = {_C3_BLOCK: 'c3', 5: 'c4', 15: 'c5'} if self.halve_after_c3 else {_C3_BLOCK: 'c3', 6: 'c4', 16: 'c5'}
        features = {}
        stride, dilation = 2, 1
        for number, block in enumerate(_BLOCKS[: max(names)], start=1):
            dense = stride >= self._output_stride
            with tf.compat.v1.variable_scope(f'expanded_conv_{number}'):
                net = _inverted_residual(
                    net,
                    _divisible(block.width * self.filter_scale),
                    stride=1 if dense else block.stride,
                    rate=dilation,
                )
            if dense:
                dilation *= block.stride
            else:
                stride *= block.stride
            if number in names:
                features[names[number]] = net
            if number == _C3_BLOCK and self.halve_after_c3:
                net = layers.halve(net)
        return features


def _inverted_residual(inputs: tf.Tensor, width: int, *, stride: int, rate: int, expansion: int = 6) -> tf.Tensor:
    """Expand 1x1, depthwise 3x3, project 1x1, and the shortcut where shapes allow it."""
    depth = inputs.shape[-1]
    expanded = _divisible(depth * expansion)
    net = inputs
    if expanded > depth:
        net = slim.conv2d(net, expanded, 1, scope='expand')
    net = slim.separable_conv2d(
        net, None, 3, depth_multiplier=1, stride=stride, rate=rate, padding='SAME', scope='depthwise'
    )
    net = slim.conv2d(net, width, 1, activation_fn=None, scope='project')
    return net + inputs if stride == 1 and width == depth else net


def _divisible(width: float, divisor: int = 8) -> int:
    """`width` rounded to a multiple of `divisor`, at least `divisor`, and never below 0.9 of it."""
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded
