"""Images that an export is verified and calibrated on: of the evaluation records, else noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from builders import input_builder
from core import fields
from core.errors import DataError
from core.servable import InputShape

# What is kept between two iterations, for making the pipeline and decoding anew for each form takes longer than a form.
_KEPT_BYTES = 64_000_000

_FREE_SIDES = (97, 131)  # of noise, where a side is free: odd, not square, and no multiple of a stride


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """A batch that the exported graph takes: images uint8 [N, H, W, channels], labels uint8 [N, H, W] or None."""

    images: np.ndarray
    labels: np.ndarray | None


class Samples:
    """The same batches at each iteration, read anew unless they are few: memory does not grow with their number.

    Images of another size than a fixed height or width are resized to it, labels by their nearest pixel.

    Args:
      config: `PipelineConfig`; its evaluation records are read if they exist.
      channels: of an image.
      input_shape: (batch, height, width) of the graph, None where free.
      count: how many examples of the records at most.
    """

    def __init__(self, config: Any, *, channels: int, input_shape: InputShape, count: int):
        self._config = config
        self._channels = channels
        self._batch, self._sides = input_shape[0] or 1, input_shape[1:]
        self._count = count
        self._kept: list[Sample] | None = None
        self.are_real = _has_records(config)

    @property
    def description(self) -> str:
        """What they are, as a manifest says it."""
        return 'images of eval_input_reader' if self.are_real else 'random image'

    def __iter__(self) -> Iterator[Sample]:
        if not self.are_real:
            height, width = (own or free for own, free in zip(self._sides, _FREE_SIDES, strict=True))
            shape = (self._batch, height, width, self._channels)
            yield Sample(images=np.random.default_rng(0).integers(0, 256, shape, np.uint8), labels=None)
            return
        if self._kept is not None:
            yield from self._kept
            return
        kept, num_bytes = [], 0
        for sample in self._read():
            num_bytes += sample.images.nbytes
            kept = [*kept, sample] if num_bytes <= _KEPT_BYTES else []
            yield sample
        if num_bytes <= _KEPT_BYTES:
            self._kept = kept

    def _read(self) -> Iterator[Sample]:
        for example in input_builder.build_eval(self._config).take(self._count):
            image, label = self._fitted(example[fields.IMAGE], example[fields.LABEL][..., tf.newaxis])
            repeated = [np.repeat(x[np.newaxis], self._batch, 0) for x in (image, label[..., 0])]
            yield Sample(images=repeated[0], labels=repeated[1])

    def _fitted(self, image: tf.Tensor, label: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
        size = [own or free for own, free in zip(self._sides, image.shape[:2], strict=True)]
        if size != image.shape[:2]:
            image = tf.round(tf.image.resize(image, size))
            label = tf.image.resize(label, size, 'nearest')
        return tf.cast(image, tf.uint8).numpy(), tf.cast(label, tf.uint8).numpy()


def _has_records(config: Any) -> bool:
    if not config.HasField('eval_input_reader'):
        return False
    try:
        input_builder.check_reader(config, 'eval')
    except DataError:
        return False
    return True
