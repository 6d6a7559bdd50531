"""Windows that slide over an image: where they lie, and how much each says about a pixel; NumPy only.

Both axes are treated alike and apart: a grid of windows is the product of a row of them along the height and one along
the width, and so are the weights, which therefore are kept as one vector per window and axis.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

# Isensee et al. 2021 (nnU-Net, doi:10.1038/s41592-020-01008-z) blend with a Gaussian of an eighth of the window.
_GAUSSIAN_SIGMA = 1 / 8


def _distances(window: int) -> np.ndarray:
    """Of each pixel of a window to its middle, in windows: -0.5 .. 0.5."""
    return (np.arange(window) - (window - 1) / 2) / window


BLENDS: dict[str, Callable[[int], np.ndarray]] = {
    'gaussian': lambda window: np.exp(-0.5 * (_distances(window) / _GAUSSIAN_SIGMA) ** 2),
    'linear': lambda window: 0.5 - np.abs(_distances(window)) + 0.5 / window,
    'uniform': np.ones,
}


def starts(length: int, window: int, overlap: float) -> list[int]:
    """First pixel of each window along an axis: the fewest, evenly spread, that cover it and overlap enough.

    Args:
      length: of the axis, in pixels.
      window: length of a window; the axis itself if that is shorter.
      overlap: least share of a window that its neighbour sees as well, 0 to below 1.

    Returns:
      Rising starts, the first 0, the last `length - window`.
    """
    if length < 1 or window < 1 or not 0 <= overlap < 1:
        raise ValueError(f'no windows of {window} pixels on an axis of {length} with overlap {overlap}')
    spare = max(0, length - window)
    step = max(1, math.floor(window * (1 - overlap) + 1e-6))
    gaps = math.ceil(spare / step)
    return [round(i * spare / gaps) for i in range(gaps + 1)] if gaps else [0]


def weights(begins: Sequence[int], window: int, length: int, blend: str) -> np.ndarray:
    """What each window counts at each of its pixels, float32 [windows, window]; at each pixel of the axis the sum is 1.

    Args:
      begins: from `starts`.
      window: length of a window, at most `length`.
      length: of the axis.
      blend: a key of `BLENDS`: how weight falls from the middle of a window to its ends.
    """
    profile = BLENDS[blend](window)
    total = np.zeros(length)
    for begin in begins:
        total[begin : begin + window] += profile
    return np.stack([profile / total[begin : begin + window] for begin in begins]).astype(np.float32)


def cells(begins: Sequence[int], window: int, length: int) -> list[slice]:
    """The part of the axis nearest to the middle of each window: together the whole axis, each pixel once."""
    borders = [(left + window + right) // 2 for left, right in itertools.pairwise(begins)]
    return [slice(a, b) for a, b in zip([0, *borders], [*borders, length], strict=True)]
