"""A network of one 3x3 convolution that obeys the contract of `core.model.SegmentationModel` in inference."""

from __future__ import annotations

import types

import numpy as np
import tensorflow as tf

MEAN = (120.0, 110.0, 100.0)


class FakeModel:
    """Logits [B, H, W, C] of a seeded convolution over mean-subtracted pixels; one more variable is never read."""

    input_channels = 3
    feature_extractor = types.SimpleNamespace(channel_means=MEAN, channel_scale=1.0, output_stride=8)

    def __init__(self, num_classes: int = 3, seed: int = 0):
        self.num_classes = num_classes
        kernel = np.random.default_rng(seed).normal(size=(3, 3, 3, num_classes))
        self.kernel = tf.Variable(kernel.astype(np.float32), name='head/weights')
        self.auxiliary = tf.Variable(np.ones(2, np.float32), name='aux/weights')

    def preprocess(self, images):
        return tf.cast(images, tf.float32) - tf.constant(MEAN)

    def predict(self, images, is_training):
        assert not is_training
        with tf.name_scope('Predictions'):  # the same letters as the output's name, as ICNet has them
            return {'logits': tf.nn.conv2d(images, self.kernel, 1, 'SAME')}

    def variables_by_name(self):
        return {'head/weights': self.kernel, 'aux/weights': self.auxiliary}


def images(*shape: int, seed: int = 0) -> np.ndarray:
    """Noise, uint8 [*shape, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def class_ids(model: FakeModel, batch: np.ndarray) -> np.ndarray:
    """What the network says, int32 [N, H, W], without the code under test."""
    pixels = np.pad(batch - np.array(MEAN, np.float32), [(0, 0), (1, 1), (1, 1), (0, 0)])
    height, width = batch.shape[1:3]
    kernel = model.kernel.numpy()
    taps = [pixels[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)]
    return np.sum(taps, axis=0).argmax(-1)
