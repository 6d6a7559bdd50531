"""`sensitivity.json`, which says how fast mIoU falls with the filters of each group of layers."""

from __future__ import annotations

import json
import os

import tensorflow as tf

from compression.sensitivity import Curve
from core.errors import DataError, UsageError

REPORT = 'sensitivity.json'


def read(path: str) -> list[Curve]:
    """The curves of a `sensitivity.json`, or of the folder that holds one. Raises UsageError, DataError."""
    path = os.path.join(path, REPORT) if tf.io.gfile.isdir(path) else path
    if not tf.io.gfile.exists(path):
        raise UsageError(f'--sensitivity_report: {path}: no such file; compress.py --sensitivity writes it')
    try:
        with tf.io.gfile.GFile(path) as file:
            content = json.loads(file.read())
        return [
            Curve(
                layers=tuple(row['layers']),
                shares=content['shares'],
                losses=[content['mean_iou'] - value for value in row['mean_iou']],
                all_lost=content['mean_iou'],
            )
            for row in content['groups']
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f'{path}: is no {REPORT} ({error}); measure it again') from error
