"""Inception V1, GoogLeNet with batch norm (Szegedy et al., arXiv:1409.4842, table 1), under slim's variable names.

slim's checkpoint has no gamma (`batch_norm { scale: false }` gives exactly its variables) and epsilon 0.001. tf-slim's
own inception_v1 can neither dilate nor scale its width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from core import layers
from core.feature_extractor import FeatureExtractor, StrideBudget
from third_party import slim


@dataclasses.dataclass(frozen=True)
class _Mixed:
    """Widths of a module's four branches: 1x1; 1x1 then 3x3; 1x1 then 3x3; pooling then 1x1."""

    name: str
    branch_0: int
    branch_1: tuple[int, int]
    branch_2: tuple[int, int]
    branch_3: int


_STAGE_3 = (
    _Mixed('Mixed_3b', 64, (96, 128), (16, 32), 32),
    _Mixed('Mixed_3c', 128, (128, 192), (32, 96), 64),
)
_STAGE_4 = (
    _Mixed('Mixed_4b', 192, (96, 208), (16, 48), 64),
    _Mixed('Mixed_4c', 160, (112, 224), (24, 64), 64),
    _Mixed('Mixed_4d', 128, (128, 256), (24, 64), 64),
    _Mixed('Mixed_4e', 112, (144, 288), (32, 64), 64),
    _Mixed('Mixed_4f', 256, (160, 320), (32, 128), 128),
)
_STAGE_5 = (
    _Mixed('Mixed_5b', 256, (160, 320), (32, 128), 128),
    _Mixed('Mixed_5c', 384, (192, 384), (48, 128), 128),
)
# slim misnamed one convolution, and its checkpoint has the name.
_MISNAMED = {'Mixed_5b': 'Conv2d_0a_3x3'}


class InceptionV1(FeatureExtractor):
    """Features end their stages: c3 Mixed_3c [480 f], c4 Mixed_4f [832 f], c5 Mixed_5c [1024 f] at filter scale f."""

    scope = 'InceptionV1'
    channel_means = (127.5, 127.5, 127.5)
    channel_scale = 127.5

    def __call__(self, images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        features: dict[str, tf.Tensor] = {}
        budget = StrideBudget(self.output_stride)
        with tf.compat.v1.variable_scope(self.scope), slim.arg_scope([slim.conv2d], activation_fn=tf.nn.relu):
            net = self._conv(images, 64, 7, stride=budget.spend(2)[0], scope='Conv2d_1a_7x7')
            net = self._end_stage(features, 'c1', net)
            net = layers.max_pool(net, 3, stride=budget.spend(2)[0])
            net = self._conv(net, 64, 1, scope='Conv2d_2b_1x1')
            net = self._conv(net, 192, 3, scope='Conv2d_2c_3x3')
            net = self._end_stage(features, 'c2', net)
            for name, pool_size, modules in (('c3', 3, _STAGE_3), ('c4', 3, _STAGE_4), ('c5', 2, _STAGE_5)):
                stride, rate = budget.spend(2)
                net = layers.max_pool(net, pool_size, stride=stride, rate=rate)
                for module in modules:
                    net = self._mixed(net, module, rate=budget.rate)
                net = self._end_stage(features, name, net)
        return features

    def _mixed(self, net: tf.Tensor, module: _Mixed, *, rate: int) -> tf.Tensor:
        name = _MISNAMED.get(module.name, 'Conv2d_0b_3x3')
        with tf.compat.v1.variable_scope(module.name):
            with tf.compat.v1.variable_scope('Branch_0'):
                branches = [self._conv(net, module.branch_0, 1, scope='Conv2d_0a_1x1')]
            with tf.compat.v1.variable_scope('Branch_1'):
                reduced = self._conv(net, module.branch_1[0], 1, scope='Conv2d_0a_1x1')
                branches.append(self._conv(reduced, module.branch_1[1], 3, rate=rate, scope='Conv2d_0b_3x3'))
            with tf.compat.v1.variable_scope('Branch_2'):
                reduced = self._conv(net, module.branch_2[0], 1, scope='Conv2d_0a_1x1')
                branches.append(self._conv(reduced, module.branch_2[1], 3, rate=rate, scope=name))
            with tf.compat.v1.variable_scope('Branch_3'):
                pooled = layers.max_pool(net, 3, stride=1, rate=rate)
                branches.append(self._conv(pooled, module.branch_3, 1, scope='Conv2d_0b_1x1'))
        return tf.concat(branches, axis=-1)

    def _conv(
        self, net: tf.Tensor, width: int, kernel_size: int, *, scope: str, stride: int = 1, rate: int = 1
    ) -> tf.Tensor:
        width = layers.scaled_width(width, self.filter_scale)
        return slim.conv2d(net, width, kernel_size, stride=stride, rate=rate, padding='SAME', scope=scope)
