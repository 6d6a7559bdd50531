"""Scores of a confusion matrix by name, with their intervals, and as a table.

Let n[i, j] be the number of pixels of label i predicted as j; `metrics.tally` has the definitions. A class without
labels is absent from the data and has no score, whatever is predicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metrics import bootstrap
from metrics.scores import OF_CATEGORIES, OF_CLASSES, SCALARS, Classes, by_name, number, scores
from metrics.tally import Tally, mean, ratio

# These stand under `boundary`, where `metrics.boundary` puts them.
_IN_BOUNDARY = ('boundary_iou', 'mean_boundary_iou')


def class_iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, float64 [C] in 0..1; NaN for a class without labels."""
    return Tally.of(counts).class_iou()


def class_accuracy(counts: np.ndarray) -> np.ndarray:
    """Share of each class's pixels that were predicted as it, float64 [C] in 0..1; NaN for a class without labels."""
    return Tally.of(counts).class_accuracy()


def pixel_accuracy(counts: np.ndarray) -> float:
    """Share of all counted pixels that are right, in 0..1; NaN if none was counted."""
    return float(Tally.of(counts).pixel_accuracy())


def mean_iou(counts: np.ndarray) -> float:
    """Mean of `class_iou` over the classes with labels; NaN if there is none."""
    return float(mean(class_iou(counts)))


def mean_accuracy(counts: np.ndarray) -> float:
    """Mean of `class_accuracy` over the classes with labels; NaN if there is none."""
    return float(mean(class_accuracy(counts)))


def summarize(
    counts: np.ndarray,
    class_names: Sequence[str],
    *,
    columns: Mapping[str, np.ndarray] | None = None,
    classes: Classes | None = None,
) -> dict[str, Any]:
    """Every score by name, ready for JSON (an undefined score is None).

    Args:
      counts: int64 [C, C], rows are labels.
      class_names: C names, each once.
      columns: sums for more scores, see `metrics.scores.scores`; by default those of `counts`.
      classes: categories and sizes of instances.
    """
    if len(class_names) != len(counts):
        raise ValueError(f'{len(class_names)} class names for {len(counts)} classes')
    tally = Tally.of(counts)
    classes = classes or Classes(names=class_names)
    found = scores(columns or vars(tally), classes)
    absent = np.flatnonzero(tally.labels == 0).tolist()
    return {
        **{name: number(found[name]) if name in found else None for name in SCALARS if name not in _IN_BOUNDARY},
        **{
            name: by_name(class_names, found[name]) if name in found else None
            for name in OF_CLASSES
            if name not in _IN_BOUNDARY
        },
        **{name: by_name(classes.category_names, found[name]) if name in found else None for name in OF_CATEGORIES},
        'class_share': by_name(class_names, tally.class_share()),
        'class_category': dict(zip(class_names, classes.categories, strict=True)) if classes.categories else None,
        'absent_classes': [class_names[i] for i in absent],
        'absent_predictions': {class_names[i]: int(tally.predictions[i]) for i in absent},
        'mean_iou_absent_as_zero': number(_mean_iou_absent_as_zero(tally)),
        'confusion_matrix': counts.tolist(),
        'confusion_share': [[number(share) for share in row] for row in ratio(counts, tally.labels[:, np.newaxis])],
        'num_pixels': int(counts.sum()),
    }


def intervals(
    samples: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray], *, classes: Classes, num_units: int
) -> dict[str, Any]:
    """The 95 % interval of every score, under the names of `summarize`: [low, high], or None where undefined.

    Args:
      samples: resampled sums by name, [R, K] each.
      columns: the sums themselves, [K] each; what is undefined for them has no interval.
      classes: as in `summarize`.
      num_units: images or groups that were resampled.
    """
    whole = scores(columns, classes)
    seen = classes.has_instances(columns['instances']) if 'instances' in columns else None
    resampled = scores(samples, classes, has_instances=seen)
    ends = {
        name: np.where(np.isnan(whole[name]), np.nan, bootstrap.interval(values, num_units=num_units))
        for name, values in resampled.items()
    }
    found: dict[str, Any] = {name: _pair(ends[name]) for name in SCALARS if name in ends}
    for group, names in ((OF_CLASSES, classes.names), (OF_CATEGORIES, classes.category_names)):
        for name in group:
            if name in ends:
                found[name] = {key: _pair(ends[name][:, i]) for i, key in enumerate(names)}
    return found


