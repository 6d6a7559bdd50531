"""Class ids of enlarged logits without the enlarged logits.

The logits of an image are enlarged, corners aligned, by a whole factor: between four neighbouring samples they are
bilinear, a weighted mean of the four. Where one class is the largest at all four, it is the largest everywhere between
them. So only cells whose corners disagree are interpolated; they lie along the borders of objects. A float tensor of
the size of the image never exists.

A cell is factor x factor pixels, its first sample among them; the last row and column of samples begin cells too, which
the image cuts off behind their first pixel.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from exporters.optimise import resizing, rewriting

_LARGEST_CHUNK = 1_250_000  # floats of interpolated logits held at once: about what a processor's cache holds


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Cells:
    """A cell's rows hold `words` integers of `dtype`, each `pixels` class ids: wide words move several at once."""

    rows: int
    words: int
    pixels: int
    dtype: Any


def by_cells(node: rewriting.Node) -> tf.Tensor | None:
    """Enlargement, perhaps a crop, argmax over classes, cast to uint8 -> the same ids by cells."""
    return _by_cells(node, portable=False)


def by_cells_portable(node: rewriting.Node) -> tf.Tensor | None:
    """`by_cells` without a loop and without bit casts: for OpenVINO. All mixed cells are interpolated at once."""
    return _by_cells(node, portable=True)


def _by_cells(node: rewriting.Node, *, portable: bool) -> tf.Tensor | None:
    if node.op != 'Cast' or node.proto.attr['DstT'].type != tf.uint8.as_datatype_enum:
        return None
    argmax = node.inputs[0].op
    if argmax.type != 'ArgMax' or rewriting.constant(argmax.inputs[1]) not in (-1, 3) or node.consumers_of[0] > 1:
        return None
    resize, crop = argmax.inputs[0].op, None
    if resize.type == 'StridedSlice':
        resize, crop = resize.inputs[0].op, resize
    if (factors := resizing.factors(resize)) is None or factors == (1, 1):
        return None
    logits = resize.inputs[0]
    if not logits.shape.is_fully_defined() or logits.dtype != tf.float32 or not 2 <= logits.shape[-1] <= 256:
        return None
    ids = class_ids(logits, factors, portable=portable)
    if crop is None:
        return ids
    attributes = dict(crop.node_def.attr)
    attributes['T'] = tf.compat.v1.AttrValue(type=tf.uint8.as_datatype_enum)
    cropped = _node_op('StridedSlice', [ids[..., tf.newaxis], *crop.inputs[1:]], attributes)
    return cropped[..., 0]


def class_ids(logits: tf.Tensor, factors: tuple[int, int], *, portable: bool = False) -> tf.Tensor:
    """Argmax of logits [N, h, w, 2 <= C <= 256] enlarged, corners aligned: uint8 [N, (h - 1) fy + 1, (w - 1) fx + 1].

    Equal to resizing and tf.argmax wherever the largest logit is above the others by more than rounding.
    """
    batch, height, width, num_classes = logits.shape.as_list()
    cells = _cells_of(factors, packed=not portable)
    logits = tf.concat([logits, logits[:, -1:]], 1)
    logits = tf.concat([logits, logits[:, :, -1:]], 2)
    sampled = tf.argmax(logits, -1, tf.int32)
    corners = [sampled[:, y : y + height, x : x + width] for y in (0, 1) for x in (0, 1)]
    lowest, highest = corners[0], corners[0]
    for corner in corners[1:]:
        lowest, highest = tf.minimum(lowest, corner), tf.maximum(highest, corner)
    mixed = tf.where(tf.reshape(tf.not_equal(lowest, highest), [-1]))[:, 0]
    words = _uniform(corners[0], num_classes, cells)
    words = _fill_mixed(words, tf.cast(mixed, tf.int32), logits, factors, cells, at_once=portable)
    picture = tf.reshape(words, [batch, height, width, cells.rows, cells.words])
    picture = tf.transpose(picture, [0, 1, 3, 2, 4])
    picture = tf.reshape(picture, [batch, height * cells.rows, width * cells.words])
    if cells.pixels > 1:
        picture = tf.bitcast(picture, tf.uint8)
    picture = tf.reshape(picture, [batch, height * factors[0], width * factors[1]])
    return picture[:, : (height - 1) * factors[0] + 1, : (width - 1) * factors[1] + 1]


