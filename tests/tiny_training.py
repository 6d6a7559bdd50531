"""A network and batches so small that a training run takes a second; the network is made of the real parts."""

from __future__ import annotations

import logging
import sys

import numpy as np
import tensorflow as tf
from google.protobuf import text_format

from core import layers
from core.feature_extractor import FeatureExtractor
from core.losses import SoftmaxCrossEntropy
from core.model import LossTerm, SegmentationModel
from protos.pipeline_pb2 import PipelineConfig
from third_party import slim

HEIGHT, WIDTH = 9, 13

CONFIG = """
model { icnet { num_classes: 3 } }
train_config {
  batch_size: 2 num_steps: 6 log_every_n_steps: 2 random_seed: 3
  optimizer { momentum_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.05 } } } }
}
train_input_reader { num_examples: 8 tf_record_input_reader { input_path: "unused" } }
"""


class TinyExtractor(FeatureExtractor):
    """One convolution with batch norm."""

    scope = 'tiny'
    channel_means = (128.0, 128.0, 128.0)
    channel_scale = 64.0

    def __call__(self, images):
        with tf.compat.v1.variable_scope(self.scope):
            return {'c5': slim.conv2d(images, 4, 3, scope='conv1')}


class TinyModel(SegmentationModel):
    """The extractor and a classifier under `Predictions`."""

    @property
    def loss_terms(self):
        return (LossTerm(name='loss', head='logits', weight=1.0),)

    def _predict(self, images, *, is_training):
        features = self._extract_features(images, is_training=is_training)
        with tf.compat.v1.variable_scope('Predictions'):
            return {'logits': self._classifier(features['c5'], 'Conv')}


def build_model(config, *, freeze_backbone: bool = False, kind: type[TinyModel] = TinyModel) -> TinyModel:
    """As `model_builder.build`; the class count, and whether batch norm is synchronised, are the config's."""
    return kind(
        num_classes=config.icnet.num_classes,
        feature_extractor=TinyExtractor(),
        hyperparams=layers.Hyperparams(
            initializer=slim.variance_scaling_initializer(),
            regularizer=tf.keras.regularizers.l2(1e-3),
            batch_norm=layers.BatchNorm(decay=0.9, synchronized=config.icnet.hyperparams.batch_norm.synchronized),
        ),
        pixel_loss=SoftmaxCrossEntropy(),
        freeze_backbone=freeze_backbone,
    )


def build_dataset(config, *, batch_size: int, seed: int, first_step: int = 0, poison_step: int = -1):
    """As `input_builder.build_train`: the class of a pixel is its brightest channel; step `poison_step` is all NaN."""
    del config

    def example(index):
        image = tf.random.stateless_uniform([HEIGHT, WIDTH, 3], tf.stack([tf.constant(seed, tf.int64), index]), 0, 255)
        poisoned = tf.equal(index // batch_size, poison_step)
        return {
            'image': tf.where(poisoned, np.nan, image),
            'label': tf.argmax(image, axis=-1, output_type=tf.int32),
            'filename': tf.strings.format('street_{}.png', index),
        }

    examples = tf.data.Dataset.range(first_step * batch_size, 2**40).map(example)
    return examples.batch(batch_size, drop_remainder=True)


def config(*overrides: str) -> PipelineConfig:
    """CONFIG merged with each text-format message of `overrides`."""
    message = text_format.Parse(CONFIG, PipelineConfig())
    for override in overrides:
        text_format.Merge(override, message)
    return message


def main(logdir: str, override: str, num_clones: str) -> None:
    """`python -m tests.tiny_training LOGDIR OVERRIDE NUM_CLONES` trains in a process of its own."""
    from engine.train_lib import TrainOptions, train

    logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)
    options = TrainOptions(logdir=logdir, num_clones=int(num_clones), clone_on_cpu=int(num_clones) > 1)
    train(config(override), options, build_model=build_model, build_dataset=build_dataset)


if __name__ == '__main__':
    main(*sys.argv[1:])
