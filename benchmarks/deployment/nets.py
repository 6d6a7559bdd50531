"""The networks that are timed: trained ones, or seeded ones whose label maps are at least as varied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format

from builders import config_loader, model_builder
from core.servable import Servable
from engine import inference
from protos import model_pb2

NUM_CLASSES = 19
_CLASSIFIER = 'Predictions/Conv'


def icnet(filter_scale: float, picture: np.ndarray) -> Any:
    """ICNet-R50 with seeded weights and batch-norm statistics.

    An untrained classifier answers one class everywhere. So its weights are scaled and shifted until each class has
    logits of mean 0 and deviation 1 over `picture`: then every class is somewhere the largest.

    Args:
      filter_scale: share of the filters.
      picture: uint8 [H, W, 3].
    """
    text = f"""icnet {{ num_classes: {NUM_CLASSES} filter_scale: {filter_scale} pooling_factors: [1, 2, 3, 4]
                        feature_extractor {{ type: 'dilated_resnet50' }} }}"""
    tf.random.set_seed(1)
    model = model_builder.build(text_format.Parse(text, model_pb2.FastSegmentationModel()))
    model.build()
    rng = np.random.default_rng(0)
    for name, variable in sorted(model.variables_by_name().items()):
        if name.endswith(('beta', 'moving_mean')):
            variable.assign(rng.normal(0, 0.2, variable.shape))
        elif name.endswith(('gamma', 'moving_variance')):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    _spread(model, picture)
    return model


def trained(config_path: str, overrides: Sequence[str], checkpoint: str, picture: np.ndarray) -> Any:
    """The network of a config with the weights of a checkpoint; `picture` as in `icnet`."""
    config = config_loader.load(config_path, overrides, 'export')
    model = inference.build_model(config)
    concrete = Servable(model=model, num_classes=model.num_classes).trace((1, *picture.shape[:2]))
    inference.restore(model, concrete, checkpoint, moving_averages=config.eval_config.use_moving_averages)
    return model


def _spread(model: Any, picture: np.ndarray) -> None:
    logits = Servable(model=model, num_classes=NUM_CLASSES).predictions(tf.constant(picture[np.newaxis]))['logits']
    mean, deviation = (value.numpy() for value in tf.nn.moments(logits, [0, 1, 2]))
    deviation = np.sqrt(deviation)
    variables = model.variables_by_name()
    weights, biases = variables[f'{_CLASSIFIER}/weights'], variables[f'{_CLASSIFIER}/biases']
    weights.assign(weights / deviation)
    biases.assign((biases - mean) / deviation)
