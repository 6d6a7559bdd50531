"""What stands on the page: `metrics.json` put into the order of the page, one function a section.

Nothing is computed here that is a number on the page; what the JSON does not hold is left out.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import tensorflow as tf

Metrics = dict[str, Any]
Interval = tuple[float, float] | None

_DENSE = 40  # classes beyond which the matrix has colours only
_NUM_PAIRS = 12

# (key in metrics.json, title, is it a share of 1)
_HEADLINE = (
    ('mean_iou', 'Mean IoU', True),
    ('pixel_accuracy', 'Pixel accuracy', True),
    ('mean_accuracy', 'Mean class accuracy', True),
    ('frequency_weighted_iou', 'Frequency-weighted IoU', True),
    ('mean_f1', 'Mean F1', True),
    ('mean_category_iou', 'Category IoU', True),
    ('mean_instance_iou', 'Instance IoU', True),
    ('mean_boundary_iou', 'Boundary IoU', True),
    ('kappa', 'Kappa', False),
    ('ece', 'Calibration error', True),
    ('cross_entropy', 'Cross entropy, nats', False),
)
# (key, title, key of the mean, explanation)
_COLUMNS = (
    ('class_iou', 'IoU %', 'mean_iou', 'intersection over union'),
    ('class_precision', 'Precision %', 'mean_precision', 'of the pixels predicted as the class, how many are it'),
    ('class_recall', 'Recall %', 'mean_recall', 'of the pixels of the class, how many were predicted as it'),
    ('class_accuracy', 'Accuracy %', 'mean_accuracy', 'of the pixels of the class, how many were predicted as it'),
    ('class_f1', 'F1 %', 'mean_f1', 'harmonic mean of precision and recall'),
    ('class_instance_iou', 'Instance IoU %', 'mean_instance_iou', 'IoU with every object weighing the same'),
    ('boundary_iou', 'Boundary IoU %', 'mean_boundary_iou', 'IoU of the bands along the outlines'),
    ('class_share', 'Pixels %', None, 'share of the labelled pixels'),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stat:
    """One score of the summary."""

    name: str
    value: float
    interval: Interval
    is_share: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One score of the class table."""

    key: str
    title: str
    explanation: str
    mean: float | None


def percent(value: float | None, digits: int = 1) -> str:
    """0.1234 -> 12.3; a dash where undefined."""
    return '-' if value is None else f'{100 * value:.{digits}f}'


def position(value: float) -> str:
    """A share of 1 as a CSS length."""
    return f'{min(100.0, max(0.0, 100 * value)):.2f}%'


def headline(metrics: Metrics) -> list[Stat]:
    """The scores of the whole set that are there, mean IoU first."""
    values = {
        **metrics,
        'mean_boundary_iou': (metrics.get('boundary') or {}).get('mean_boundary_iou'),
        'ece': (metrics.get('calibration') or {}).get('ece'),
    }
    return [
        Stat(name=title, value=values[key], interval=interval_of(metrics, key), is_share=is_share)
        for key, title, is_share in _HEADLINE
        if values.get(key) is not None or key == 'mean_iou'
    ]


def interval_of(metrics: Metrics, key: str, name: str | None = None) -> Interval:
    """[low, high] of a score, or of class `name` in it; None if there is none."""
    found = (metrics.get('intervals') or {}).get(key)
    if name is not None:
        found = (found or {}).get(name)
    return tuple(found) if found and None not in found else None


def interval_note(metrics: Metrics) -> str:
    """How the intervals were made, in a sentence; empty without intervals."""
    intervals = metrics.get('intervals')
    if not intervals:
        return ''
    level = level_of(metrics)
    return (
        f'Ranges are {level} intervals from {intervals["num_samples"]:,} resamples of {intervals["num_units"]:,} '
        f'{intervals["unit"]}s ({intervals["method"]}).'
    )


def level_of(metrics: Metrics) -> str:
    """95 %, of the intervals."""
    return f'{100 * (metrics.get("intervals") or {}).get("level", 0.95):g} %'


def columns(metrics: Metrics) -> list[Column]:
    """Scores by class that are there; recall is class accuracy by another name, so only one of them."""
    scores = _class_scores(metrics)
    return [
        Column(key=key, title=title, explanation=explanation, mean=_mean(metrics, mean))
        for key, title, mean, explanation in _COLUMNS
        if scores.get(key) and not (key == 'class_accuracy' and scores.get('class_recall'))
    ]


def _mean(metrics: Metrics, key: str | None) -> float | None:
    if key == 'mean_boundary_iou':
        return (metrics.get('boundary') or {}).get(key)
    if key == 'mean_recall':
        return metrics.get('mean_recall', metrics.get('mean_accuracy'))
    return metrics.get(key) if key else None


