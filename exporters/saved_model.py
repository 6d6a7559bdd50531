"""A SavedModel, the form TensorFlow Serving reads: a signature for tensors and one for encoded images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from core import processor
from core.errors import UserError
from core.servable import INPUTS
from exporters.loaded import LoadedGraph

DIRNAME = 'saved_model'
SIGNATURE = 'serving_default'
ENCODED_SIGNATURE = 'encoded_images'
_MANIFEST = os.path.join('assets.extra', 'manifest.json')  # TensorFlow's place for files that are not the graph's
_CHANNELS_OF_FILES = (1, 3, 4)


class _Weights(tf.Module):
    """What a signature captures must hang on the saved object."""

    def __init__(self, variables: Sequence[tf.Variable]):
        super().__init__()
        self.weights = list(variables)


def write(concrete: Any, path: str, *, manifest: str = '') -> None:
    """Saves a traced servable with just the variables it reads.

    Signature `serving_default`: the servable's own. Signature `encoded_images`: `inputs` string [N], the bytes of PNG,
    JPEG, GIF or BMP files of one size, in place of pixels; left out where files cannot hold the channels.

    Args:
      concrete: from `core.servable.Servable.trace`.
      path: the folder to write.
      manifest: JSON, kept as `assets.extra/manifest.json`.
    """
    signatures = {SIGNATURE: concrete}
    if concrete.inputs[0].shape[-1] in _CHANNELS_OF_FILES:
        signatures[ENCODED_SIGNATURE] = _of_encoded_images(concrete)
    tf.saved_model.save(_Weights(concrete.variables), path, signatures=signatures)
    if manifest:
        tf.io.gfile.makedirs(os.path.join(path, os.path.dirname(_MANIFEST)))
        with tf.io.gfile.GFile(os.path.join(path, _MANIFEST), 'w') as f:
            f.write(manifest)


def _of_encoded_images(concrete: Any) -> Any:
    batch, height, width, channels = concrete.inputs[0].shape

    def decode(content: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_image(content, channels=channels, expand_animations=False)
        return tf.ensure_shape(pixels, [height, width, channels])

    def call(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.TensorSpec([height, width, channels], tf.uint8)
        return concrete(tf.map_fn(decode, inputs, fn_output_signature=pixels))

    spec = tf.TensorSpec([batch], tf.string, name=INPUTS)
    return tf.function(call, input_signature=[spec], autograph=False).get_concrete_function()


def output_names(path: str) -> list[str]:
    """What the signature answers; none for what is no SavedModel, which `load` tells."""
    content = saved_model_pb2.SavedModel()
    try:
        with tf.io.gfile.GFile(os.path.join(path, 'saved_model.pb'), 'rb') as f:
            content.ParseFromString(f.read())
    except Exception:  # as in `frozen_graph`: protobuf's and gfile's own kinds
        return []
    return [name for graph in content.meta_graphs for name in graph.signature_def[SIGNATURE].outputs]


def manifest(path: str) -> str | None:
    """The JSON kept in the folder, None if there is none."""
    inside = os.path.join(path, _MANIFEST)
    if not tf.io.gfile.exists(inside):
        return None
    with tf.io.gfile.GFile(inside, 'r') as f:
        return f.read()


def load(path: str) -> LoadedGraph:
    """Reads the signature back as a function from a uint8 array [N, H, W, channels] to {output name: array}.

    Raises UserError if there is no SavedModel with this signature. The function raises ValueError for another shape.
    """
    processor.avoid_slow_fusions()
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
