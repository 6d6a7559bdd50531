"""A SavedModel with the signature `serving_default`, the form TensorFlow Serving and most converters read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from core.errors import UserError
from exporters.loaded import LoadedGraph

DIRNAME = 'saved_model'
SIGNATURE = 'serving_default'


class _Weights(tf.Module):
    """What a signature captures must hang on the saved object."""

    def __init__(self, variables: Sequence[tf.Variable]):
        super().__init__()
        self.weights = list(variables)


def write(concrete: Any, path: str) -> None:
    """Saves a traced servable with just the variables it reads.

    Args:
      concrete: from `core.servable.Servable.trace`.
      path: the folder to write.
    """
    tf.saved_model.save(_Weights(concrete.variables), path, signatures={SIGNATURE: concrete})


def has_output(path: str, name: str) -> bool:
    """Whether the signature answers `name`; False also for what is no SavedModel, which `load` tells."""
    content = saved_model_pb2.SavedModel()
    try:
        with tf.io.gfile.GFile(os.path.join(path, 'saved_model.pb'), 'rb') as f:
            content.ParseFromString(f.read())
    except Exception:  # as in `frozen_graph`: protobuf's and gfile's own kinds
        return False
    return any(name in graph.signature_def[SIGNATURE].outputs for graph in content.meta_graphs)


def load(path: str) -> LoadedGraph:
    """Reads the signature back as a function from a uint8 array [N, H, W, channels] to {output name: array}.

    Raises UserError if there is no SavedModel with this signature. The function raises ValueError for another shape.
    """
    try:
        signature = tf.saved_model.load(path).signatures[SIGNATURE]
        ((inputs, spec),) = signature.structured_input_signature[1].items()
    except (OSError, KeyError, ValueError, AttributeError, tf.errors.OpError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f'{path}: not a SavedModel with one input and the signature {SIGNATURE} ({reason})') from error

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        if not spec.shape.is_compatible_with(images.shape):
            raise ValueError(f'its input is {spec.shape}')
        return {name: value.numpy() for name, value in signature(**{inputs: tf.constant(images)}).items()}

    return LoadedGraph(run=run, input_channels=spec.shape[-1])
