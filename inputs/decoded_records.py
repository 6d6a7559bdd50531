"""Records kept decoded in memory, each picked by its number: for data sets that are small enough."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from core.fields import FILENAME, IMAGE, LABEL


class DecodedRecords:
    """All pixels in one row of bytes for images and one for labels, whatever the sizes.

    Args:
      examples: {`image`: uint8 [H, W, channels], `label`: uint8 [H, W], `filename`: string}, from record 0 on.
      channels: of the images.
    """

    def __init__(self, examples: Iterable[dict[str, tf.Tensor]], *, channels: int):
        images, labels = bytearray(), bytearray()
        starts, sizes, filenames = [], [], []
        for example in examples:
            starts.append(len(labels))
            sizes.append(example[LABEL].shape)
            filenames.append(example[FILENAME].numpy())
            images += example[IMAGE].numpy().tobytes()
            labels += example[LABEL].numpy().tobytes()
        self._channels = channels
        self._images, self._labels = (tf.constant(np.frombuffer(pixels, np.uint8)) for pixels in (images, labels))
        self._starts, self._sizes = tf.constant(starts, tf.int64), tf.constant(sizes, tf.int64)
        self._filenames = tf.constant(filenames)

    def __call__(self, number: tf.Tensor) -> dict[str, tf.Tensor]:
        """The example of record `number`, int64 []; for use within tf.data."""
        start, size = tf.gather(self._starts, number), tf.gather(self._sizes, number)
        pixels = size[0] * size[1]
        image = tf.slice(self._images, [start * self._channels], [pixels * self._channels])
        label = tf.slice(self._labels, [start], [pixels])
        return {
            IMAGE: tf.ensure_shape(
                tf.reshape(image, tf.concat([size, [self._channels]], 0)), [None, None, self._channels]
            ),
            LABEL: tf.ensure_shape(tf.reshape(label, size), [None, None]),
            FILENAME: tf.gather(self._filenames, number),
        }
