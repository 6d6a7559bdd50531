"""A 3x3 convolution of small grids enlarged to a map, computed on the grids.

Enlarging with corners aligned is linear along either axis: the matrix E of [H, n] makes H rows of n. Moved by one row,
with zeros from beyond the edge, the map is that of E with its rows moved. So the convolution needs nine products of the
grid with the kernel, one for each tap, and two small matrices, [H, 3n] and [W, 3m], which put all of them in place.

Of PSPNet's pyramid (Zhao et al., arXiv:1612.01105) that leaves less than a hundredth of the work of its levels in the
module's last convolution, half of that layer, and neither enlarged levels nor their concatenation are ever made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def convolve_enlarged_grids(
    grids: Sequence[tf.Tensor], kernels: Sequence[tf.Tensor], size: tuple[int, int]
) -> tf.Tensor:
    """The sum over grids of `layers.resize_bilinear(grid, size)` convolved with its kernel, padded with zeros.

    The same but for the rounding of sums.

    Args:
      grids: one or more, [B, n, m, C] of known sizes, which differ from grid to grid.
      kernels: for each grid [3, 3, C, D], all of one D.
      size: height and width of the map.

    Returns:
      [B, height, width, D].
    """
    height, width = size
    wide = [
        tf.matmul(_moved_enlargement(width, grid.shape[2]), _products(grid, kernel))
        for grid, kernel in zip(grids, kernels, strict=True)
    ]
    stacked = tf.concat(wide, axis=1)
    depth = stacked.shape[-1]
    rows = tf.reshape(stacked, [-1, stacked.shape[1], width * depth])
    downwards = np.concatenate([_moved_enlargement(height, grid.shape[1]) for grid in grids], axis=1)
    return tf.reshape(tf.matmul(downwards, rows), [-1, height, width, depth])


def _products(grid: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """[B, n, m, C], [3, 3, C, D] -> [B, 3n, 3m, D]: cell (i, j) by tap (u, v) at row u * n + i, column v * m + j."""
    _, height, width, channels = grid.shape
    depth = kernel.shape[-1]
    cells = tf.reshape(grid, [-1, channels])
    products = tf.matmul(cells, tf.reshape(kernel, [9, channels, depth]))
    by_tap = tf.reshape(products, [3, 3, -1, height, width, depth])
    return tf.reshape(tf.transpose(by_tap, [2, 0, 3, 1, 4, 5]), [-1, 3 * height, 3 * width, depth])


def _moved_enlargement(length: int, cells: int) -> np.ndarray:
    """float32 [length, 3 * cells]: for the taps -1, 0 and 1, what each cell adds to each place."""
    places = np.arange(length) * ((cells - 1) / (length - 1) if length > 1 else 0)
    # A hat of width 1 on each side of a cell: linear interpolation.
    enlargement = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(cells)))
    padded = np.pad(enlargement, [(1, 1), (0, 0)])
    return np.concatenate([padded[tap : tap + length] for tap in range(3)], axis=1).astype(np.float32)
