"""VGG-16 (Simonyan and Zisserman, arXiv:1409.1556, configuration D) under slim's variable names.

tf-slim's own vgg_16 cannot dilate, and its pooling drops the last row and column of odd sizes; here pooling is padded,
so a map of 2k + 1 pixels becomes one of k + 1. Like slim's it has biases and no normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from core import layers
from core.feature_extractor import FeatureExtractor, StrideBudget
from feature_extractors.resnet_v1 import IMAGENET_MEAN
from third_party import slim

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # width, number of 3x3 convolutions


class VGG16(FeatureExtractor):
    """Features c1 to c5 are pool1 to pool5, of 64, 128, 256, 512 and 512 filters at filter scale 1."""

    scope = 'vgg_16'
    channel_means = IMAGENET_MEAN

    def __call__(self, images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        features: dict[str, tf.Tensor] = {}
        budget = StrideBudget(self.output_stride)
        net = images
        with tf.compat.v1.variable_scope(self.scope), self._layer_scope():
            for number, (width, num_convolutions) in enumerate(_STAGES, start=1):
                with tf.compat.v1.variable_scope(f'conv{number}'):
                    for index in range(1, num_convolutions + 1):
                        scaled = layers.scaled_width(width, self.filter_scale)
                        net = slim.conv2d(net, scaled, 3, rate=budget.rate, scope=f'conv{number}_{index}')
                stride, rate = budget.spend(2)
                net = layers.max_pool(net, 2, stride=stride, rate=rate)
                net = self._end_stage(features, f'c{number}', net)
            features['c5'] = self._head(net, budget.rate)
        return features

    def _layer_scope(self):
        return slim.arg_scope([slim.conv2d], activation_fn=tf.nn.relu, normalizer_fn=None)

    def _head(self, net: tf.Tensor, rate: int) -> tf.Tensor:
        del rate
        return net


class VGG16FullyConvolutional(VGG16):
    """VGG-16 with its fully connected layers as convolutions, 7x7 and 1x1: c5 is fc7 [4096 f].

    Long, Shelhamer and Darrell, arXiv:1605.06211, section 3.1. Padded, so c5 has the size of pool5 where the paper pads
    the image by 100 pixels instead. Dropout follows each of the two; its share is the caller's, through
    `arg_scope([slim.dropout])`.
    """

    def _head(self, net: tf.Tensor, rate: int) -> tf.Tensor:
        width = layers.scaled_width(4096, self.filter_scale)
        net = slim.conv2d(net, width, 7, rate=rate, scope='fc6')
        net = slim.dropout(net, scope='dropout6')
        net = slim.conv2d(net, width, 1, scope='fc7')
        return slim.dropout(net, scope='dropout7')
