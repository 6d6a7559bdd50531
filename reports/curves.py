"""Curves of a training run: losses and mean IoU over steps, as one picture."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import matplotlib

matplotlib.use('Agg')

from matplotlib import pyplot


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """Values over steps: `steps` and `values` of equal length, `label` for the legend."""

    label: str
    steps: Sequence[float]
    values: Sequence[float]


def draw(path: str, *, losses: Sequence[Curve], scores: Sequence[Curve], title: str = '') -> None:
    """Writes a PNG of 1200x450 pixels: losses (logarithmic) on the left, scores in [0, 1] on the right."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5), dpi=100, layout='constrained')
    for curve in losses:
        left.plot(curve.steps, curve.values, label=curve.label, linewidth=1.2)
    for curve in scores:
        right.plot(curve.steps, curve.values, label=curve.label, marker='o', markersize=4)
    left.set(xlabel='step', ylabel='training loss', yscale='log')
    right.set(xlabel='step', ylabel='score on the evaluation set', ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    temporary = f'{path}.tmp'
    figure.savefig(temporary, format='png')
    pyplot.close(figure)
    os.replace(temporary, path)
