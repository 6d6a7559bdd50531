"""What is deployed: a uint8 image in, class ids of the same size out; padding is done inside and never visible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from core import fields

INPUTS = 'inputs'
PREDICTIONS = 'predictions'
COLOURS = 'colours'
PROBABILITIES = fields.PROBABILITIES
LOGITS = fields.LOGITS

InputShape = tuple[int | None, int | None, int | None]


class Model(Protocol):
    """The part of `core.model.SegmentationModel` that serving needs."""

    @property
    def input_channels(self) -> int: ...

    def preprocess(self, images: tf.Tensor) -> tf.Tensor: ...

    def predict(self, images: tf.Tensor, is_training: bool) -> dict[str, tf.Tensor]: ...


class Servable:
    """A built model with the steps around it, for evaluation, prediction and export alike.

    Args:
      model: built and restored.
      num_classes: C; ids are uint8 up to 256 classes, int32 beyond.
      pad_to_shape: (height, width) that smaller images are padded to below and on the right. The padding is 0 after
        `preprocess`, that is the extractor's mean colour. A side that is larger already is left as it is.
      colors: C triples 0..255 (RGB); when given, a colour picture is a second output.
      with_probabilities: softmax probabilities are one more output.
      with_logits: so are the scores before the softmax.
    """

    def __init__(
        self,
        *,
        model: Model,
        num_classes: int,
        pad_to_shape: tuple[int, int] | None = None,
        colors: Sequence[Sequence[int]] | None = None,
        with_probabilities: bool = False,
        with_logits: bool = False,
    ):
        if pad_to_shape is not None and min(pad_to_shape) < 1:
            raise ValueError(f'pad_to_shape must be positive, got {pad_to_shape}')
        if colors is not None and len(colors) != num_classes:
            raise ValueError(f'{len(colors)} colors for {num_classes} classes')
        self.model = model
        self.num_classes = num_classes
        self.pad_to_shape = pad_to_shape
        self.colors = colors
        self.with_probabilities = with_probabilities
        self.with_logits = with_logits

    def predictions(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The model's inference outputs for images [N, H, W, channels] in 0..255; logits float32 [N, H, W, C]."""
        inputs = self.model.preprocess(images)
        outputs = dict(self.model.predict(self._pad(inputs), is_training=False))
        logits = outputs[fields.LOGITS][:, : _size(inputs, 1), : _size(inputs, 2)]
        logits.set_shape([*inputs.shape[:3], self.num_classes])
        outputs[fields.LOGITS] = logits
        return outputs

    def class_ids(self, images: tf.Tensor) -> tf.Tensor:
        """The most likely class of each pixel: uint8 (or int32) [N, H, W]; the lowest id of equals."""
        return self._most_likely(self.predictions(images)[fields.LOGITS])

    def probabilities(self, images: tf.Tensor) -> tf.Tensor:
        """Softmax probabilities float32 [N, H, W, C]."""
        return tf.nn.softmax(self.predictions(images)[fields.LOGITS])

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """`predictions` [N, H, W, 1]; as asked for, `colours` uint8 [N, H, W, 3], `probabilities` and `logits`."""
        logits = self.predictions(images)[fields.LOGITS]
        class_ids = self._most_likely(logits)
        outputs = {PREDICTIONS: tf.expand_dims(class_ids, -1)}
        if self.with_probabilities:
            outputs[PROBABILITIES] = tf.nn.softmax(logits)
        if self.with_logits:
            outputs[LOGITS] = tf.identity(logits)
        if self.colors is not None:
            outputs[COLOURS] = tf.gather(tf.constant(self.colors, tf.uint8), tf.cast(class_ids, tf.int32))
        return outputs

    def trace(self, input_shape: InputShape = (None, None, None)) -> Any:
        """The concrete function that exporters write: one argument `inputs`, uint8 [*input_shape, channels].

        Args:
          input_shape: (batch, height, width), None where free.
        """
        signature = tf.TensorSpec([*input_shape, self.model.input_channels], tf.uint8, name=INPUTS)
        concrete = tf.function(self.__call__, input_signature=[signature], autograph=False).get_concrete_function()
        concrete.servable = self  # a function holds its variables weakly
        return concrete

    def _most_likely(self, logits: tf.Tensor) -> tf.Tensor:
        class_ids = tf.argmax(logits, -1, tf.int32)
        return tf.cast(class_ids, tf.uint8) if self.num_classes <= 256 else class_ids

    def _pad(self, images: tf.Tensor) -> tf.Tensor:
        if self.pad_to_shape is None:
            return images
        missing = [_at_least_zero(wanted - _size(images, i + 1)) for i, wanted in enumerate(self.pad_to_shape)]
        padded = tf.pad(images, [[0, 0], [0, missing[0]], [0, missing[1]], [0, 0]])
        if None in padded.shape[1:]:  # a reshape tells converters the channels; they have no EnsureShape
            padded = tf.reshape(padded, tf.concat([tf.shape(padded)[:3], images.shape[3:]], 0))
        known = [None if n is None else max(n, p) for n, p in zip(images.shape[1:3], self.pad_to_shape, strict=True)]
        padded.set_shape([images.shape[0], *known, images.shape[3]])
        return padded


def inference_variables(concrete: Any, variables_by_name: Mapping[str, tf.Variable]) -> dict[str, tf.Variable]:
    """Those of `variables_by_name` that the traced function reads: without auxiliary heads and other training parts.

    Of a variable with a copy on each device the function reads copies.
    """
    read = {variable.ref() for variable in concrete.variables}

    def is_read(variable: Any) -> bool:
        return any(copy.ref() in read for copy in (variable, *getattr(variable, 'values', ())))

    return {name: variable for name, variable in variables_by_name.items() if is_read(variable)}


def _size(images: tf.Tensor, axis: int) -> Any:
    static = images.shape[axis]
    return tf.shape(images)[axis] if static is None else static


def _at_least_zero(value: Any) -> Any:
    return max(value, 0) if isinstance(value, int) else tf.maximum(value, 0)
