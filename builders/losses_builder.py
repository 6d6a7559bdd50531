"""`Loss` message -> a pixel loss: logits and labels -> scalar; and class weights from counted pixels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from core import class_weights, losses, region_losses
from core.errors import ConfigError
from core.model import PixelLoss
from inputs import class_histogram
from inputs.class_histogram import ClassHistogram
from protos import losses_pb2
from protos.pipeline_pb2 import PipelineConfig

_LOGGER = logging.getLogger(__name__)
_CrossEntropy = losses_pb2.SoftmaxClassificationLoss

WEIGHTINGS: Mapping[int, Callable[[ClassHistogram], np.ndarray]] = {
    _CrossEntropy.INVERSE_FREQUENCY: lambda h: class_weights.inverse_frequency(np.array(h.pixels)),
    _CrossEntropy.MEDIAN_FREQUENCY: lambda h: class_weights.median_frequency(
        np.array(h.pixels), np.array(h.pixels_of_images)
    ),
    _CrossEntropy.ENET: lambda h: class_weights.enet(np.array(h.pixels)),
}


class _Uncounted(losses.SoftmaxCrossEntropy):
    """Of a config whose classes are still to be counted: good for a model that is not trained."""

    def pixel_losses(self, logits: tf.Tensor, labels: tf.Tensor) -> losses.PixelLosses:
        raise ValueError('class_weighting: the classes are not counted yet; see losses_builder.count_class_weights')


def _cross_entropy(config: losses_pb2.SoftmaxClassificationLoss, ignore_label: int) -> losses.SoftmaxCrossEntropy:
    kind = _Uncounted if config.class_weighting else losses.SoftmaxCrossEntropy
    return kind(
        ignore_label=ignore_label, class_weight=tuple(config.class_weight), label_smoothing=config.label_smoothing
    )


_LOSSES: Mapping[str, Callable[[Any, int], PixelLoss]] = {
    'softmax': _cross_entropy,
    'bootstrapped': lambda c, ignore_label: losses.HardestPixels(
        cross_entropy=_cross_entropy(c.cross_entropy, ignore_label), share=c.share
    ),
    'ohem': lambda c, ignore_label: losses.HardestPixels(
        cross_entropy=_cross_entropy(c.cross_entropy, ignore_label), share=c.min_share, threshold=c.threshold
    ),
    'focal': lambda c, ignore_label: losses.Focal(
        cross_entropy=_cross_entropy(c.cross_entropy, ignore_label), gamma=c.gamma
    ),
    'dice': lambda c, ignore_label: region_losses.SoftDice(ignore_label=ignore_label, per_image=c.per_image),
    'lovasz': lambda c, ignore_label: region_losses.LovaszSoftmax(ignore_label=ignore_label, per_image=c.per_image),
    'weighted_sum': lambda c, ignore_label: losses.WeightedSum(
        terms=[(term.weight, _build(term.loss, ignore_label)) for term in c.term]
    ),
}


def build(config: losses_pb2.Loss) -> PixelLoss:
    """The chosen classification loss; softmax cross-entropy where none is chosen."""
    return _build(config.classification_loss, config.ignore_label)


def _build(config: losses_pb2.ClassificationLoss, ignore_label: int) -> PixelLoss:
    choice = config.WhichOneof('loss_type') or 'softmax'
    if choice not in _LOSSES:
        raise ConfigError(f'loss.classification_loss: got {choice!r}, choose from {sorted(_LOSSES)}')
    return _LOSSES[choice](getattr(config, choice), ignore_label)


def count_class_weights(config: PipelineConfig) -> PipelineConfig:
    """The config with numbers in `class_weight` wherever it has a `class_weighting`, which is then unset.

    The labels of `train_input_reader` are counted if there is any; see `class_histogram.of_records`. A config without
    is returned as it is. Raises DataError as that.
    """
    kind = config.model.WhichOneof('model')
    if kind is None or not any(m.class_weighting for m in _cross_entropies(getattr(config.model, kind).loss)):
        return config
    counted = PipelineConfig()
    counted.CopyFrom(config)
    model = getattr(counted.model, kind)
    histogram = class_histogram.of_records(
        config.train_input_reader.tf_record_input_reader.input_path,
        num_classes=model.num_classes,
        ignore_label=model.loss.ignore_label,
    )
    for message in _cross_entropies(model.loss):
        if not message.class_weighting:
            continue
        name = _CrossEntropy.ClassWeighting.Name(message.class_weighting)
        message.class_weight[:] = WEIGHTINGS[message.class_weighting](histogram).tolist()
        message.ClearField('class_weighting')
        _LOGGER.info('class weights (%s): %s', name, ', '.join(f'{weight:.4g}' for weight in message.class_weight))
    return counted


def _cross_entropies(message: Any) -> Iterator[losses_pb2.SoftmaxClassificationLoss]:
    """Every cross-entropy that is set in a message, at any depth."""
    if isinstance(message, _CrossEntropy):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from _cross_entropies(inner)
