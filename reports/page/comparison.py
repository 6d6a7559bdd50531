"""What the page shows of `comparison.json`: two evaluations, A and B, on the same images."""

from __future__ import annotations

import json
import os
from typing import Any

import tensorflow as tf

Comparison = dict[str, Any]

_MEANS = (
    ('mean_iou', 'Mean IoU'),
    ('mean_category_iou', 'Category IoU'),
    ('mean_boundary_iou', 'Boundary IoU'),
    ('pixel_accuracy', 'Pixel accuracy'),
    ('mean_accuracy', 'Mean class accuracy'),
    ('frequency_weighted_iou', 'Frequency-weighted IoU'),
    ('mean_f1', 'Mean F1'),
    ('kappa', 'Kappa x 100'),
)
_FOLDER = 'images/comparison'


def points(value: float | None, digits: int = 1) -> str:
    """A difference of shares as signed percentage points: 0.012 -> +1.2."""
    return '-' if value is None else f'{100 * value:+.{digits}f}'


def verdict(entry: dict[str, Any] | None) -> str:
    """better, worse, or nothing where the interval holds 0."""
    ends = (entry or {}).get('interval')
    if not ends or ends[0] <= 0 <= ends[1]:
        return ''
    return 'better' if ends[0] > 0 else 'worse'


def means(comparison: Comparison) -> list[dict[str, Any]]:
    """The scores of the whole set, mean IoU first."""
    return _rows({title: comparison[key] for key, title in _MEANS if comparison.get(key)}, {})


def class_rows(comparison: Comparison, colors: dict[str, str]) -> list[dict[str, Any]]:
    """One row per class, in the order of their ids."""
    return _rows(comparison['class_iou'], colors)


def _rows(entries: dict[str, dict[str, Any] | None], colors: dict[str, str]) -> list[dict[str, Any]]:
    """Each with where its difference lies on an axis that all share, 0 in the middle."""
    ends = [abs(x) for e in entries.values() if e for x in (e['difference'], *(e['interval'] or ()))]
    reach = max(ends, default=0.0) or 1.0
    rows = []
    for name, entry in entries.items():
        at = {key: None if not entry or entry[key] is None else entry[key] for key in ('difference', 'interval')}
        rows.append(
            {
                'name': name,
                'color': colors.get(name),
                'entry': entry,
                'verdict': verdict(entry),
                'at': None if at['difference'] is None else 0.5 + at['difference'] / reach / 2,
                'span': at['interval'] and [0.5 + end / reach / 2 for end in at['interval']],
            }
        )
    return rows


def findings(comparison: Comparison) -> list[str]:
    """The answer in words."""
    entry, sign = comparison['mean_iou'], comparison['sign_test']
    found = []
    if entry and entry['interval']:
        said = {'better': 'B is better than A', 'worse': 'B is worse than A', '': 'A and B cannot be told apart'}
        low, high = (points(end, 2) for end in entry['interval'])
        found.append(
            f'{said[verdict(entry)]} in mean IoU: {points(entry["difference"], 2)} points, '
            f'{100 * comparison["level"]:g} % interval {low} to {high}.'
        )
    found.append(
        f'Of the images, B is better on {sign["b_better"]:,}, A on {sign["a_better"]:,}, equal on {sign["equal"]:,}: '
        f'sign test p = {sign["p_value"]:.3g}.'
    )
    found.append(
        f'Paired over {comparison["num_images"]:,} images, {comparison["num_samples"]:,} resamples of '
        f'{comparison["num_units"]:,} {comparison["unit"]}s.'
    )
    return found


def run(comparison: Comparison) -> list[tuple[str, str]]:
    """What was compared."""
    facts = []
    for side in 'ab':
        one = comparison[side]
        parts = (one.get('checkpoint'), one.get('config'), one.get('eval_input'), one.get('views'), one.get('metrics'))
        facts.append((side.upper(), ', '.join(str(part) for part in parts if part)))
    return facts


def load_side(comparison: Comparison, side: str, eval_dir: str) -> dict[str, Any]:
    """metrics.json of A or B, with `folder` where its report lies; empty if it is not where it was."""
    path = comparison[side]['metrics']
    for place in (path, os.path.join(eval_dir, os.path.relpath(path, eval_dir)), os.path.join(eval_dir, path)):
        if tf.io.gfile.exists(place):
            with tf.io.gfile.GFile(place) as f:
                return {**json.loads(f.read()), 'folder': os.path.join(os.path.dirname(place), 'report')}
    return {}


def gallery(a: dict[str, Any], b: dict[str, Any], report_dir: str) -> list[dict[str, Any]]:
    """Images of which both evaluations kept pictures, B's largest loss first; copies the pictures beside the page.

    Args:
      a, b: of `load_side`.
    """
    of_a = {(entry['filename'], entry['height'], entry['width']): entry for entry in a.get('gallery') or []}
    entries = []
    for entry in b.get('gallery') or []:
        other = of_a.get((entry['filename'], entry['height'], entry['width']))
        files = other and _copied(a['folder'], other['files'], b['folder'], entry['files'], report_dir)
        if other and files:
            before = {key: other[key] for key in ('mean_iou', 'pixel_accuracy', 'class_iou')}
            entries.append({**entry, 'files': files, 'a': before})
    return sorted(entries, key=lambda entry: (entry['mean_iou'] - entry['a']['mean_iou'], entry['filename']))


def _copied(
    folder_a: str, files_a: dict[str, str], folder_b: str, files_b: dict[str, str], report_dir: str
) -> dict[str, str] | None:
    """The views of both as files of this page; None if one is gone."""
    sources = {view: os.path.join(folder_b, files_b[view]) for view in ('image', 'label', 'prediction', 'error')}
    sources |= {f'{view}-a': os.path.join(folder_a, files_a[view]) for view in ('prediction', 'error')}
    if not all(tf.io.gfile.exists(path) for path in sources.values()):
        return None
    tf.io.gfile.makedirs(os.path.join(report_dir, _FOLDER))
    paths = {}
    for view, source in sources.items():
        number, extension = os.path.basename(files_b[view.removesuffix('-a')]).split('-')[0], source.rpartition('.')[2]
        paths[view] = f'{_FOLDER}/{number}-{view}.{extension}'
        tf.io.gfile.copy(source, os.path.join(report_dir, paths[view]), overwrite=True)
    return paths
