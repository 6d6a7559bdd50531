"""The size of an encoded picture, read from its header, so that one too large is refused before it is decoded."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# A few kilobytes of PNG can claim to be gigabytes of pixels. Street scenes have a tenth of this or less.
MAX_PIXELS = 100_000_000

_HEAD = 32

# Where the header of each kind has its height and its width: (first byte, how many), the highest byte first in a PNG.
_KINDS = {b'\x89PNG': ((20, -4), (16, -4)), b'GIF': ((8, 2), (6, 2)), b'BM': ((22, 4), (18, 4))}


def _weights() -> np.ndarray:
    """int64 [3, 2, 32]: what each byte of the head counts in height and width of each kind."""
    weights = np.zeros([len(_KINDS), 2, _HEAD], np.int64)
    for kind, places in enumerate(_KINDS.values()):
        for side, (start, count) in enumerate(places):
            values = [1 << 8 * i for i in range(abs(count))]
            weights[kind, side, start : start + abs(count)] = values[::-1] if count < 0 else values
    return weights


_WEIGHTS = _weights()
# From here on a height is negative, in a BMP alone.
_NEGATIVE = np.array([[1 << 40, 1 << 40], [1 << 40, 1 << 40], [1 << 31, 1 << 40]], np.int64)


def size(encoded: tf.Tensor) -> tf.Tensor:
    """int64 [2], height and width that a PNG, JPEG, GIF or BMP says it has; zeros for other bytes.

    Args:
      encoded: string [], the file.

    Raises (when run) InvalidArgumentError for a JPEG whose header cannot be read.
    """
    head = tf.strings.substr(encoded, 0, _HEAD)
    padded = tf.strings.substr(tf.strings.join([head, tf.constant(b'\0' * _HEAD)]), 0, _HEAD)
    byte = tf.cast(tf.ensure_shape(tf.io.decode_raw(padded, tf.uint8), [_HEAD]), tf.int64)
    numbers = tf.reduce_sum(byte * tf.constant(_WEIGHTS), axis=-1)  # int64 [3, 2]
    # A BMP whose rows go from top to bottom has a negative height.
    numbers = tf.where(numbers >= _NEGATIVE, (1 << 32) - numbers, numbers)
    begins = tf.equal(tf.strings.substr([padded] * 3, [0] * 3, [len(kind) for kind in _KINDS]), list(_KINDS))
    found = tf.reduce_sum(tf.where(begins[:, tf.newaxis], numbers, tf.zeros_like(numbers)), axis=0)
    return tf.cond(
        tf.strings.substr(padded, 0, 3) == b'\xff\xd8\xff',
        lambda: tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.int64),
        lambda: found,
    )


def refuse_too_large(encoded: tf.Tensor, filename: tf.Tensor, feature: str) -> tf.Tensor:
    """`encoded` as it is; when run, InvalidArgumentError that names the file if it has more than MAX_PIXELS."""
    height_width = size(encoded)
    said = f': {feature} says that its height and width are {{}}, more than {MAX_PIXELS} pixels: not decoded'
    message = tf.strings.join([filename, tf.strings.format(said, (height_width,))])
    # As floats: the product of two numbers of 32 bits.
    fits = tf.reduce_prod(tf.cast(height_width, tf.float64)) <= MAX_PIXELS
    with tf.control_dependencies([tf.debugging.Assert(fits, [message])]):
        return tf.identity(encoded)
