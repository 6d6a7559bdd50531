"""Records kept decoded in memory, each picked by its number: for data sets that are small enough."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from core.fields import FILENAME, IMAGE, LABEL
from inputs import pictures
from inputs.tf_example import StoredExample

_ALIGNMENT = 64


class DecodedRecords:
    """All pixels in one row of bytes for images and one for labels, whatever the sizes.

    Args:
      examples: {`image`: uint8 [H, W, channels], `label`: uint8 [H, W], `filename`: string}, from record 0 on.
      num_records: how many they are.
      channels: of the images.
    """

    def __init__(self, examples: Iterable[dict[str, tf.Tensor]], *, num_records: int, channels: int):
        images, labels = _Bytes(num_records), _Bytes(num_records)
        starts, sizes, filenames = [], [], []
        for example in examples:
            starts.append(labels.length)
            sizes.append(example[LABEL].shape)
            filenames.append(example[FILENAME].numpy())
            images.append(example[IMAGE].numpy())
            labels.append(example[LABEL].numpy())
        self._channels = channels
        self._images, self._labels = images.tensor(), labels.tensor()
        self._starts, self._sizes = tf.constant(starts, tf.int64), tf.constant(sizes, tf.int64)
        self._filenames = tf.constant(filenames)

    def __call__(self, number: tf.Tensor) -> StoredExample:
        """The example of record `number`, int64 []; for use within tf.data."""
        start, size = tf.gather(self._starts, number), tf.gather(self._sizes, number)
        image = pictures.of_rows(self._images, start=start * self._channels, size=size, channels=self._channels)
        label = pictures.of_rows(self._labels, start=start, size=size, channels=1)
        return StoredExample(image, label, tf.cast(size, tf.int32), tf.gather(self._filenames, number))


class _Bytes:
    """Bytes that are put one behind the other, and are then a tensor without another copy of them."""

    def __init__(self, num_parts: int):
        self._num_parts, self._content, self.length = num_parts, np.empty(0, np.uint8), 0

    def append(self, part: np.ndarray) -> None:
        end = self.length + part.size
        if end > len(self._content):
            # All are as large as the first, as a rule; memory that is not written to is not taken.
            content = _aligned(max(self._num_parts * part.size, 2 * len(self._content), end))
            content[: self.length] = self._content[: self.length]
            self._content = content
        self._content[self.length : end] = part.ravel()
        self.length = end

    def tensor(self) -> tf.Tensor:
        """uint8 [length]. `tf.convert_to_tensor` would copy it, twice for a while."""
        return tf.experimental.dlpack.from_dlpack(self._content[: self.length].__dlpack__())


def _aligned(size: int) -> np.ndarray:
    """uint8 [size], not initialised, where TensorFlow takes it as it is."""
    content = np.empty(size + _ALIGNMENT, np.uint8)
    start = -content.ctypes.data % _ALIGNMENT
    return content[start : start + size]