def table(summary: dict[str, Any]) -> str:
    """A `summarize` dictionary as text: one row per class, percentages, the means last; intervals where there are."""
    intervals_ = summary.get('intervals') or {}
    width = max(5, *(len(name) for name in summary['class_iou']))
    with_intervals = 'class_iou' in intervals_
    head = f'{"class":<{width}}  {"IoU %":>7}' + (f'  {"95 % interval":^15}' if with_intervals else '')
    lines = [head + f'  {"acc. %":>7}  {"prec. %":>7}  {"F1 %":>7}  {"pixels %":>8}']
    for name, iou in summary['class_iou'].items():
        lines.append(
            f'{name:<{width}}  {_percent(iou):>7}'
            + (f'  {_range(intervals_["class_iou"][name]):^15}' if with_intervals else '')
            + ''.join(
                f'  {_percent(summary[key][name]):>7}' for key in ('class_accuracy', 'class_precision', 'class_f1')
            )
            + f'  {_percent(summary["class_share"][name]):>8}'
        )
    rule = '-' * len(lines[0])
    means = (
        f'{"mean":<{width}}  {_percent(summary["mean_iou"]):>7}'
        + (f'  {_range(intervals_.get("mean_iou")):^15}' if with_intervals else '')
        + f'  {_percent(summary["mean_accuracy"]):>7}  {"":>7}  {_percent(summary["mean_f1"]):>7}'
    )
    return '\n'.join([lines[0], rule, *lines[1:], rule, means, *_more(summary, intervals_)])


def _more(summary: dict[str, Any], intervals_: dict[str, Any]) -> list[str]:
    """The scores below the table."""
    pixels = f'pixel accuracy {_percent(summary["pixel_accuracy"])} %'
    lines = [f'{pixels}{_bracket(intervals_.get("pixel_accuracy"))} of {summary["num_pixels"]:,} pixels']
    known = {**summary, **(summary.get('boundary') or {})}
    for name, words in (
        ('frequency_weighted_iou', 'frequency-weighted IoU'),
        ('mean_category_iou', 'category IoU'),
        ('mean_instance_iou', 'instance IoU (iIoU)'),
        ('mean_boundary_iou', 'boundary IoU'),
    ):
        if known.get(name) is not None:
            lines.append(f'{words} {_percent(known[name])} %{_bracket(intervals_.get(name))}')
    if summary['kappa'] is not None:
        lines.append(f'kappa {summary["kappa"]:.4f}')
    if summary.get('calibration'):
        lines.append(f'calibration error (ECE) {_percent(summary["calibration"]["ece"])} %')
    if summary['absent_classes']:
        lines.append(f'not in the data, so not scored: {", ".join(summary["absent_classes"])}')
    if intervals_:
        units = f'{intervals_["num_samples"]} resamples of {intervals_["num_units"]} {intervals_["unit"]}s'
        lines.append(f'intervals: {100 * intervals_["level"]:.0f} %, {units}')
    return lines


def _mean_iou_absent_as_zero(tally: Tally) -> np.ndarray:
    """As the Cityscapes script averages: a class that is predicted and never labelled counts as 0."""
    return mean(ratio(tally.hits, tally.labels + tally.predictions - tally.hits))


def _pair(ends: np.ndarray) -> list[float] | None:
    return None if np.isnan(ends).any() else [float(end) for end in ends]


def _percent(value: float | None) -> str:
    return '-' if value is None else f'{100 * value:.2f}'


def _range(ends: Sequence[float] | None) -> str:
    return '-' if ends is None else f'{100 * ends[0]:.2f} .. {100 * ends[1]:.2f}'


def _bracket(ends: Sequence[float] | None) -> str:
    return '' if ends is None else f' ({_range(ends)})'
