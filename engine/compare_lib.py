"""`eval.py --compare A B`: from two finished evaluations to `comparison.json`."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from core.errors import DataError, UsageError
from engine import eval_results, image_records
from metrics import comparison
from metrics.scores import Classes

COMPARISON = 'comparison.json'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finished:
    """One evaluation that is on disk.

    Attributes:
      path: of its metrics.json.
      metrics: what is in there.
      records: path of its images-<step>.jsonl.
    """

    path: str
    metrics: dict[str, Any]
    records: str


def is_finished(place: str) -> bool:
    """Is `place` an eval_dir with results, or a metrics JSON, rather than something to evaluate first?"""
    return place.endswith('.json') or tf.io.gfile.exists(os.path.join(place, eval_results.METRICS))


def load(place: str) -> Finished:
    """An eval_dir, or one of its metrics JSON files; DataError names what is missing or is no such file."""
    path = place if place.endswith('.json') else os.path.join(place, eval_results.METRICS)
    try:
        with tf.io.gfile.GFile(path, 'r') as file:
            metrics = json.loads(file.read())
    except tf.errors.OpError as error:
        raise DataError(f'--compare: {path}: cannot be read: {error.message.splitlines()[0]}') from error
    except ValueError as error:
        raise DataError(f'--compare: {path}: not JSON: {error}') from error
    if not isinstance(metrics, dict) or not isinstance(metrics.get('class_iou'), dict):
        raise DataError(f'--compare: {path}: not what eval.py writes as metrics.json')
    if not metrics.get('images'):
        raise DataError(f'--compare: {path}: names no images-<step>.jsonl; evaluate again with this version')
    records = os.path.join(os.path.dirname(path), metrics['images'])
    if not tf.io.gfile.exists(records):
        raise DataError(f'--compare: {records}: no such file, {path} names it; evaluate again')
    return Finished(path=path, metrics=metrics, records=records)


def compare(a: Finished, b: Finished) -> dict[str, Any]:
    """What comparison.json holds; see docs/evaluation.md.

    Raises DataError, in one line, if they are not of the same images, labels or classes.
    """
    names = list(a.metrics['class_iou'])
    if names != list(b.metrics['class_iou']):
        raise DataError(f'--compare: the classes differ: {a.path} has {names}, {b.path} {list(b.metrics["class_iou"])}')
    categories = a.metrics.get('class_category')
    if categories != b.metrics.get('class_category'):
        raise DataError(f'--compare: the categories of the classes differ between {a.path} and {b.path}')
    settings = a.metrics.get('intervals') or {}
    pairs = comparison.Comparison(
        classes=Classes(names=names, categories=[categories[name] for name in names] if categories else None),
        num_samples=settings.get('num_samples', 2000),
        seed=settings.get('seed', 0),
    )
    for of_a, of_b in _pairs(a, b):
        if of_a['labels'] != of_b['labels']:
            raise DataError(
                f'--compare: {of_a["filename"]}: the labels differ between {a.path} and {b.path} '
                '(other records, ignore_label or crop); evaluate both on the same data'
            )
        pairs.add(of_a, of_b)
    about = ('checkpoint', 'step', 'config', 'eval_input', 'views')
    sides = {
        side: {'metrics': one.path, **{key: one.metrics.get(key) for key in about}}
        for side, one in (('a', a), ('b', b))
    }
    return {**sides, **pairs.summary()}


def write(result: dict[str, Any], eval_dir: str) -> str:
    """Writes comparison.json; returns its path."""
    tf.io.gfile.makedirs(eval_dir)
    path = os.path.join(eval_dir, COMPARISON)
    eval_results.write_json(result, path)
    return path


def describe(result: dict[str, Any]) -> str:
    """For the terminal."""
    lines = [
        f'{side.upper()}: {result[side]["metrics"]} ({result[side]["checkpoint"]}, step {result[side]["step"]})'
        for side in 'ab'
    ]
    return '\n'.join([*lines, '', comparison.table(result), ''])


def check_places(places: list[str], *, has_config: bool) -> None:
    """UsageError if an evaluation has to be made first and there is no config, or a place is nothing at all."""
    for place in places:
        if is_finished(place) or has_config or place.endswith('.config'):
            continue
        raise UsageError(
            f'--compare: {place}: no {eval_results.METRICS} there; give an eval_dir, a metrics JSON, a .config, '
            'or a checkpoint together with --config_path'
        )


def _pairs(a: Finished, b: Finished) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The two records of each image; in one pass, with no record kept, if both evaluations have one order."""
    names = [[record['filename'] for record in image_records.read(one.records)] for one in (a, b)]
    _check_same_images(a, b, *names)
    if names[0] == names[1]:
        yield from zip(image_records.read(a.records), image_records.read(b.records), strict=True)
        return
    waiting: dict[str, list[dict[str, Any]]] = {}
    for record in image_records.read(b.records):
        waiting.setdefault(record['filename'], []).append(record)
    for record in image_records.read(a.records):
        yield record, waiting[record['filename']].pop(0)


def _check_same_images(a: Finished, b: Finished, names_a: list[str], names_b: list[str]) -> None:
    only_a, only_b = (sorted((Counter(x) - Counter(y)).elements()) for x, y in ((names_a, names_b), (names_b, names_a)))
    if not only_a and not only_b:
        return
    parts = [f'{len(only)} only in {one.path} (first {only[0]})' for only, one in ((only_a, a), (only_b, b)) if only]
    raise DataError(
        f'--compare: the images differ: {len(names_a)} and {len(names_b)}; {", ".join(parts)}; '
        'evaluate both on the same eval_input_reader'
    )