def _cells_of(factors: tuple[int, int], *, packed: bool) -> _Cells:
    for pixels, dtype in ((8, tf.int64), (4, tf.int32)):
        if packed and factors[1] % pixels == 0:
            return _Cells(rows=factors[0], words=factors[1] // pixels, pixels=pixels, dtype=dtype)
    return _Cells(rows=factors[0], words=factors[1], pixels=1, dtype=tf.uint8)


def _uniform(ids: tf.Tensor, num_classes: int, cells: _Cells) -> tf.Tensor:
    """Each cell filled with one id: [number of cells, rows * words]."""
    if cells.pixels == 1:
        return tf.tile(tf.cast(tf.reshape(ids, [-1, 1]), tf.uint8), [1, cells.rows * cells.words])
    table = np.repeat(np.arange(num_classes, dtype=np.uint8)[:, np.newaxis], cells.pixels, 1)
    words = tf.gather(table.view(cells.dtype.as_numpy_dtype)[:, 0], tf.reshape(ids, [-1, 1]))
    return tf.tile(words, [1, cells.rows * cells.words])


def _fill_mixed(
    words: tf.Tensor, mixed: tf.Tensor, logits: tf.Tensor, factors: tuple[int, int], cells: _Cells, *, at_once: bool
) -> tf.Tensor:
    """`words` with the cells numbered in `mixed` computed, some at a time or all at once."""
    _, padded_height, padded_width, num_classes = logits.shape.as_list()
    height, width = padded_height - 1, padded_width - 1
    row, column = mixed // width, mixed % width
    first = (row // height * padded_height + row % height) * padded_width + column
    samples = tf.stack([first, first + 1, first + padded_width, first + padded_width + 1], 1)
    flat = tf.reshape(logits, [-1, num_classes])

    weights = _weights(factors)

    def fill(words: tf.Tensor, numbers: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
        ids = tf.reshape(
            _interpolated_ids(tf.gather(flat, samples), weights), [-1, cells.rows * cells.words, cells.pixels]
        )
        filled = tf.bitcast(ids, cells.dtype) if cells.pixels > 1 else tf.squeeze(ids, -1)
        return tf.tensor_scatter_nd_update(words, numbers[:, tf.newaxis], filled)

    if at_once:
        return fill(words, mixed, samples)
    chunk = max(1, _LARGEST_CHUNK // (factors[0] * factors[1] * num_classes))
    count = tf.shape(mixed)[0]

    def fill_chunk(begin: tf.Tensor, words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        end = begin + chunk
        return end, fill(words, mixed[begin:end], samples[begin:end])

    return tf.while_loop(lambda begin, _: begin < count, fill_chunk, (tf.constant(0), words), parallel_iterations=1)[1]


def _weights(factors: tuple[int, int]) -> np.ndarray:
    """Shares of the four corners in each pixel of a cell: float32 [4, rows * columns]."""
    below, right = (np.arange(factor) / factor for factor in factors)
    shares = [np.outer(y, x) for y in (1 - below, below) for x in (1 - right, right)]
    return np.stack(shares).reshape(4, -1).astype(np.float32)


def _interpolated_ids(corners: tf.Tensor, weights: np.ndarray) -> tf.Tensor:
    """Corners [n, 4, C] -> the first of the largest classes of each pixel, uint8 [n * pixels].

    A plane of pixels for each class, so that all work runs along long rows. The first class with the largest logit is
    the number of classes up to which the largest has not been met.
    """
    num_classes = corners.shape[-1]
    by_class = tf.reshape(tf.transpose(corners, [2, 0, 1]), [-1, 4])
    planes = tf.unstack(tf.reshape(tf.matmul(by_class, weights), [num_classes, -1]))
    largest = [planes[0]]
    for plane in planes[1:]:
        largest.append(tf.maximum(largest[-1], plane))
    return tf.add_n([tf.cast(tf.less(up_to_here, largest[-1]), tf.uint8) for up_to_here in largest[:-1]])


def _node_op(op: str, inputs: list[tf.Tensor], attributes: dict[str, Any]) -> tf.Tensor:
    return tf.compat.v1.get_default_graph().create_op(op, inputs, attrs=attributes).outputs[0]
