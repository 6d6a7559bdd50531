"""Small configs the contract tests run on: three classes, narrow nets."""

from __future__ import annotations

import tensorflow as tf
from google.protobuf import text_format

from builders import model_builder
from core.model import SegmentationModel
from protos import model_pb2

HYPERPARAMS = """
  hyperparams {
    batch_norm { decay: 0.9 epsilon: 0.00001 }
    regularizer { l2_regularizer { weight: 0.0001 } }
    initializer { variance_scaling_initializer {} }
  }
"""

_POOLING = {'icnet': '[1, 2, 3, 4]', 'pspnet': '[1, 2, 3, 6]'}


def model_config(
    architecture: str,
    extractor: str = 'dilated_resnet50',
    *,
    num_classes: int = 3,
    filter_scale: float = 0.25,
    loss: str = 'use_auxiliary_loss: true',
    extra: str = '',
    extractor_extra: str = '',
    hyperparams: str = HYPERPARAMS,
) -> model_pb2.FastSegmentationModel:
    """A model message; `loss`, `extra` and `extractor_extra` are text put into those blocks."""
    pooling = f'pooling_factors: {_POOLING[architecture]}' if architecture in _POOLING else ''
    text = f"""
      {architecture} {{
        num_classes: {num_classes}
        filter_scale: {filter_scale}
        {pooling}
        feature_extractor {{ type: '{extractor}' {extractor_extra} }}
        {hyperparams}
        loss {{ classification_loss {{ softmax {{}} }} {loss} }}
        {extra}
      }}
    """
    return text_format.Parse(text, model_pb2.FastSegmentationModel())


def build_model(architecture: str, extractor: str = 'dilated_resnet50', **kwargs) -> SegmentationModel:
    """A built model of `model_config`, initialised the same in every run."""
    tf.random.set_seed(7)
    model = model_builder.build(model_config(architecture, extractor, **kwargs))
    model.build()
    return model
