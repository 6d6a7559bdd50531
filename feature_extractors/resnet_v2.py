"""ResNet v2, normalised before each convolution (He et al., arXiv:1603.05027), under slim's variable names."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from core import layers
from feature_extractors.resnet_v1 import ResNet, blocks_of, conv2d_same, subsample
from third_party import slim


class ResNetV2_50(ResNet):
    """c3 [256 f], c4 [512 f], c5 [2048 f] at filter scale f.

    c1 to c4 are sums that nothing has normalised yet; c5 has passed the last normalisation (`postnorm`). slim trained
    its v2 checkpoints on images in -1..1, so that is the preprocessing.
    """

    scope = 'resnet_v2_50'
    channel_means = (127.5, 127.5, 127.5)
    channel_scale = 127.5
    blocks = blocks_of(3, 4, 6, 3)

    def __call__(self, images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        with tf.compat.v1.variable_scope(self.scope), slim.arg_scope([slim.conv2d], activation_fn=tf.nn.relu):
            features = self._build(images)
            features['c5'] = layers.normalize(features['c5'], activation_fn=tf.nn.relu, scope='postnorm')
            return features

    def _root(self, images: tf.Tensor, width: int) -> tf.Tensor:
        with slim.arg_scope([slim.conv2d], activation_fn=None, normalizer_fn=None):
            return conv2d_same(images, width, 7, stride=2, scope='conv1')

    def _unit(self, inputs: tf.Tensor, depth: int, width: int, *, stride: int, rate: int) -> tuple[tf.Tensor, int]:
        narrow, wide = self._width(width), self._width(4 * width)
        with tf.compat.v1.variable_scope('bottleneck_v2'):
            active = layers.normalize(inputs, activation_fn=tf.nn.relu, scope='preact')
            if depth == wide:
                shortcut = subsample(inputs, stride)
            else:
                shortcut = _plain(active, wide, stride=stride, scope='shortcut')
            residual = slim.conv2d(active, narrow, 1, scope='conv1')
            residual = conv2d_same(residual, narrow, 3, stride=stride, rate=rate, scope='conv2')
            return shortcut + _plain(residual, wide, stride=1, scope='conv3'), wide


def _plain(inputs: tf.Tensor, width: int, *, stride: int, scope: str) -> tf.Tensor:
    """1x1 convolution with bias alone."""
    return slim.conv2d(inputs, width, 1, stride=stride, normalizer_fn=None, activation_fn=None, scope=scope)
