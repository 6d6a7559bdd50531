"""Pictures of how filters of a layer are ranked, and where the cut is."""

from __future__ import annotations

import textwrap

import matplotlib

matplotlib.use('Agg')

import numpy as np
from matplotlib import pyplot

_TITLE_COLUMNS = 100  # scopes are long


def draw(path: str, *, scores: np.ndarray, num_removed: int, title: str, ylabel: str) -> None:
    """Writes a PNG of 900x400 pixels: scores [n] from the smallest on, the removed ones left of the line and in red."""
    figure, axes = pyplot.subplots(figsize=(9, 4), dpi=100, layout='constrained')
    ranked = np.sort(scores)
    places = np.arange(len(ranked))
    axes.fill_between(places, ranked, color='tab:blue', alpha=0.4, step='mid')
    if num_removed:
        removed = slice(None, num_removed)
        axes.fill_between(places[removed], ranked[removed], color='tab:red', alpha=0.6, step='mid')
    axes.axvline(num_removed - 0.5, color='tab:red', label=f'{num_removed} of {len(ranked)} are removed')
    axes.set(xlabel='filters, from the least', ylabel=ylabel, xlim=(-0.5, len(ranked) - 0.5), ylim=(0, None))
    axes.set_title('\n'.join(textwrap.wrap(title, _TITLE_COLUMNS)), fontsize=10)
    axes.legend(loc='upper left')
    figure.savefig(path, format='png')
    pyplot.close(figure)
