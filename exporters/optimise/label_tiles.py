"""Class ids of logits enlarged by any factor, without the enlarged logits.

`labels` does this cell by cell, where a whole factor makes all cells alike. Here the image is cut into tiles of 8x8
pixels instead. Every pixel of a tile is a weighted mean of the samples that the tile lies between, so where one class
is the largest at all of these, it is the class of the whole tile. The other tiles, along the borders of objects, are
interpolated: rows, then columns, as products with the weights that rows and columns of tiles have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from exporters.optimise import labels, resizing, rewriting

_SIDE = 8  # pixels; a row of class ids is one int64
_LEAST_FACTOR = 2  # for less, tiles lie between many samples, and few are uniform
_MOST_MIXED = 0.4  # of the tiles; with more, interpolating them takes longer than interpolating the whole image


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Axis:
    """Tiles along one side of the image.

    Attributes:
      given: samples along that side.
      tiles: how many; the last may reach beyond the image.
      samples: int32 [tiles, k], neighbours, of which a tile's pixels are means.
      weights: float32 [tiles, 8, k], of these in each pixel; what lies beyond the image is as its last pixel.
    """

    given: int
    tiles: int
    samples: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, given: int, made: int) -> _Axis:
        """For `given` samples that become `made` pixels, corners aligned."""
        tiles = -(-made // _SIDE)
        pixels = np.minimum(np.arange(tiles * _SIDE), made - 1).reshape(tiles, _SIDE) * (given - 1)
        first, last = pixels[:, 0] // (made - 1), -(-pixels[:, -1] // (made - 1))
        span = (last - first).max() + 1
        samples = np.minimum(first, given - span)[:, np.newaxis] + np.arange(span)
        apart = np.abs(pixels[:, :, np.newaxis] / (made - 1) - samples[:, np.newaxis])
        weights = np.maximum(0.0, 1.0 - apart)
        return cls(given=given, tiles=tiles, samples=samples.astype(np.int32), weights=weights.astype(np.float32))


def by_cells_or_tiles(node: rewriting.Node) -> tf.Tensor | None:
    """Enlargement, perhaps a crop, argmax over classes, cast to uint8 -> the same ids by cells, or else by tiles."""
    made = labels.by_cells(node)
    found = labels.find(node) if made is None else None
    if found is None:
        return made
    given, size = resizing.sides(found.resize) or ([], [])
    if any(n < 2 or m < _LEAST_FACTOR * n for n, m in zip(given, size, strict=True)):
        return None
    return found.cropped(class_ids(found.logits, size))


def class_ids(logits: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
    """Argmax of logits float32 [N, h >= 2, w >= 2, 2 <= C <= 256] enlarged to `size`, corners aligned.

    Returns uint8 [N, *size], equal to resizing and tf.argmax wherever the largest logit is above the others by more
    than rounding. Where most tiles would have to be interpolated, all of the image is, as a whole.
    """
    rows, columns = _Axis.of(logits.shape[1], size[0]), _Axis.of(logits.shape[2], size[1])
    sampled = tf.argmax(logits, -1, tf.int32)
    lowest, highest = (_over_tiles(sampled, rows, columns, pick) for pick in (tf.minimum, tf.maximum))
    mixed = tf.cast(tf.where(tf.not_equal(lowest, highest))[:, 0], tf.int32)
    return tf.cond(
        tf.size(mixed) <= int(_MOST_MIXED * int(lowest.shape[0])),
        lambda: _picture(logits, lowest, mixed, rows, columns)[:, : size[0], : size[1]],
        lambda: tf.cast(tf.argmax(resizing.resize(logits, size), -1, tf.int32), tf.uint8),
    )


def _picture(logits: tf.Tensor, ids: tf.Tensor, mixed: tf.Tensor, rows: _Axis, columns: _Axis) -> tf.Tensor:
    """All tiles side by side, uint8 [N, 8 * rows, 8 * columns]: of one id each, but for those numbered in `mixed`."""
    batch, num_classes = int(logits.shape[0]), int(logits.shape[3])
    cells = labels.Cells.of((_SIDE, _SIDE), packed=True)

    def fill(words: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
        return labels.filled(words, numbers, _interpolated_ids(logits, numbers, rows, columns), cells)

    words = labels.uniform(ids, num_classes, cells)
    words = labels.in_chunks(words, mixed, fill, floats=_SIDE * _SIDE * num_classes)
    return labels.picture(words, [batch, rows.tiles, columns.tiles], cells)


def _over_tiles(
    sampled: tf.Tensor, rows: _Axis, columns: _Axis, pick: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """The lowest or highest id, of [N, h, w], among the samples of each tile: int32 [N * tiles]."""
    for axis, side in ((1, rows), (2, columns)):
        parts = [tf.gather(sampled, samples, axis=axis) for samples in side.samples.T]
        sampled = parts[0]
        for part in parts[1:]:
            sampled = pick(sampled, part)
    return tf.reshape(sampled, [-1])


def _interpolated_ids(logits: tf.Tensor, numbers: tf.Tensor, rows: _Axis, columns: _Axis) -> tf.Tensor:
    """Class ids of the tiles of these numbers: uint8 [n * 64]."""
    num_classes = logits.shape[-1]
    column, row = numbers % columns.tiles, numbers // columns.tiles % rows.tiles
    image = numbers // (rows.tiles * columns.tiles)
    down = tf.gather(rows.samples, row) + (image * rows.given)[:, tf.newaxis]
    places = down[:, :, tf.newaxis] * columns.given + tf.gather(columns.samples, column)[:, tf.newaxis]
    samples = tf.transpose(tf.gather(tf.reshape(logits, [-1, num_classes]), places), [0, 1, 3, 2])
    tall, wide = rows.samples.shape[1], columns.samples.shape[1]
    by_row = tf.matmul(tf.gather(rows.weights, row), tf.reshape(samples, [-1, tall, num_classes * wide]))
    across = tf.gather(columns.weights.transpose(0, 2, 1), column)
    pixels = tf.matmul(tf.reshape(by_row, [-1, _SIDE * num_classes, wide]), across)
    return labels.first_largest(tf.unstack(tf.reshape(pixels, [-1, _SIDE, num_classes, _SIDE]), axis=2))