def _class_scores(metrics: Metrics) -> dict[str, dict[str, float | None] | None]:
    boundary = (metrics.get('boundary') or {}).get('boundary_iou')
    return {**{key: metrics.get(key) for key, *_ in _COLUMNS}, 'boundary_iou': boundary}


def class_rows(metrics: Metrics) -> list[dict[str, Any]]:
    """One row per class, in the order of their ids."""
    scores, colors = _class_scores(metrics), metrics.get('class_colors') or {}
    return [
        {
            'name': name,
            'color': colors.get(name),
            'iou': iou,
            'interval': interval_of(metrics, 'class_iou', name),
            'scores': {key: (values or {}).get(name) for key, values in scores.items()},
        }
        for name, iou in metrics['class_iou'].items()
    ]


def category_rows(metrics: Metrics) -> list[dict[str, Any]]:
    """One row per category, if classes are grouped."""
    instances = metrics.get('category_instance_iou') or {}
    return [
        {
            'name': name,
            'iou': iou,
            'interval': interval_of(metrics, 'category_iou', name),
            'instance_iou': instances.get(name),
        }
        for name, iou in (metrics.get('category_iou') or {}).items()
    ]


def findings(metrics: Metrics) -> list[str]:
    """Sentences that say where to look first."""
    defined = {name: iou for name, iou in metrics['class_iou'].items() if iou is not None}
    found = []
    if len(defined) > 2:
        lowest = sorted(defined, key=lambda name: defined[name])[:3]
        found.append('Lowest classes: ' + ', '.join(f'{name} {percent(defined[name])} %' for name in lowest) + '.')
    for pair in (metrics.get('confusion_pairs') or [])[:1]:
        found.append(
            f'Most frequent confusion: {percent(pair["share_of_label"])} % of {pair["label"]} '
            f'is taken for {pair["prediction"]}.'
        )
    if metrics.get('absent_classes'):
        found.append('Not in this data, so without a score: ' + ', '.join(metrics['absent_classes']) + '.')
    return found


def matrix(metrics: Metrics) -> dict[str, Any]:
    """The confusion matrix with a shade in 0..1 and a sentence for each cell."""
    names, counts = list(metrics['class_iou']), metrics['confusion_matrix']
    shares, colors = metrics.get('confusion_share'), metrics.get('class_colors') or {}
    dense = len(names) > _DENSE
    rows = []
    for i, name in enumerate(names):
        total = sum(counts[i])
        cells = []
        for j, prediction in enumerate(names):
            share = shares[i][j] if shares else None
            what = f'{name} predicted as {prediction}: '
            how_much = f'{percent(share, 2)} % of {name}, ' if share is not None else ''
            cells.append(
                {
                    'is_hit': i == j,
                    'shade': round((counts[i][j] / total) ** 0.5, 3) if total else 0,
                    'shown': '' if dense or share is None or not counts[i][j] else _short(share),
                    'text': f'{what}{how_much}{counts[i][j]:,} pixels',
                }
            )
        rows.append({'name': name, 'color': colors.get(name), 'cells': cells})
    side = '.8rem' if dense else '2rem' if len(names) > 12 else '2.9rem'
    return {'names': names, 'rows': rows, 'dense': dense, 'side': side, 'has_shares': bool(shares)}


def _short(share: float) -> str:
    return f'{100 * share:.0f}' if share >= 0.005 else '·'


def pairs(metrics: Metrics) -> list[dict[str, Any]]:
    """The most frequent confusions."""
    return (metrics.get('confusion_pairs') or [])[:_NUM_PAIRS]


def gallery(metrics: Metrics, report_dir: str) -> list[dict[str, Any]]:
    """Pictures whose files are there, worst first."""
    there = [entry for entry in metrics.get('gallery') or [] if _has_files(entry, report_dir)]
    return sorted(there, key=lambda entry: (entry['mean_iou'], entry['filename']))


def _has_files(entry: dict[str, Any], report_dir: str) -> bool:
    return all(tf.io.gfile.exists(os.path.join(report_dir, path)) for path in entry['files'].values())


def run(metrics: Metrics) -> list[tuple[str, str]]:
    """What was evaluated, and how."""
    facts = (
        ('Checkpoint', metrics.get('checkpoint')),
        ('Step', f'{metrics["step"]:,}' if metrics.get('step') is not None else None),
        ('Config', metrics.get('config')),
        ('Images', f'{metrics["num_examples"]:,}' if metrics.get('num_examples') is not None else None),
        ('Counted pixels', f'{metrics["num_pixels"]:,}' if metrics.get('num_pixels') is not None else None),
        ('Input', metrics.get('eval_input')),
        ('How an image is seen', metrics.get('views')),
        ('Ignored label', metrics.get('ignore_label')),
        ('Score of each image', metrics.get('images')),
    )
    notes = [('Not measured', note) for note in metrics.get('notes') or []]
    return [(name, str(value)) for name, value in facts if value is not None] + notes
