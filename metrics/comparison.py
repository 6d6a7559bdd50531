"""Two evaluations of the same images: is one better, and by how much?

Both are resampled alike (a paired bootstrap): an image that is hard for both moves both, and only what they differ by
is left. The sign test (Dixon and Mood 1946, doi:10.1080/01621459.1946.10501898) asks whether the images on which B is
the better one are more than half of those on which they differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from metrics import bootstrap
from metrics.scores import OF_CATEGORIES, OF_CLASSES, SCALARS, Classes, number, scores

_NUM_CHANGED = 8


class Comparison:
    """Takes the records of both evaluations image by image; memory does not grow with their number.

    Args:
      classes: of both.
      num_samples: resamples.
      seed: of the resamples.
    """

    def __init__(self, *, classes: Classes, num_samples: int, seed: int):
        self._classes = classes
        self._bootstrap = bootstrap.Bootstrap(num_samples=num_samples, seed=seed)
        self._sums: dict[str, np.ndarray] = {}
        self._signs = {'b_better': 0, 'a_better': 0, 'equal': 0}
        self._units: set[str] = set()
        self._num_images = 0
        self._grouped = False
        self._changed: list[tuple[float, str, float, float]] = []

    def add(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
        """One image: its line of each evaluation's images-<step>.jsonl."""
        names = [name for name in _COLUMNS if name in a and name in b]
        columns = {f'{side}/{name}': np.array(one[name]) for side, one in (('a', a), ('b', b)) for name in names}
        for name, values in columns.items():
            self._sums[name] = self._sums[name] + values if name in self._sums else values
        group = a.get('group')
        self._grouped = group is not None
        if group is not None:
            self._units.add(group)
        self._bootstrap.add(a['filename'] if group is None else group, columns)
        self._num_images += 1
        if a['mean_iou'] is not None and b['mean_iou'] is not None:
            self._compare_image(a['filename'], a['mean_iou'], b['mean_iou'])

    def summary(self) -> dict[str, Any]:
        """What comparison.json holds of the images; see docs/evaluation.md."""
        num_units = len(self._units) if self._grouped else self._num_images
        sums = [_side(self._sums, side) for side in 'ab']
        resampled = [_side(self._bootstrap.sums(), side) for side in 'ab']
        a, b = (scores(one, self._classes) for one in sums)
        samples_a, samples_b = (scores(one, self._classes) for one in resampled)
        found: dict[str, Any] = {}
        for name in a:
            samples = samples_b[name] - samples_a[name]
            ends = (
                bootstrap.interval(samples, num_units=num_units)
                if num_units > 1
                else np.full((2, *a[name].shape), np.nan)
            )
            if name in SCALARS:
                found[name] = _difference(a[name], b[name], ends, samples)
                continue
            names = self._classes.category_names if name in OF_CATEGORIES else self._classes.names
            found[name] = {
                key: _difference(a[name][i], b[name][i], ends[:, i], samples[:, i]) for i, key in enumerate(names)
            }
        return {
            'num_images': self._num_images,
            'unit': 'group' if self._grouped else 'image',
            'num_units': num_units,
            'num_samples': self._bootstrap.num_samples,
            'seed': self._bootstrap.seed,
            'level': bootstrap.LEVEL,
            'sign_test': self._sign_test(),
            **{name: found[name] for name in (*SCALARS, *OF_CLASSES, *OF_CATEGORIES) if name in found},
            'most_changed': self._most_changed(),
        }

    def _compare_image(self, filename: str, a: float, b: float) -> None:
        self._signs['equal' if a == b else 'b_better' if b > a else 'a_better'] += 1
        if a != b:
            self._changed.append((-abs(b - a), filename, a, b))
            self._changed = sorted(self._changed)[:_NUM_CHANGED]

    def _sign_test(self) -> dict[str, Any]:
        differ = self._signs['b_better'] + self._signs['a_better']
        p_value = stats.binomtest(self._signs['b_better'], differ).pvalue if differ else 1.0
        return {'score': 'mean_iou of the image', **self._signs, 'p_value': float(p_value)}

    def _most_changed(self) -> list[dict[str, Any]]:
        return [{'filename': filename, 'a': a, 'b': b} for _, filename, a, b in self._changed]


_COLUMNS = (
    *('hits', 'labels', 'predictions', 'category_hits'),
    *('boundary_hits', 'boundary_labels', 'boundary_predictions'),
)


def _side(columns: Mapping[str, np.ndarray], side: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(f'{side}/'): values for name, values in columns.items() if name.startswith(f'{side}/')}


def _difference(a: np.ndarray, b: np.ndarray, ends: np.ndarray, samples: np.ndarray) -> dict[str, Any] | None:
    """One score of both; None if it is undefined for either."""
    if np.isnan(a) or np.isnan(b):
        return None
    defined = samples[~np.isnan(samples)]
    interval = None if np.isnan(ends).any() else [float(end) for end in ends]
    return {
        'a': number(a),
        'b': number(b),
        'difference': number(b - a),
        'interval': interval,
        'share_b_better': float((defined > 0).mean()) if defined.size else None,
    }


def table(summary: dict[str, Any]) -> str:
    """A comparison as text: IoU of each class and the means, in per cent; * where the interval excludes 0."""
    rows = [(name, entry) for name, entry in summary['class_iou'].items()]
    named = (
        ('mean IoU', 'mean_iou'),
        ('category IoU', 'mean_category_iou'),
        ('boundary IoU', 'mean_boundary_iou'),
        ('pixel accuracy', 'pixel_accuracy'),
        ('mean accuracy', 'mean_accuracy'),
    )
    means = [(words, summary[name]) for words, name in named if summary.get(name)]
    width = max(len(name) for name, _ in (*rows, *means))
    head = f'{"":<{width}}  {"A %":>7}  {"B %":>7}  {"B - A":>7}  {"95 % interval":^17}'
    rule = '-' * len(head)
    sign = summary['sign_test']
    units = f'{summary["num_samples"]} resamples of {summary["num_units"]} {summary["unit"]}s'
    return '\n'.join(
        [
            head,
            rule,
            *(_row(name, entry, width) for name, entry in rows),
            rule,
            *(_row(name, entry, width) for name, entry in means),
            f'sign test over images: B better on {sign["b_better"]}, A on {sign["a_better"]}, '
            f'equal on {sign["equal"]}; p = {sign["p_value"]:.3g}',
            f'paired over {summary["num_images"]} images, {units}; * the interval excludes 0',
        ]
    )


def _row(name: str, entry: dict[str, Any] | None, width: int) -> str:
    if entry is None:
        return f'{name:<{width}}  {"-":>7}  {"-":>7}  {"-":>7}  {"-":^17}'
    ends = entry['interval']
    span = f'{100 * ends[0]:+.2f} .. {100 * ends[1]:+.2f}' if ends else '-'
    star = ' *' if ends and (ends[0] > 0 or ends[1] < 0) else ''
    a, b, difference = (100 * entry[key] for key in ('a', 'b', 'difference'))
    return f'{name:<{width}}  {a:>7.2f}  {b:>7.2f}  {difference:>+7.2f}  {span:^17}{star}'.rstrip()
