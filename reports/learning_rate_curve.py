"""The loss over the learning rate of a sweep, as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib

matplotlib.use('Agg')

from matplotlib import pyplot


def draw(
    *,
    learning_rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    marks: Mapping[str, float],
    title: str = '',
) -> bytes:
    """A PNG of 800x500 pixels, the learning rate logarithmic.

    Args:
      learning_rates: ascending.
      losses, smoothed: one of each for every rate; those that are not finite are left out.
      marks: learning rates to point out, by what they are called.
      title: above.
    """
    figure, axes = pyplot.subplots(figsize=(8, 5), dpi=100, layout='constrained')
    axes.plot(learning_rates, losses, color='0.7', linewidth=1, label='loss')
    axes.plot(learning_rates, smoothed, color='tab:blue', linewidth=2, label='smoothed')
    for color, (name, rate) in zip(('tab:orange', 'tab:green', 'tab:red'), marks.items(), strict=False):
        axes.axvline(rate, color=color, linestyle='--', label=f'{name}: {rate:.2g}')
    axes.set(xscale='log', xlabel='learning rate', ylabel='training loss')
    axes.grid(alpha=0.3)
    axes.legend()
    axes.set_title(title)
    picture = io.BytesIO()
    figure.savefig(picture, format='png')
    pyplot.close(figure)
    return picture.getvalue()
