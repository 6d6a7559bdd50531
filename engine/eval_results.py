"""What an evaluation leaves behind: JSON, TensorBoard, the table on the terminal."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import numpy as np
import tensorflow as tf

from engine.eval_lib import Evaluation
from inputs.label_map import LabelMap
from metrics import segmentation
from metrics.scores import SCALARS
from reports import pictures
from reports.page.picture_files import PictureFiles
from reports.pictures import Picture

METRICS = 'metrics.json'
_OF_STEP = re.compile(r'metrics-(\d+)\.json$')


def path_of_step(eval_dir: str, step: int) -> str:
    """Where the results of one step are."""
    return os.path.join(eval_dir, f'metrics-{step}.json')


def evaluated_steps(eval_dir: str) -> list[int]:
    """The steps whose results are in `eval_dir`, rising; none if there is no such folder."""
    if not tf.io.gfile.isdir(eval_dir):
        return []
    return sorted(int(match[1]) for name in tf.io.gfile.listdir(eval_dir) if (match := _OF_STEP.match(name)))


def remove_unfinished(eval_dir: str) -> None:
    """Removes what a killed process left half written: `metrics*.tmp`, `images-*.tmp`."""
    if not tf.io.gfile.isdir(eval_dir):
        return
    for name in tf.io.gfile.listdir(eval_dir):
        if name.startswith(('metrics', 'images-')) and name.endswith('.tmp'):
            tf.io.gfile.remove(os.path.join(eval_dir, name))


def write(evaluation: Evaluation, eval_dir: str, *, label_map: LabelMap, config_path: str) -> str:
    """Writes `metrics-<step>.json`, TensorBoard's file, `metrics.json` (the last evaluated), and the page.

    Args:
      label_map: colours of the pictures.
      config_path: noted in the JSON.

    Returns:
      The path of `metrics.json`.
    """
    tf.io.gfile.makedirs(eval_dir)
    metrics = {**evaluation.metrics, 'config': config_path}
    _write_summaries(evaluation, eval_dir, label_map)
    path = os.path.join(eval_dir, METRICS)
    write_json(metrics, path)
    if evaluation.picture_files:
        _write_page(eval_dir, evaluation.picture_files)
    write_json(metrics, path_of_step(eval_dir, metrics['step']))
    return path


def _write_page(eval_dir: str, picture_files: PictureFiles) -> None:
    from reports.page import render  # matplotlib takes a while to import

    picture_files.publish()
    render.write(eval_dir)
    picture_files.remove_other_steps()


def describe(metrics: dict[str, Any]) -> str:
    """The table for the terminal, with the checkpoint above it."""
    images = f'{metrics["num_examples"]} images, {metrics["eval_input"]}'
    return f'{metrics["checkpoint"]} (step {metrics["step"]}): {images}\n\n{segmentation.table(metrics)}\n'


def write_json(content: dict[str, Any], path: str) -> None:
    """Beside and renamed."""
    temporary = f'{path}.{os.getpid()}.tmp'
    with tf.io.gfile.GFile(temporary, 'w') as f:
        f.write(json.dumps(content, indent=2, ensure_ascii=False) + '\n')
    tf.io.gfile.rename(temporary, path, overwrite=True)


def _write_summaries(evaluation: Evaluation, eval_dir: str, label_map: LabelMap) -> None:
    metrics = evaluation.metrics
    scalars = _scalars(metrics)
    writer = tf.summary.create_file_writer(eval_dir)
    with writer.as_default(step=metrics['step']):
        for name, value in scalars.items():
            if value is not None:
                tf.summary.scalar(name, value)
        for i, picture in enumerate(evaluation.pictures):
            tf.summary.image(f'image_label_prediction/{i}', _side_by_side(picture, label_map)[np.newaxis])
    writer.close()


def _scalars(metrics: dict[str, Any]) -> dict[str, float | None]:
    """By tag; the ends of an interval are curves beside their score: `metrics/mean_iou_low`, `..._high`."""
    intervals = metrics.get('intervals') or {}
    boundary, calibration = (metrics.get(key) or {} for key in ('boundary', 'calibration'))
    scalars = {f'metrics/{name}': metrics.get(name, boundary.get(name)) for name in SCALARS}
    scalars['metrics/expected_calibration_error'] = calibration.get('ece')
    scalars['losses/cross_entropy'] = metrics['cross_entropy']
    for name in SCALARS:
        scalars |= _ends(f'metrics/{name}', intervals.get(name))
    for kind in ('class_iou', 'category_iou', 'class_instance_iou', 'boundary_iou'):
        scalars |= {f'{kind}/{name}': value for name, value in (metrics.get(kind) or boundary.get(kind) or {}).items()}
        for name, ends in (intervals.get(kind) or {}).items():
            scalars |= _ends(f'{kind}/{name}', ends)
    return scalars


def _ends(tag: str, ends: list[float] | None) -> dict[str, float]:
    return {f'{tag}_low': ends[0], f'{tag}_high': ends[1]} if ends else {}


def _side_by_side(picture: Picture, label_map: LabelMap) -> np.ndarray:
    """Image, label and prediction from left to right, uint8 [H, 3 W, 3]."""
    painted = [pictures.colorize(class_ids, label_map.colors) for class_ids in (picture.label, picture.prediction)]
    return np.concatenate([picture.image, *painted], axis=1)
