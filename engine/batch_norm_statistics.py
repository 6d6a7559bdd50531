"""Batch-norm averages measured again: what a layer's inputs are now, not what they were before filters were removed.

Precise batch norm of Wu and Johnson (arXiv:2105.07576, section 3): the statistics of the population, in place of an
exponential average over past steps.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from builders import input_builder
from core import fields
from core.errors import UsageError, UserError
from core.model import SegmentationModel
from inputs import pipeline

AVERAGES = ('/moving_mean', '/moving_variance')
_OPERATION = 'FusedBatchNormV3'


def check(config: Any, flag: str) -> None:
    """Raises UsageError if the config names no training data."""
    if not config.HasField('train_config') or not config.HasField('train_input_reader'):
        raise UsageError(f'{flag}: needs training data: train_config and train_input_reader in the config')


def has_records(config: Any) -> bool:
    """Whether the config names training records and they are there."""
    if not config.HasField('train_config') or not config.HasField('train_input_reader'):
        return False
    return any(tf.io.gfile.glob(path) for path in config.train_input_reader.tf_record_input_reader.input_path)


def recalibrate(model: SegmentationModel, config: Any, *, num_batches: int) -> int:
    """Sets the moving averages of `model` to what they are over `num_batches` training batches of `config`.

    Args:
      model: built, its variables at their values; nothing but moving averages changes.
      config: `PipelineConfig` whose training records, augmentations, batch size and seed are used.
      num_batches: 1 or more.

    Returns the number of layers; 0, without reading a record, for a model without batch norm. Raises DataError for
    records that cannot be read.
    """
    if not any(name.endswith('/moving_mean') for name in model.variables_by_name()):
        return 0
    with pipeline.user_errors(config.train_input_reader.tf_record_input_reader.input_path):
        values = measure(model, input_builder.build_train(config), num_batches=num_batches)
    variables = model.variables_by_name()
    for name, value in values.items():
        variables[name].assign(value)
    return len(values) // 2


def measure(
    model: SegmentationModel, batches: Iterable[Mapping[str, Any]], *, num_batches: int
) -> dict[str, np.ndarray]:
    """{name of a moving mean or variance: float32 [channels]} over the first `num_batches` of `batches`.

    Each layer's inputs are normalised by their own batch, as in training: mean = E[m_b] and variance =
    E[v_b + m_b^2] - mean^2 over batches b of mean m_b and variance v_b (not corrected for its sample size), each
    weighted by its pixels. The averages of `model` itself move meanwhile. Memory does not grow with `num_batches`.

    Raises UserError if there are no batches.
    """
    sums: dict[str, list[np.ndarray]] = {}
    statistics = tf.function(lambda images: _batch_statistics(model, images), autograph=False, reduce_retracing=True)
    with _normalising_by_batch(model):
        for number, batch in enumerate(batches):
            if number == num_batches:
                break
            for layer, (pixels, mean, variance) in statistics(tf.convert_to_tensor(batch[fields.IMAGE])).items():
                n, m, v = (np.asarray(value, np.float64) for value in (pixels, mean, variance))
                _add(sums.setdefault(layer, []), [n, n * m, n * (v + m * m)])
    if not sums:
        raise UserError('the training records hold no batch to measure batch-norm statistics on')
    measured = {}
    for layer, (pixels, total, squares) in sums.items():
        mean = total / pixels
        measured[f'{layer}/moving_mean'] = mean.astype(np.float32)
        measured[f'{layer}/moving_variance'] = np.maximum(squares / pixels - mean * mean, 0).astype(np.float32)
    return measured


def _add(sums: list[np.ndarray], terms: list[np.ndarray]) -> None:
    sums[:] = terms if not sums else [total + term for total, term in zip(sums, terms, strict=True)]


@contextlib.contextmanager
def _normalising_by_batch(model: SegmentationModel) -> Iterator[None]:
    """Also where the config trains with fixed averages (`batch_norm { train: false }`): they are as stale there."""
    configured = model.hyperparams
    norm = dataclasses.replace(configured.batch_norm, train=True)
    model.hyperparams = dataclasses.replace(configured, batch_norm=norm)
    try:
        yield
    finally:
        model.hyperparams = configured


def _batch_statistics(model: SegmentationModel, images: tf.Tensor) -> dict[str, tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """{scope of a batch norm: (pixels, mean [channels], variance [channels])} of raw images [B, H, W, channels]."""
    model.predict(model.preprocess(images), is_training=True)
    measured = {}
    for op in tf.compat.v1.get_default_graph().get_operations():
        if op.type == _OPERATION and op.get_attr('is_training'):
            inputs, (_, mean, variance) = op.inputs[0], op.outputs[:3]
            channels = inputs.shape[-1]
            pixels = tf.cast(tf.size(inputs) // channels, tf.float32)
            # The operation gives the unbiased variance; of a single pixel it gives 0 either way.
            measured[op.name.rpartition('/')[0]] = (pixels, mean, variance * (pixels - 1) / pixels)
    unknown = {f'{layer}/moving_mean' for layer in measured} - set(model.variables_by_name())
    if unknown:
        raise RuntimeError(f'batch norm of unknown variables: {sorted(unknown)}')
    return measured
