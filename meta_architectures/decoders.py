"""Decoders: features of several strides in, logits out. One small class each."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from core import layers
from third_party import slim


class Decoder(abc.ABC):
    """A plain callable that builds slim layers; the model owns the variables and calls it under `Predictions`.

    So all of a decoder's variables start with `Predictions/`, which `segmentation-finetune` leaves out: a decoder, like
    a number of classes, is changed without touching the rest.

    Attributes:
      stride: pixels of the image per pixel of the logits.
    """

    stride: int

    @abc.abstractmethod
    def __call__(self, features: Mapping[int, tf.Tensor], *, num_classes: int) -> tf.Tensor:
        """{stride: [B, h, w, C]}, the deepest feature of each stride -> logits [B, h, w, num_classes] at `stride`."""


class SkipFusion(Decoder):
    """Scores of each stride, from coarse to fine: enlarged twice, added to the next (arXiv:1605.06211, figure 3).

    Args:
      stride: where it ends: 32 (FCN-32s) has no skip, 16 one, 8 two.
      learned_upsampling: a transposed convolution of 4x4 that starts as bilinear interpolation (section 3.3);
        without it bilinear resizing, corners aligned.
      zero_scores: score layers start at zero, as the paper trains; without it at the model's initializer.
    """

    def __init__(self, *, stride: int, learned_upsampling: bool = True, zero_scores: bool = True):
        if stride not in (8, 16, 32):
            raise ValueError(f'stride must be 8, 16 or 32, got {stride}')
        self.stride = stride
        self._learned = learned_upsampling
        self._zero_scores = zero_scores

    def __call__(self, features: Mapping[int, tf.Tensor], *, num_classes: int) -> tf.Tensor:
        strides = sorted((stride for stride in features if stride >= self.stride), reverse=True)
        if not strides or strides[-1] != self.stride:
            raise ValueError(f'no feature of stride {self.stride}, only {sorted(features)}')
        fused = self._scores(features[strides[0]], strides[0], num_classes)
        for coarse, fine in itertools.pairwise(strides):
            scores = self._scores(features[fine], fine, num_classes)
            fused = self._enlarge(fused, layers.spatial_size(scores), f'upscore_{coarse}') + scores
        return fused

    def _scores(self, features: tf.Tensor, stride: int, num_classes: int) -> tf.Tensor:
        start = {'weights_initializer': tf.compat.v1.zeros_initializer()} if self._zero_scores else {}
        return layers.class_scores(features, num_classes, scope=f'score_{stride}', **start)

    def _enlarge(self, scores: tf.Tensor, size: tuple[layers.Size, layers.Size], scope: str) -> tf.Tensor:
        if not self._learned:
            return layers.resize_bilinear(scores, size)
        doubled = slim.conv2d_transpose(
            scores,
            scores.shape[-1],
            4,
            stride=2,
            weights_initializer=bilinear_initializer,
            biases_initializer=None,
            activation_fn=None,
            normalizer_fn=None,
            fixed_width=True,
            scope=scope,
        )
        # Padded strides round up, so the finer map is one pixel short of twice the coarser at odd sizes.
        cropped = tf.slice(doubled, [0, 0, 0, 0], [-1, size[0], size[1], -1])
        cropped.set_shape([None, None, None, scores.shape[-1]])
        return cropped


def bilinear_initializer(shape, dtype=tf.float32, partition_info=None) -> tf.Tensor:
    """Transposed kernel [k, k, C, C] of stride k // 2 that interpolates each channel by itself (k even)."""
    del partition_info
    size, _, outputs, inputs = (int(side) for side in shape)
    ramp = 1 - np.abs(np.arange(size) - (size - 1) / 2) / (size / 2)
    return tf.constant(np.outer(ramp, ramp)[:, :, None, None] * np.eye(outputs, inputs), dtype)
