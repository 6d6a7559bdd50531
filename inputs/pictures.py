"""A picture of which any window can be had, in whichever form it is stored; what is not needed is not decoded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from inputs import tiles
from inputs.image_header import MAX_PIXELS

_ENCODED, _RAW, _TILES = range(3)


@dataclasses.dataclass(frozen=True)
class Picture:
    """Pixels, not all of which need to be there yet.

    Attributes:
      size: int32 [2], H and W.
      window: (offset int32 [2], size int32 [2]), top and left, height and width, all within the picture -> uint8
        [h, w, C].
    """

    size: tf.Tensor
    window: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

    def whole(self) -> tf.Tensor:
        """uint8 [H, W, C]."""
        return self.window(tf.zeros([2], tf.int32), self.size)


def of_pixels(pixels: tf.Tensor) -> Picture:
    """Of uint8 [H, W, C]."""

    def window(offset: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        cut = tf.slice(pixels, tf.concat([offset, [0]], 0), tf.concat([size, [-1]], 0))
        return tf.ensure_shape(cut, [None, None, pixels.shape[-1]])

    return Picture(tf.shape(pixels)[:2], window)


def of_rows(flat: tf.Tensor, *, start: tf.Tensor, size: tf.Tensor, channels: int) -> Picture:
    """Of the pixels that begin at `start`, int64 [], of uint8 [N], one row after the other; `size` int64 [2]."""

    def window(offset: tf.Tensor, size_of_window: tf.Tensor) -> tf.Tensor:
        offset, wanted = tf.cast(offset, tf.int64), tf.cast(size_of_window, tf.int64)
        row = size[1] * channels
        rows = tf.slice(flat, [start + offset[0] * row], [wanted[0] * row])
        rows = tf.reshape(rows, tf.stack([wanted[0], size[1], tf.constant(channels, tf.int64)]))
        return tf.ensure_shape(rows[:, offset[1] : offset[1] + wanted[1]], [None, None, channels])

    return Picture(tf.cast(size, tf.int32), window)


def stored(
    *,
    encoded: tf.Tensor,
    raw: tf.Tensor,
    in_tiles: tf.Tensor,
    shape: tf.Tensor,
    tile_size: tf.Tensor,
    decode: Callable[[tf.Tensor], tf.Tensor],
    channels: int,
    name: tf.Tensor,
    check: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> Picture:
    """A picture of a record, in the form that is there; where none is, `decode` is called and says so.

    Args:
      encoded: string [], the file of a picture, or empty.
      raw: string [], pixels of 8 bits, or empty.
      in_tiles: string [N], see `tiles`, N may be 0.
      shape: int64 [3] or [0], height, width and channels of what is raw or in tiles.
      tile_size: int64 [].
      decode: encoded string [] -> uint8 [H, W, channels].
      channels: wanted, 1, 3 or 4: of fewer or more stored ones, as `tf.io.decode_png` makes them.
      name: string [], of the record; messages begin with it.
      check: applied to whatever is decoded, uint8 [h, w, channels]: the whole of an encoded picture, else a window.
    """
    kind = tf.where(tf.strings.length(raw) > 0, _RAW, tf.where(tf.size(in_tiles) > 0, _TILES, _ENCODED))
    is_encoded = tf.equal(kind, _ENCODED)
    # Once, whatever the number of windows.
    decoded = tf.cond(is_encoded, lambda: check(decode(encoded)), lambda: tf.zeros([0, 0, channels], tf.uint8))
    decoded = tf.ensure_shape(decoded, [None, None, channels])
    shape = tf.cond(
        is_encoded,
        lambda: tf.shape(decoded),
        lambda: _checked_shape(shape, tile_size, tf.equal(kind, _TILES), tf.strings.length(raw), name),
    )

    def of_raw(offset: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        row = shape[1] * shape[2]
        rows = tf.io.decode_raw(tf.strings.substr(raw, offset[0] * row, size[0] * row), tf.uint8)
        rows = tf.reshape(rows, tf.stack([size[0], shape[1], shape[2]]))
        return rows[:, offset[1] : offset[1] + size[1]]

    def of_tiles(offset: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        side = tf.cast(tile_size, tf.int32)
        return tiles.decode_window(in_tiles, shape=shape, tile_size=side, offset=offset, size=size, name=name)

    def of_what_is_there(offset: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        is_raw = tf.equal(kind, _RAW)
        pixels = tf.cond(is_raw, lambda: of_raw(offset, size), lambda: of_tiles(offset, size))
        return check(_with_channels(pixels, channels, name))

    def window(offset: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        pixels = tf.cond(
            is_encoded,
            lambda: of_pixels(decoded).window(offset, size),
            lambda: of_what_is_there(offset, size),
        )
        return tf.ensure_shape(pixels, [None, None, channels])

    return Picture(shape[:2], window)


def _checked_shape(
    shape: tf.Tensor, tile_size: tf.Tensor, in_tiles: tf.Tensor, num_bytes: tf.Tensor, name: tf.Tensor
) -> tf.Tensor:
    """int32 [3]; InvalidArgumentError, when run, unless it is that of a picture and of the bytes that are there."""
    padded = tf.concat([shape, tf.zeros([3], tf.int64)], 0)[:3]
    # As floats: the product of three numbers of 64 bits.
    pixels = tf.reduce_prod(tf.cast(padded[:2], tf.float64))
    possible = (tf.size(shape) == 3) & tf.reduce_all(padded > 0) & (pixels <= MAX_PIXELS) & (padded[2] <= 4)
    fits = tf.where(
        in_tiles,
        (tile_size > 0) & (tile_size <= 4096),
        tf.equal(tf.cast(num_bytes, tf.float64), pixels * tf.cast(padded[2], tf.float64)),
    )
    said = tf.strings.format(
        ': a record of pixels says that its shape is {}, its tiles {} wide, and has {} bytes: not decoded',
        (shape, tile_size, num_bytes),
    )
    with tf.control_dependencies([tf.debugging.Assert(possible & fits, [tf.strings.join([name, said])])]):
        return tf.cast(padded, tf.int32)


def _with_channels(pixels: tf.Tensor, channels: int, name: tf.Tensor) -> tf.Tensor:
    """uint8 [h, w, channels] of uint8 [h, w, c]; c is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha)."""
    stored_channels = tf.shape(pixels)[-1]
    as_wanted = tf.equal(stored_channels, channels)
    if channels == 4:
        said = tf.strings.format(f': the image has {{}} channels, {channels} are needed', stored_channels)
        missing = tf.debugging.Assert(as_wanted, [tf.strings.join([name, said])])
        with tf.control_dependencies([missing]):
            return tf.ensure_shape(tf.identity(pixels), [None, None, channels])

    def converted() -> tf.Tensor:
        red_green_blue = tf.gather(pixels, tf.where(stored_channels <= 2, [0, 0, 0], [0, 1, 2]), axis=-1)
        return red_green_blue if channels == 3 else _luminance(red_green_blue)

    return tf.ensure_shape(tf.cond(as_wanted, lambda: pixels, converted), [None, None, channels])


def _luminance(pixels: tf.Tensor) -> tf.Tensor:
    """uint8 [h, w, 1] of RGB, as libpng computes it with the weights that `tf.io.decode_png` gives it; grey stays."""
    red, green, blue = (tf.cast(pixels[..., i : i + 1], tf.int32) for i in range(3))
    weight_red, weight_green = 9797, 19234  # 0.299 and 0.587 of 2 ** 15, cut off as libpng cuts everything here
    total = weight_red * red + weight_green * green + (32768 - weight_red - weight_green) * blue
    return tf.cast(tf.bitwise.right_shift(total, 15), tf.uint8)
