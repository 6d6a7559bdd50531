"""The size of an encoded picture, read from its header, so that one too large is refused before it is decoded."""

from __future__ import annotations

import tensorflow as tf

# A few kilobytes of PNG can claim to be gigabytes of pixels. Street scenes have a tenth of this or less.
MAX_PIXELS = 100_000_000

_HEAD = 32


def size(encoded: tf.Tensor) -> tf.Tensor:
    """int64 [2], height and width that a PNG, JPEG, GIF or BMP says it has; zeros for other bytes.

    Args:
      encoded: string [], the file.

    Raises (when run) InvalidArgumentError for a JPEG whose header cannot be read.
    """
    head = tf.strings.substr(encoded, 0, _HEAD)
    padded = tf.strings.substr(tf.strings.join([head, tf.constant(b'\0' * _HEAD)]), 0, _HEAD)
    byte = tf.cast(tf.ensure_shape(tf.io.decode_raw(padded, tf.uint8), [_HEAD]), tf.int64)

    def big_endian(start: int) -> tf.Tensor:
        return tf.tensordot(byte[start : start + 4], tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64), 1)

    def little_endian(start: int, count: int) -> tf.Tensor:
        return tf.tensordot(byte[start : start + count], tf.constant([1 << 8 * i for i in range(count)], tf.int64), 1)

    # A BMP whose rows go from top to bottom has a negative height.
    rows = little_endian(22, 4)
    bmp = tf.stack([tf.where(rows >= 1 << 31, (1 << 32) - rows, rows), little_endian(18, 4)])
    png, gif = tf.stack([big_endian(20), big_endian(16)]), tf.stack([little_endian(8, 2), little_endian(6, 2)])
    found = tf.where(tf.strings.substr(padded, 0, 4) == b'\x89PNG', png, tf.zeros([2], tf.int64))
    found = tf.where(tf.strings.substr(padded, 0, 3) == b'GIF', gif, found)
    found = tf.where(tf.strings.substr(padded, 0, 2) == b'BM', bmp, found)
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
