"""Learning from a trained network: the teacher of `train_config.distillation`, and the loss that it adds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from builders import config_loader
from core import layers
from core.errors import ConfigError
from core.fields import IMAGE, LABEL, LOGITS
from core.losses import SoftenedDivergence
from core.model import Predictions
from engine import inference
from protos.train_pb2 import Distillation

_LOGGER = logging.getLogger(__name__)
_PLACE = 'train_config.distillation'


class Teacher:
    """A restored network in inference mode, whose variables are no part of the training's state.

    Its forward pass is a compiled function of its own, so a plan of what the student computes twice does not see into
    it: the teacher is never run twice, and keeps only its logits.

    Args:
      settings: the message. The student's `num_classes`, `input_channels` and `ignore_label` are what it must fit.

    Raises ConfigError for a teacher of other classes or channels, or a config that is missing or wrong; CheckpointError
    for a checkpoint that is missing or not of that config.
    """

    def __init__(self, settings: Distillation, *, num_classes: int, input_channels: int, ignore_label: int):
        config = _load(settings.config_path)
        self._model = inference.build_model(config)
        for name, have, want in (
            ('classes', self._model.num_classes, num_classes),
            ('input channels', self._model.input_channels, input_channels),
        ):
            if have != want:
                raise ConfigError(
                    f'{_PLACE}.config_path: {settings.config_path} has {have} {name}, but the model to train has '
                    f'{want}; choose a teacher of the same'
                )
        self._weight = settings.weight
        self._divergence = SoftenedDivergence(temperature=settings.temperature, ignore_label=ignore_label)
        self._logits = tf.function(self._infer, autograph=False)
        any_size = tf.TensorSpec([None, None, None, input_channels])
        concrete = tf.function(self._infer, autograph=False).get_concrete_function(any_size)
        averages = config.eval_config.use_moving_averages
        restored = inference.restore(self._model, concrete, settings.checkpoint, moving_averages=averages)
        _LOGGER.info('learning from %s (step %d) as well', restored.path, restored.step)

    def loss(self, batch: Mapping[str, tf.Tensor], predictions: Predictions) -> tf.Tensor:
        """The weighted divergence at the main head's labelled pixels: a float32 scalar.

        Args:
          batch: {image: float [B, H, W, channels] in 0..255, label: int32 [B, H, W]}.
          predictions: the student's, in training; teacher and labels are resized to its logits.
        """
        student = predictions[LOGITS]
        size = layers.spatial_size(student)
        teacher = layers.resize_bilinear(self._logits(batch[IMAGE]), size)
        labels = layers.resize_labels(batch[LABEL], size)
        return self._weight * self._divergence(student, teacher, labels)

    def _infer(self, images: tf.Tensor) -> tf.Tensor:
        return self._model.strided_logits(self._model.preprocess(images))


def _load(path: str) -> Any:
    try:
        return config_loader.load(path, purpose='predict')
    except ConfigError as error:
        raise ConfigError([f'{_PLACE}.config_path: {problem}' for problem in error.problems]) from error
