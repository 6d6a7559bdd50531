"""A heat map of what each layer's filters are worth."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib

matplotlib.use('Agg')

import numpy as np
from matplotlib import pyplot

_POINTS = 8  # of the names and numbers
_ROW = 0.24  # inches, twice as high as they are


def draw(path: str, *, names: Sequence[str], shares: Sequence[float], values: np.ndarray, whole: float) -> None:
    """Writes a PNG: a row for each layer, a column for each removed share, mIoU in percent as colour and number.

    Args:
      names: of the layers, from image to classes.
      values: mIoU [layers, shares] in 0..1, NaN where unknown.
      whole: mIoU of the network with all filters.
    """
    figure, axes = pyplot.subplots(
        figsize=(6 + 0.7 * len(shares), 1.5 + _ROW * len(names)), dpi=120, layout='constrained'
    )
    percent = 100 * np.asarray(values, float)
    image = axes.imshow(percent, aspect='auto', cmap='viridis', vmin=0, vmax=100 * whole or 1)
    for row, column in np.ndindex(*percent.shape):
        if np.isfinite(percent[row, column]):
            dark = percent[row, column] < 60 * whole
            text = f'{percent[row, column]:.1f}'
            axes.text(column, row, text, ha='center', va='center', fontsize=_POINTS, color='white' if dark else 'black')
    axes.set_xticks(range(len(shares)), [f'{100 * share:g} %' for share in shares])
    axes.set_yticks(range(len(names)), names, fontsize=_POINTS)
    axes.set(xlabel='filters removed', title=f'mIoU, {100 * whole:.1f} % with all filters')
    figure.colorbar(image, ax=axes, label='mIoU, %')
    figure.savefig(path, format='png')
    pyplot.close(figure)
