"""MobileNet V1 (Howard et al., arXiv:1704.04861, table 1) under slim's variable names."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from core.feature_extractor import FeatureExtractor, StrideBudget
from third_party import slim

# Width and stride of each depthwise separable layer, Conv2d_1 to Conv2d_13.
_LAYERS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
_FEATURE_OF_LAYER = {1: 'c1', 3: 'c2', 5: 'c3', 11: 'c4', 13: 'c5'}
_LEAST_WIDTH = 8


class MobileNetV1(FeatureExtractor):
    """Features end their stages: c3 [256 f], c4 [512 f], c5 [1024 f]; filter scale f is the paper's width multiplier.

    Widths are rounded down and never below 8, as slim's.
    """

    scope = 'MobilenetV1'
    channel_means = (127.5, 127.5, 127.5)
    channel_scale = 127.5

    def __call__(self, images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        features: dict[str, tf.Tensor] = {}
        budget = StrideBudget(self.output_stride)
        with tf.compat.v1.variable_scope(self.scope):
            net = slim.conv2d(images, self._width(32), 3, stride=budget.spend(2)[0], padding='SAME', scope='Conv2d_0')
            for number, (width, nominal_stride) in enumerate(_LAYERS, start=1):
                stride, rate = budget.spend(nominal_stride)
                net = slim.separable_conv2d(
                    net, None, 3, depth_multiplier=1, stride=stride, rate=rate, scope=f'Conv2d_{number}_depthwise'
                )
                net = slim.conv2d(net, self._width(width), 1, scope=f'Conv2d_{number}_pointwise')
                if number in _FEATURE_OF_LAYER:
                    net = self._end_stage(features, _FEATURE_OF_LAYER[number], net)
        return features

    def _width(self, width: int) -> int:
        return max(int(width * self.filter_scale), _LEAST_WIDTH)
