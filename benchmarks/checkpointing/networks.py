"""The networks that are measured: those of the project on ResNet-50, and a plain residual chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf
from google.protobuf import text_format

from benchmarks.checkpointing.cases import Case
from builders import model_builder
from core import layers
from core.feature_extractor import FeatureExtractor
from core.fields import LOGITS
from core.losses import SoftmaxCrossEntropy
from core.model import LossTerm, SegmentationModel
from protos import model_pb2
from third_party import slim

NUM_CLASSES = 19
_BLOCK_CHANNELS = 32


def build(case: Case) -> SegmentationModel:
    """The network of a case, without its variables yet."""
    if case.model.startswith('chain'):
        return chain(int(case.model.removeprefix('chain')))
    config = text_format.Parse(
        f"""{case.model} {{
          num_classes: {NUM_CLASSES} filter_scale: {case.filter_scale} pooling_factors: [1, 2, 3, 6]
          feature_extractor {{ type: 'dilated_resnet50' }}
          hyperparams {{ regularizer {{ l2_regularizer {{ weight: 0.0001 }} }} }}
          loss {{ use_auxiliary_loss: true }}
        }}""",
        model_pb2.FastSegmentationModel(),
    )
    return model_builder.build(config)


def chain(depth: int) -> SegmentationModel:
    """`depth` residual blocks of one resolution: features + ReLU6(batch norm(3x3 convolution of features))."""
    return _Chain(
        num_classes=NUM_CLASSES,
        feature_extractor=_Blocks(depth),
        hyperparams=layers.Hyperparams(initializer=slim.variance_scaling_initializer()),
        pixel_loss=SoftmaxCrossEntropy(),
    )


class _Blocks(FeatureExtractor):
    scope = 'blocks'
    channel_means = (0.0, 0.0, 0.0)
    channel_scale = 255.0

    def __init__(self, depth: int):
        super().__init__()
        self._depth = depth

    def __call__(self, images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        with tf.compat.v1.variable_scope(self.scope):
            features = slim.conv2d(images, _BLOCK_CHANNELS, 3, scope='stem')
            for number in range(self._depth):
                features += slim.conv2d(features, _BLOCK_CHANNELS, 3, scope=f'block_{number}')
        return {'c1': features}


class _Chain(SegmentationModel):
    @property
    def loss_terms(self) -> Sequence[LossTerm]:
        return [LossTerm(name='loss', head=LOGITS, weight=1.0)]

    def _predict(self, images: tf.Tensor, *, is_training: bool) -> dict[str, tf.Tensor]:
        features = self._extract_features(images, is_training=is_training)
        return {LOGITS: self._classifier(features['c1'], 'classifier')}
