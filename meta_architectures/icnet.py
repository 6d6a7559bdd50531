"""ICNet (Zhao et al., arXiv:1704.08545): three resolutions, fused from coarse to fine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from core import layers
from core.enlarged_convolution import convolve_enlarged
from core.fields import LOGITS
from core.model import LossTerm, SegmentationModel
from meta_architectures.pspnet import check_pooling_factors, numbered
from third_party import slim

HALVED_STRIDE = 8  # behind this stride the backbone halves its features: 1/16 of the image becomes 1/32

_FIRST_AUXILIARY = 'first_auxiliary_logits'
_SECOND_AUXILIARY = 'second_auxiliary_logits'
_SINGLE_BRANCH_AUXILIARY = 'single_branch_auxiliary_logits'
_STRIDE = 4
_SINGLE_BRANCH_STRIDE = 8
_SINGLE_BRANCH_AUXILIARY_WEIGHT = 0.4  # as PSPNet's auxiliary loss; the reference has no field for it


@dataclasses.dataclass(frozen=True, kw_only=True)
class BranchWeights:
    """Weights of the losses of the fused (main), 1/8 (second) and 1/16 (first) branch; equation 1 of the paper."""

    main: float = 1.0
    second: float = 0.4
    first: float = 0.4


class ICNet(SegmentationModel):
    """The backbone sees the image at half, later a quarter of its size; a light branch sees all of it.

    The branches meet at strides, whatever the extractor: its last feature of stride 8 is 1/16 of the image, c5 is 1/32.

    Args:
      pooling_factors: levels of the fast pyramid pooling module; factor n pools an n x n grid.
      branch_weights: weights of the three losses.
      use_auxiliary_loss: train the two lower branches' own classifiers; without it the main loss has weight 1.
      pretrain_single_branch_mode: only the backbone on the full image with pyramid pooling, a PSPNet-like first stage.
      upsample_logits: score the losses after enlarging each head by the output stride.
      filter_scale: width of the heads; the backbone has its own.
      kwargs: see `SegmentationModel`.
    """

    def __init__(
        self,
        *,
        pooling_factors: Sequence[float],
        branch_weights: BranchWeights | None = None,
        use_auxiliary_loss: bool = False,
        pretrain_single_branch_mode: bool = False,
        upsample_logits: bool = False,
        filter_scale: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        wanted = None if pretrain_single_branch_mode else HALVED_STRIDE
        if self.feature_extractor.halve_at_stride != wanted or self.feature_extractor.output_stride != HALVED_STRIDE:
            raise ValueError(
                f'ICNet needs an extractor of output stride {HALVED_STRIDE} with halve_at_stride {wanted}, got '
                f'{self.feature_extractor.output_stride} with {self.feature_extractor.halve_at_stride}'
            )
        self._pooling_factors = check_pooling_factors(pooling_factors)
        self._use_auxiliary_loss = use_auxiliary_loss
        self._single_branch = pretrain_single_branch_mode
        self._filter_scale = filter_scale
        self._loss_terms = self._make_loss_terms(branch_weights or BranchWeights(), upsample_logits)

    @property
    def loss_terms(self) -> Sequence[LossTerm]:
        return self._loss_terms

    def _make_loss_terms(self, weights: BranchWeights, upsample: bool) -> list[LossTerm]:
        stride = _SINGLE_BRANCH_STRIDE if self._single_branch else _STRIDE
        factor = stride if upsample else 1
        if not self._use_auxiliary_loss:
            return [LossTerm(name='loss', head=LOGITS, weight=1.0, upsample_factor=factor)]
        terms = [LossTerm(name='loss', head=LOGITS, weight=weights.main, upsample_factor=factor)]
        if self._single_branch:
            return [
                *terms,
                LossTerm(
                    name='pretrain_single_branch_mode_loss',
                    head=_SINGLE_BRANCH_AUXILIARY,
                    weight=_SINGLE_BRANCH_AUXILIARY_WEIGHT,
                ),
            ]
        for name, head, weight in (
            ('first_aux_loss', _FIRST_AUXILIARY, weights.first),
            ('second_aux_loss', _SECOND_AUXILIARY, weights.second),
        ):
            terms.append(LossTerm(name=name, head=head, weight=weight, upsample_factor=factor))
        return terms

    def _predict(self, images: tf.Tensor, *, is_training: bool) -> dict[str, tf.Tensor]:
        # First, so that the backward pass comes to it last, when nothing else waits: its activations are the largest.
        fine = None if self._single_branch else self._high_resolution_branch(images)
        backbone_images = images if fine is None else layers.halve(images)
        features = self._extract_features(backbone_images, is_training=is_training)
        coarse = self._pyramid_pooling(features['c5'])
        if fine is None:
            return self._single_branch_heads(coarse, features['c4'], is_training=is_training)
        middle = features[self.feature_extractor.deepest(HALVED_STRIDE)]
        first = self._cascade_feature_fusion(coarse, middle, number=0, is_training=is_training)
        second = self._cascade_feature_fusion(first, fine, number=1, is_training=is_training)
        if not is_training:
            return {LOGITS: self._main_scores(layers.enlarge(second, 2))}
        heads = {LOGITS: self._enlarged_scores(second, scope='Predictions/Conv')}
        if self._use_auxiliary_loss:
            heads[_FIRST_AUXILIARY] = self._enlarged_scores(coarse, scope='AuxOutput')
            heads[_SECOND_AUXILIARY] = self._enlarged_scores(first, scope='AuxOutput_1')
        return heads

    def _single_branch_heads(self, coarse: tf.Tensor, middle: tf.Tensor, *, is_training: bool) -> dict[str, tf.Tensor]:
        heads = {LOGITS: self._main_scores(coarse)}
        if is_training and self._use_auxiliary_loss:
            heads[_SINGLE_BRANCH_AUXILIARY] = self._classifier(middle, scope='AuxPredictions/Conv')
        return heads

    def _main_scores(self, features: tf.Tensor) -> tf.Tensor:
        with tf.compat.v1.variable_scope('Predictions'):
            return self._classifier(features, scope='Conv')

    def _enlarged_scores(self, features: tf.Tensor, *, scope: str) -> tf.Tensor:
        """Logits of training, [B, h, w, C] -> [B, 2h - 1, 2w - 1, num_classes].

        An enlargement's weights add up to 1, so that it may change places with a pointwise convolution: the same but
        for rounding as in the paper's order, which inference keeps, on a quarter of the pixels and fewer channels.
        """
        return layers.enlarge(self._classifier(features, scope=scope), 2)

    def _width(self, width: int) -> int:
        return layers.scaled_width(width, self._filter_scale)

    def _pyramid_pooling(self, features: tf.Tensor) -> tf.Tensor:
        """[B, h, w, C] -> [B, h, w, 512 f]: pooled levels are added, not concatenated (the paper's fast module)."""
        size = layers.spatial_size(features)
        levels = [features]
        for factor in self._pooling_factors:
            levels.append(layers.resize_bilinear(layers.average_pool_grid(features, factor), size))
        summed = layers.add_all(levels)
        return slim.conv2d(summed, self._width(512), 1, scope='FastPSPModule/Conv')

    def _high_resolution_branch(self, images: tf.Tensor) -> tf.Tensor:
        """[B, H, W, 3] -> [B, H/8, W/8, 256 f] through four light convolutions."""
        net = images
        for number, (width, stride) in enumerate(((64, 2), (64, 2), (128, 2), (256, 1))):
            net = slim.conv2d(net, self._width(width), 3, stride=stride, scope=numbered('Conv', number))
        return net

    def _cascade_feature_fusion(
        self, coarse: tf.Tensor, fine: tf.Tensor, *, number: int, is_training: bool
    ) -> tf.Tensor:
        """Figure 4 of the paper: `coarse`, enlarged twice, and `fine` -> [B, h, w, 256 f] at the size of `fine`.

        The enlarged map takes the fine one's size without aligned corners, as the reference does; at image sizes of the
        form 32 k + 1 the sizes agree and nothing is resized.
        """
        with tf.compat.v1.variable_scope(numbered('CascadeFeatureFusion', number)):
            width = self._width(256)
            context = self._dilated_context(coarse, width, scope='DilatedConv', is_training=is_training)
            detail = slim.conv2d(fine, width, 1, activation_fn=None, scope='Conv')
            context = layers.resize_bilinear(context, layers.spatial_size(detail), align_corners=False)
            fused = layers.add_all([detail, context])
        return tf.nn.relu(fused)

    def _dilated_context(self, coarse: tf.Tensor, width: int, *, scope: str, is_training: bool) -> tf.Tensor:
        """[B, h, w, C] -> [B, 2h - 1, 2w - 1, width]: enlarged, then a 3x3 convolution of rate 2 and its norm.

        In a training of fixed size the convolution is computed on the map that is not enlarged. The layer is made, with
        its variables, when the model is built.
        """
        kernel = self._kernel_to_reorder(scope, coarse, is_training=is_training)
        if kernel is None:
            return slim.conv2d(layers.enlarge(coarse, 2), width, 3, rate=2, activation_fn=None, scope=scope)
        return self._normalize(convolve_enlarged(coarse, kernel), scope, activation_fn=None)
