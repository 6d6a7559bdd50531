"""MobileNetV2 (Sandler et al., arXiv:1801.04381, table 2) under slim's variable names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from core.feature_extractor import FeatureExtractor, StrideBudget
from third_party import slim


@dataclasses.dataclass(frozen=True)
class _Block:
    """An inverted residual: output width at filter scale 1, and stride."""

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


class MobileNetV2(FeatureExtractor):
    """Features end their stages: c3 [32 f], c4 [96 f], c5 [320 f]; filter scale f is the paper's width multiplier.

    Widths are rounded to multiples of 8, as slim's. The 1280 filters behind the last block belong to the classifier.
    """

    scope = 'MobilenetV2'
    channel_means = (127.5, 127.5, 127.5)
    channel_scale = 127.5
    _feature_of_block = {2: 'c2', 5: 'c3', 12: 'c4', 16: 'c5'}
    # A block of stride 2 has no shortcut. The reference adds one where dilation replaces the stride and the widths
    # agree, which happens at filter scales below 0.2 alone.
    _shortcut_over_lost_stride = False

    def __call__(self, images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        features: dict[str, tf.Tensor] = {}
        budget = StrideBudget(self.output_stride)
        feature_of_block = self._feature_of_block
        with tf.compat.v1.variable_scope(self.scope):
            depth = self._first_width(32)
            net = slim.conv2d(images, depth, 3, stride=budget.spend(2)[0], padding='SAME', scope='Conv')
            with tf.compat.v1.variable_scope('expanded_conv'):
                net = _inverted_residual(net, depth, self._first_width(16), stride=1, rate=1, expansion=1)
            depth = self._first_width(16)
            net = self._end_stage(features, 'c1', net)
            for number, block in enumerate(_BLOCKS[: max(feature_of_block)], start=1):
                stride, rate = budget.spend(block.stride)
                with tf.compat.v1.variable_scope(f'expanded_conv_{number}'):
                    width = _divisible(block.width * self.filter_scale)
                    shortcut = (stride if self._shortcut_over_lost_stride else block.stride) == 1
                    net = _inverted_residual(net, depth, width, stride=stride, rate=rate, shortcut=shortcut)
                depth = width
                if number in feature_of_block:
                    net = self._end_stage(features, feature_of_block[number], net)
        return features

    def _first_width(self, width: int) -> int:
        """Filters of the two layers in front of the numbered blocks."""
        return _divisible(width * self.filter_scale)


class DilatedMobileNetV2(MobileNetV2):
    """MobileNetV2 as the reference has it: output stride 8; c3 [32 f] and c4 [64 f] are the first of their stages.

    The first two layers keep their 32 and 16 filters at every filter scale. Halved behind stride 8, the net ends one
    block earlier (c5 of 160 f filters) and c4 is the last block of 32 f: the reference numbers its layers through the
    resize, and its checkpoints have these shapes.
    """

    _shortcut_over_lost_stride = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        halved = self.halve_at_stride is not None
        self._feature_of_block = {2: 'c2', 3: 'c3', **({5: 'c4', 15: 'c5'} if halved else {6: 'c4', 16: 'c5'})}

    def _first_width(self, width: int) -> int:
        return width


def _inverted_residual(
    inputs: tf.Tensor, depth: int, width: int, *, stride: int, rate: int, expansion: int = 6, shortcut: bool = True
) -> tf.Tensor:
    """Expand 1x1, depthwise 3x3, project 1x1, and the shortcut where it is wanted and nominal depths agree."""
    expanded = depth if expansion == 1 else _divisible(depth * expansion)
    net = inputs
    if expanded > depth:
        net = slim.conv2d(net, expanded, 1, scope='expand')
    net = slim.separable_conv2d(
        net, None, 3, depth_multiplier=1, stride=stride, rate=rate, padding='SAME', scope='depthwise'
    )
    net = slim.conv2d(net, width, 1, activation_fn=None, scope='project')
    return net + inputs if shortcut and width == depth else net


def _divisible(width: float, divisor: int = 8) -> int:
    """`width` rounded to a multiple of `divisor`, at least `divisor`, and never below 0.9 of it."""
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded
