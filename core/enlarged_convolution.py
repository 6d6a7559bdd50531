"""A dilated convolution of an enlarged map, computed on the map as it was.

Doubling a map with corners aligned, [h, w] -> [2h - 1, 2w - 1], puts the old pixels on even places and means of two
between them. A 3x3 convolution of rate 2 reads, from an even place, old pixels only, and from an odd one means of the
same two neighbours: so it is the plain convolution of the old map, enlarged, on a quarter of the pixels.

All but the second and last but one row and column, whose outer taps lie beyond the edge. There the enlarged convolution
counts half of an edge pixel where the convolution of the enlarged map counts 0. Along one axis, with P the enlarged
convolution and p that half, the right one is P - p; along both it is (P - p)(Q - q) = PQ - Pq - p(Q - q).
"""

from __future__ import annotations

import tensorflow as tf

from core import layers


def convolve_enlarged(features: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """[B, h, w, C] -> [B, 2h - 1, 2w - 1, D], as `layers.enlarge(features, 2)` convolved at rate 2, padded with zeros.

    The same but for the rounding of sums.

    Args:
      features: of known height and width.
      kernel: [3, 3, C, D].
    """
    enlarged = layers.enlarge(_convolved(features, kernel), 2)
    height, width = layers.spatial_size(enlarged)
    if width > 1:
        enlarged = _without_halves(enlarged, *_edges(features, kernel, axis=2), axis=2)
    if height > 1:
        halves = (_convolve_row(edge, taps) for edge, taps in _edge_taps(features, kernel, axis=1))
        enlarged = _without_halves(enlarged, *halves, axis=1)
    return enlarged


def _convolved(features: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    return tf.nn.conv2d(features, kernel, 1, 'SAME')


def _edge_taps(features: tf.Tensor, kernel: tf.Tensor, *, axis: int) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Both edges of the map, one pixel wide, each with the taps that lie beyond it where an odd place is next to it."""
    if axis == 1:
        return [(features[:, :1], kernel[:1]), (features[:, -1:], kernel[2:])]
    return [(features[:, :, :1], kernel[:, :1]), (features[:, :, -1:], kernel[:, 2:])]


def _edges(features: tf.Tensor, kernel: tf.Tensor, *, axis: int) -> list[tf.Tensor]:
    return [layers.enlarge(_convolved(edge, taps), 2) for edge, taps in _edge_taps(features, kernel, axis=axis)]


def _convolve_row(row: tf.Tensor, taps: tf.Tensor) -> tf.Tensor:
    """[B, 1, w, C] -> [B, 1, 2w - 1, D], right to the ends of the row."""
    enlarged = layers.enlarge(_convolved(row, taps), 2)
    return _without_halves(enlarged, *_edges(row, taps, axis=2), axis=2) if enlarged.shape[2] > 1 else enlarged


def _without_halves(enlarged: tf.Tensor, first: tf.Tensor, last: tf.Tensor, *, axis: int) -> tf.Tensor:
    """`enlarged` less half of `first` in its second place along the axis and half of `last` in the last but one."""
    length = enlarged.shape[axis]
    for edge, place in ((first, 1), (last, length - 2)):
        paddings = [[0, 0] for _ in range(4)]
        paddings[axis] = [place, length - 1 - place]
        enlarged -= tf.pad(0.5 * edge, paddings)
    return enlarged
