"""PSPNet (Zhao et al., arXiv:1612.01105): a dilated backbone and a pyramid of pooled context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from core import layers
from core.fields import LOGITS
from core.grid_convolution import convolve_enlarged_grids
from core.model import LossTerm, SegmentationModel
from third_party import slim

_AUXILIARY = 'auxiliary_logits'


class PSPNet(SegmentationModel):
    """Features at the extractor's output stride, pyramid pooling, classifier; an auxiliary head on `c4` while training.

    The paper's output stride is 8.

    Args:
      pooling_factors: the pyramid's levels; factor n pools an n x n grid. [1, 2, 3, 6] in the paper.
      use_auxiliary_loss: train the auxiliary head (section 3.3 of the paper).
      auxiliary_loss_weight: its weight, 0.4 in the paper.
      upsample_logits: score the losses at the image's size instead of a label map reduced to that stride.
      filter_scale: width of the module's last convolution; the backbone has its own.
      kwargs: see `SegmentationModel`.
    """

    def __init__(
        self,
        *,
        pooling_factors: Sequence[float],
        use_auxiliary_loss: bool = False,
        auxiliary_loss_weight: float = 0.4,
        upsample_logits: bool = False,
        filter_scale: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._pooling_factors = check_pooling_factors(pooling_factors)
        self._use_auxiliary_loss = use_auxiliary_loss
        self._filter_scale = filter_scale
        factor = self.feature_extractor.output_stride if upsample_logits else 1
        self._loss_terms = [LossTerm(name='loss', head=LOGITS, weight=1.0, upsample_factor=factor)]
        if use_auxiliary_loss:
            self._loss_terms.append(
                LossTerm(name='aux_loss', head=_AUXILIARY, weight=auxiliary_loss_weight, upsample_factor=factor)
            )

    @property
    def loss_terms(self) -> Sequence[LossTerm]:
        return self._loss_terms

    def _predict(self, images: tf.Tensor, *, is_training: bool) -> dict[str, tf.Tensor]:
        features = self._extract_features(images, is_training=is_training)
        context = self._pyramid_pooling(features['c5'], is_training=is_training)
        with tf.compat.v1.variable_scope('Predictions'):
            logits = self._classifier(context, scope='Conv')
        if not is_training:
            return {LOGITS: logits}
        predictions = {LOGITS: logits}
        if self._use_auxiliary_loss:
            with tf.compat.v1.variable_scope('AuxPredictions'):
                predictions[_AUXILIARY] = self._classifier(features['c4'], scope='AuxOutput')
        return predictions

    def _pyramid_pooling(self, features: tf.Tensor, *, is_training: bool) -> tf.Tensor:
        """[B, h, w, C] -> [B, h, w, 512 f]; the levels' own convolutions keep 512 filters at any filter scale."""
        with tf.compat.v1.variable_scope('PSPModule'):
            levels = [
                slim.conv2d(layers.average_pool_grid(features, factor), 512, 1, scope=numbered('Conv', number))
                for number, factor in enumerate(self._pooling_factors)
            ]
            return self._fuse(features, levels, scope=numbered('Conv', len(levels)), is_training=is_training)

    def _fuse(self, features: tf.Tensor, levels: Sequence[tf.Tensor], *, scope: str, is_training: bool) -> tf.Tensor:
        """Features and enlarged levels side by side, then a 3x3 convolution and its norm.

        In a training of fixed size the levels' share of the convolution is computed on their grids, and added.
        """
        size = layers.spatial_size(features)
        kernel = self._kernel_to_reorder(scope, features, is_training=is_training)
        if kernel is None:
            branches = [features, *(layers.resize_bilinear(level, size) for level in levels)]
            width = layers.scaled_width(512, self._filter_scale)
            return slim.conv2d(tf.concat(branches, axis=-1), width, 3, scope=scope)
        own, *shares = tf.split(kernel, [branch.shape[-1] for branch in (features, *levels)], axis=2)
        context = convolve_enlarged_grids(levels, shares, size)
        fused = layers.add_all([tf.nn.conv2d(features, own, 1, 'SAME'), context])
        return self._normalize(fused, scope, activation_fn=tf.nn.relu6)


def check_pooling_factors(pooling_factors: Sequence[float]) -> list[float]:
    """The factors as a list; raises ValueError if there is none or one is below 1."""
    factors = [float(factor) for factor in pooling_factors]
    if not factors or min(factors) < 1:
        raise ValueError(f'pooling_factors must be one or more numbers of 1 or more, got {factors}')
    return factors


def numbered(name: str, number: int) -> str:
    """TF1's name for the number-th scope of one name: Conv, Conv_1, Conv_2..."""
    return name if number == 0 else f'{name}_{number}'
