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
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from exporters.optimise import resizing, rewriting

_LARGEST_CHUNK = 1_250_000  # floats of interpolated logits held at once: about what a processor's cache holds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cells:
    """A cell's rows hold `words` integers of `dtype`, each `pixels` class ids: wide words move several at once."""

    rows: int
    words: int
    pixels: int
    dtype: Any

    @classmethod
    def of(cls, size: tuple[int, int], *, packed: bool) -> Cells:
        """For cells of `size` pixels; not `packed`, each id is a word."""
        for pixels, dtype in ((8, tf.int64), (4, tf.int32)):
            if packed and size[1] % pixels == 0:
                return cls(rows=size[0], words=size[1] // pixels, pixels=pixels, dtype=dtype)
        return cls(rows=size[0], words=size[1], pixels=1, dtype=tf.uint8)


def by_cells(node: rewriting.Node) -> tf.Tensor | None:
    """Enlargement, perhaps a crop, argmax over classes, cast to uint8 -> the same ids by cells."""
    return _by_cells(node, portable=False)


def by_cells_portable(node: rewriting.Node) -> tf.Tensor | None:
    """`by_cells` without a loop and without bit casts: for OpenVINO. All mixed cells are interpolated at once."""
    return _by_cells(node, portable=True)


def _by_cells(node: rewriting.Node, *, portable: bool) -> tf.Tensor | None:
    found = find(node)
    factors = found and resizing.factors(found.resize)
    if found is None or factors is None or factors == (1, 1):
        return None
    return found.cropped(class_ids(found.logits, factors, portable=portable))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """Class ids of enlarged logits, as a graph computes them: the enlargement, and the crop behind it, if any."""

    resize: tf.Operation
    crop: tf.Operation | None

    @property
    def logits(self) -> tf.Tensor:
        """float32 [N, h, w, 2 <= C <= 256], of known size."""
        return self.resize.inputs[0]

    def cropped(self, ids: tf.Tensor) -> tf.Tensor:
        """What the crop leaves of ids [N, H, W]."""
        if self.crop is None:
            return ids
        attributes = dict(self.crop.node_def.attr)
        attributes['T'] = tf.compat.v1.AttrValue(type=tf.uint8.as_datatype_enum)
        inputs = [ids[..., tf.newaxis], *self.crop.inputs[1:]]
        made = tf.compat.v1.get_default_graph().create_op('StridedSlice', inputs, attrs=attributes)
        return made.outputs[0][..., 0]


def find(node: rewriting.Node) -> Found | None:
    """What the cast of an argmax, which nothing else reads, to uint8 is made from; None for other operations."""
    if node.op != 'Cast' or node.proto.attr['DstT'].type != tf.uint8.as_datatype_enum:
        return None
    argmax = node.inputs[0].op
    if argmax.type != 'ArgMax' or rewriting.constant(argmax.inputs[1]) not in (-1, 3) or node.consumers_of[0] > 1:
        return None
    resize, crop = argmax.inputs[0].op, None
    if resize.type == 'StridedSlice':
        resize, crop = resize.inputs[0].op, resize
    if resizing.sides(resize) is None:
        return None
    logits = resize.inputs[0]
    if not logits.shape.is_fully_defined() or logits.dtype != tf.float32 or not 2 <= logits.shape[-1] <= 256:
        return None
    return Found(resize=resize, crop=crop)


def class_ids(logits: tf.Tensor, factors: tuple[int, int], *, portable: bool = False) -> tf.Tensor:
    """Argmax of logits [N, h, w, 2 <= C <= 256] enlarged, corners aligned: uint8 [N, (h - 1) fy + 1, (w - 1) fx + 1].

    Equal to resizing and tf.argmax wherever the largest logit is above the others by more than rounding.
    """
    batch, height, width, num_classes = logits.shape.as_list()
    cells = Cells.of(factors, packed=not portable)
    logits = tf.concat([logits, logits[:, -1:]], 1)
    logits = tf.concat([logits, logits[:, :, -1:]], 2)
    sampled = tf.argmax(logits, -1, tf.int32)
    corners = [sampled[:, y : y + height, x : x + width] for y in (0, 1) for x in (0, 1)]
    lowest, highest = corners[0], corners[0]
    for corner in corners[1:]:
        lowest, highest = tf.minimum(lowest, corner), tf.maximum(highest, corner)
    mixed = tf.where(tf.reshape(tf.not_equal(lowest, highest), [-1]))[:, 0]
    words = uniform(corners[0], num_classes, cells)
    words = _fill_mixed(words, tf.cast(mixed, tf.int32), logits, factors, cells, at_once=portable)
    whole = picture(words, [batch, height, width], cells)
    return whole[:, : (height - 1) * factors[0] + 1, : (width - 1) * factors[1] + 1]


def picture(words: tf.Tensor, grid: Sequence[int], cells: Cells) -> tf.Tensor:
    """Cells [N * rows * columns, words of a cell] side by side, uint8 [N, H, W]; `grid` is N, rows, columns."""
    batch, rows, columns = grid
    made = tf.transpose(tf.reshape(words, [*grid, cells.rows, cells.words]), [0, 1, 3, 2, 4])
    made = tf.reshape(made, [batch, rows * cells.rows, columns * cells.words])
    if cells.pixels > 1:
        made = tf.bitcast(made, tf.uint8)
    return tf.reshape(made, [batch, rows * cells.rows, columns * cells.words * cells.pixels])


def uniform(ids: tf.Tensor, num_classes: int, cells: Cells) -> tf.Tensor:
    """Each cell filled with one id: [number of cells, rows * words]."""
    ids = tf.reshape(ids, [-1, 1])
    if cells.pixels == 1:
        return tf.tile(tf.cast(ids, tf.uint8), [1, cells.rows * cells.words])
    table = np.repeat(np.arange(num_classes, dtype=np.uint8)[:, np.newaxis], cells.pixels, 1)
    words = tf.gather(table.view(cells.dtype.as_numpy_dtype)[:, 0], ids)
    return tf.tile(words, [1, cells.rows * cells.words])


def filled(words: tf.Tensor, numbers: tf.Tensor, ids: tf.Tensor, cells: Cells) -> tf.Tensor:
    """`words` with the cells of these numbers made of ids uint8 [n * pixels of a cell]."""
    ids = tf.reshape(ids, [-1, cells.rows * cells.words, cells.pixels])
    made = tf.bitcast(ids, cells.dtype) if cells.pixels > 1 else tf.squeeze(ids, -1)
    return tf.tensor_scatter_nd_update(words, numbers[:, tf.newaxis], made)


def in_chunks(
    words: tf.Tensor, numbers: tf.Tensor, fill: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], *, floats: int
) -> tf.Tensor:
    """`words` after `fill(words, numbers)`, some numbers at a time; each needs `floats` of interpolated logits."""
    chunk = max(1, _LARGEST_CHUNK // floats)
    count = tf.shape(numbers)[0]

    def fill_chunk(begin: tf.Tensor, words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        end = begin + chunk
        return end, fill(words, numbers[begin:end])

    return tf.while_loop(lambda begin, _: begin < count, fill_chunk, (tf.constant(0), words), parallel_iterations=1)[1]


def _fill_mixed(
    words: tf.Tensor, mixed: tf.Tensor, logits: tf.Tensor, factors: tuple[int, int], cells: Cells, *, at_once: bool
) -> tf.Tensor:
    """`words` with the cells numbered in `mixed` computed, some at a time or all at once."""
    _, padded_height, padded_width, num_classes = logits.shape.as_list()
    height, width = padded_height - 1, padded_width - 1
    flat, weights = tf.reshape(logits, [-1, num_classes]), _weights(factors)

    def fill(words: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
        row, column = numbers // width, numbers % width
        first = (row // height * padded_height + row % height) * padded_width + column
        samples = tf.stack([first, first + 1, first + padded_width, first + padded_width + 1], 1)
        return filled(words, numbers, _interpolated_ids(tf.gather(flat, samples), weights), cells)

    return fill(words, mixed) if at_once else in_chunks(words, mixed, fill, floats=weights.shape[1] * num_classes)


def _weights(factors: tuple[int, int]) -> np.ndarray:
    """Shares of the four corners in each pixel of a cell: float32 [4, rows * columns]."""
    below, right = (np.arange(factor) / factor for factor in factors)
    shares = [np.outer(y, x) for y in (1 - below, below) for x in (1 - right, right)]
    return np.stack(shares).reshape(4, -1).astype(np.float32)


def _interpolated_ids(corners: tf.Tensor, weights: np.ndarray) -> tf.Tensor:
    """Corners [n, 4, C] -> the first of the largest classes of each pixel, uint8 [n * pixels]."""
    num_classes = corners.shape[-1]
    by_class = tf.reshape(tf.transpose(corners, [2, 0, 1]), [-1, 4])
    return first_largest(tf.unstack(tf.reshape(tf.matmul(by_class, weights), [num_classes, -1])))


def first_largest(planes: Sequence[tf.Tensor]) -> tf.Tensor:
    """The first of the largest classes of each pixel, uint8 [n], of the logits [n] of each class.

    A plane of pixels for each class, so that all work runs along long rows. The first class with the largest logit is
    the number of classes up to which the largest has not been met.
    """
    largest = [planes[0]]
    for plane in planes[1:]:
        largest.append(tf.maximum(largest[-1], plane))
    return tf.add_n([tf.cast(tf.less(up_to_here, largest[-1]), tf.uint8) for up_to_here in largest[:-1]])
