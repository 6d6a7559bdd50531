"""Fully convolutional network (Shelhamer, Long and Darrell, arXiv:1605.06211): any extractor, any decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from core.fields import LOGITS
from core.model import LossTerm, SegmentationModel
from meta_architectures.decoders import Decoder
from third_party import slim


class FCN(SegmentationModel):
    """The deepest feature of each stride goes to the decoder; its logits are enlarged to the image.

    The last enlargement is bilinear and not learned, as in the paper.

    Args:
      decoder: see `decoders.Decoder`; `SkipFusion` is the paper's.
      dropout_keep_prob: share of activations that training keeps wherever the extractor drops some: behind fc6 and
        fc7 of the fully convolutional VGG-16. 0.5 in the paper.
      upsample_logits: score the loss at the image's size, as the paper does, instead of a label map reduced to the
        decoder's stride.
      kwargs: see `SegmentationModel`.
    """

    def __init__(
        self, *, decoder: Decoder, dropout_keep_prob: float = 0.5, upsample_logits: bool = False, **kwargs: Any
    ):
        super().__init__(**kwargs)
        if not 0.0 < dropout_keep_prob <= 1.0:
            raise ValueError(f'dropout_keep_prob must be in (0, 1], got {dropout_keep_prob}')
        if decoder.stride > self.feature_extractor.output_stride:
            raise ValueError(
                f'the decoder ends at stride {decoder.stride}, but the extractor has no feature beyond '
                f'{self.feature_extractor.output_stride}'
            )
        self._decoder = decoder
        self._dropout_keep_prob = dropout_keep_prob
        factor = decoder.stride if upsample_logits else 1
        self._loss_terms = [LossTerm(name='loss', head=LOGITS, weight=1.0, upsample_factor=factor)]

    @property
    def loss_terms(self) -> Sequence[LossTerm]:
        return self._loss_terms

    def _predict(self, images: tf.Tensor, *, is_training: bool) -> dict[str, tf.Tensor]:
        with slim.arg_scope([slim.dropout], keep_prob=self._dropout_keep_prob):
            features = self._extract_features(images, is_training=is_training)
        # A later feature of the same stride replaces the earlier one.
        by_stride = {
            stride: features[name] for name, stride in self.feature_extractor.strides.items() if name in features
        }
        with tf.compat.v1.variable_scope('Predictions'):
            return {LOGITS: self._decoder(by_stride, num_classes=self.num_classes)}
