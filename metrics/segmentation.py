"""Scores of a confusion matrix, as the PASCAL VOC and Cityscapes benchmarks define them.

Let n[i, j] be the number of pixels of label i predicted as j. Then (Long et al. 2015, arXiv:1411.4038, section 5):
IoU of class i = n[i, i] / (sum_j n[i, j] + sum_j n[j, i] - n[i, i]); pixel accuracy = sum_i n[i, i] / sum n;
accuracy of class i = n[i, i] / sum_j n[i, j]. A mean runs over the classes for which its terms are defined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def class_iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, float64 [C] in 0..1; NaN where neither labelled nor predicted."""
    hits = np.diag(counts)
    return _ratio(hits, counts.sum(1) + counts.sum(0) - hits)


def class_accuracy(counts: np.ndarray) -> np.ndarray:
    """Share of each class's pixels that were predicted as it, float64 [C] in 0..1; NaN where not labelled."""
    return _ratio(np.diag(counts), counts.sum(1))


def pixel_accuracy(counts: np.ndarray) -> float:
    """Share of all counted pixels that are right, in 0..1; NaN if none was counted."""
    return float(_ratio(np.diag(counts).sum(), counts.sum()))


def mean_iou(counts: np.ndarray) -> float:
    """Mean of `class_iou` over the classes that occur; NaN if none does."""
    return _mean(class_iou(counts))


def mean_accuracy(counts: np.ndarray) -> float:
    """Mean of `class_accuracy` over the classes that are labelled; NaN if none is."""
    return _mean(class_accuracy(counts))


def summarize(counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """Every score by name, ready for JSON (an undefined score is None).

    Args:
      counts: int64 [C, C], rows are labels.
      class_names: C names, each once.
    """
    if len(class_names) != len(counts):
        raise ValueError(f'{len(class_names)} class names for {len(counts)} classes')
    return {
        'mean_iou': _json(mean_iou(counts)),
        'pixel_accuracy': _json(pixel_accuracy(counts)),
        'mean_accuracy': _json(mean_accuracy(counts)),
        'class_iou': _by_name(class_names, class_iou(counts)),
        'class_accuracy': _by_name(class_names, class_accuracy(counts)),
        'class_share': _by_name(class_names, _ratio(counts.sum(1), counts.sum())),
        'confusion_matrix': counts.tolist(),
        'num_pixels': int(counts.sum()),
    }


def table(summary: dict[str, Any]) -> str:
    """A `summarize` dictionary as text: one row per class, percentages, the means last."""
    width = max(5, *(len(name) for name in summary['class_iou']))
    lines = [f'{"class":<{width}}  {"IoU %":>7}  {"acc. %":>7}  {"pixels %":>8}']
    for name, iou in summary['class_iou'].items():
        accuracy, share = summary['class_accuracy'][name], summary['class_share'][name]
        lines.append(f'{name:<{width}}  {_percent(iou):>7}  {_percent(accuracy):>7}  {_percent(share):>8}')
    rule = '-' * len(lines[0])
    means = f'{"mean":<{width}}  {_percent(summary["mean_iou"]):>7}  {_percent(summary["mean_accuracy"]):>7}'
    pixels = f'pixel accuracy {_percent(summary["pixel_accuracy"])} % of {summary["num_pixels"]:,} pixels'
    return '\n'.join([lines[0], rule, *lines[1:], rule, means, pixels])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole in float64, shapes broadcast; NaN where whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float('nan')


def _json(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _by_name(names: Sequence[str], values: np.ndarray) -> dict[str, float | None]:
    return {name: _json(value) for name, value in zip(names, values, strict=True)}


def _percent(value: float | None) -> str:
    return '-' if value is None else f'{100 * value:.2f}'
