"""A SavedModel with the signature `serving_default`, the form TensorFlow Serving and most converters read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

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


def load(path: str) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Reads the signature back as a function from a uint8 array [N, H, W, 3] to {output name: array}."""
    signature = tf.saved_model.load(path).signatures[SIGNATURE]
    (inputs,) = signature.structured_input_signature[1]

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in signature(**{inputs: tf.constant(images)}).items()}

    return run
