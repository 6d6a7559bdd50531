"""Pictures cut into square tiles, each compressed by itself (zlib): what lies beside a crop is never decompressed.

Pixels are stored as they are: no filter has to be undone, which takes most of the time of a PNG. A tile that zlib
hardly makes smaller, such as the noise of a sensor, is kept in zlib's form without compression: it is read many times
faster.
"""

from __future__ import annotations

import zlib

import numpy as np
import tensorflow as tf

# Smaller ones fit a crop better and are more of them: from streets of 1024x2048 a crop of 513 is read a third faster
# than with 128.
TILE_SIZE = 64

# Share of its pixels' bytes above which a compressed tile is not worth the time that it takes to read.
_HARDLY_SMALLER = 0.75

# What zlib adds where nothing can be compressed; a tile that is longer was not made here.
_ZLIB_EXTRA_BYTES = 1024


def encode(pixels: np.ndarray, *, tile_size: int = TILE_SIZE, level: int = 6) -> list[bytes]:
    """Tiles in rows from the top left, those at the right and at the bottom filled up with zeros.

    Args:
      pixels: uint8 [H, W, C].
      tile_size: side of the tiles.
      level: of zlib, 1..9.
    """
    if pixels.ndim != 3 or pixels.dtype != np.uint8:
        raise ValueError(f'pixels must be uint8 [H, W, C], got {pixels.dtype} {list(pixels.shape)}')
    height, width = pixels.shape[:2]
    filled = np.pad(pixels, ((0, -height % tile_size), (0, -width % tile_size), (0, 0)))
    return [
        _compress(filled[top : top + tile_size, left : left + tile_size].tobytes(), level)
        for top in range(0, height, tile_size)
        for left in range(0, width, tile_size)
    ]


def _compress(pixels: bytes, level: int) -> bytes:
    compressed = zlib.compress(pixels, level)
    return compressed if len(compressed) <= _HARDLY_SMALLER * len(pixels) else zlib.compress(pixels, 0)


def decode_window(
    tiles: tf.Tensor,
    *,
    shape: tf.Tensor,
    tile_size: tf.Tensor,
    offset: tf.Tensor,
    size: tf.Tensor,
    name: tf.Tensor,
) -> tf.Tensor:
    """uint8 [h, w, C]: a window of what was encoded, from the tiles that it touches.

    Args:
      tiles: string [N].
      shape: int32 [3], H, W and C.
      tile_size: int32 [].
      offset: int32 [2], top and left, within the picture.
      size: int32 [2], h and w, 1 or more, within the picture.
      name: string [], what errors begin with.

    Raises (when run) InvalidArgumentError if tiles are missing, too long or of another size, DataLossError for bytes
    that zlib did not make.
    """
    return _window(tiles, shape, tile_size, offset, size, name)


# Traced once in a process, however often a data set is made of it.
@tf.function(
    autograph=False,
    input_signature=[
        tf.TensorSpec([None], tf.string),
        tf.TensorSpec([3], tf.int32),
        tf.TensorSpec([], tf.int32),
        *[tf.TensorSpec([2], tf.int32)] * 2,
        tf.TensorSpec([], tf.string),
    ],
)
def _window(
    tiles: tf.Tensor, shape: tf.Tensor, tile_size: tf.Tensor, offset: tf.Tensor, size: tf.Tensor, name: tf.Tensor
) -> tf.Tensor:
    """See `decode_window`."""
    channels = shape[2]
    grid = (shape[:2] + tile_size - 1) // tile_size
    first, last = offset // tile_size, (offset + size - 1) // tile_size
    count = last - first + 1
    rows, columns = tf.range(first[0], last[0] + 1), tf.range(first[1], last[1] + 1)
    said = tf.strings.format(': {} tiles are there, a picture of {} needs {}', (tf.size(tiles), shape, grid))
    with tf.control_dependencies([_check(tf.equal(tf.size(tiles), tf.reduce_prod(grid)), name, said)]):
        touched = tf.gather(tiles, tf.reshape(rows[:, tf.newaxis] * grid[1] + columns, [-1]))
    expected = tile_size * tile_size * channels
    too_long = tf.reduce_all(tf.strings.length(touched) <= expected + _ZLIB_EXTRA_BYTES)
    with tf.control_dependencies([_check(too_long, name, tf.constant(': a tile is longer than its pixels'))]):
        content = tf.io.decode_compressed(touched, 'ZLIB')
    whole = tf.reduce_all(tf.equal(tf.strings.length(content), expected))
    said = tf.strings.format(': a tile has not the {} bytes of its pixels', expected)
    with tf.control_dependencies([_check(whole, name, said)]):
        pixels = tf.io.decode_raw(content, tf.uint8)
    pixels = tf.reshape(pixels, tf.stack([count[0], count[1], tile_size, tile_size * channels]))
    pixels = tf.transpose(pixels, [0, 2, 1, 3])
    pixels = tf.reshape(pixels, tf.stack([count[0] * tile_size, count[1] * tile_size, channels]))
    within = offset - first * tile_size
    return tf.slice(pixels, tf.concat([within, [0]], 0), tf.concat([size, [channels]], 0))


def _check(condition: tf.Tensor, name: tf.Tensor, said: tf.Tensor) -> tf.Operation:
    return tf.debugging.Assert(condition, [tf.strings.join([name, said])])
