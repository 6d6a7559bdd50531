"""Exact pixel counts: which label was predicted as which class."""

from __future__ import annotations

import numpy as np

from core.errors import DataError

_NUM_IDS_SHOWN = 8


class ConfusionMatrix:
    """Counts label/prediction pairs in 64-bit integers; any order of updates gives the same numbers.

    Attributes:
      counts: int64 [num_classes, num_classes], rows are labels, columns are predictions.

    Args:
      num_classes: class ids are 0 .. num_classes - 1.
      ignore_label: pixels with this label are not counted, also where it lies within the classes.
    """

    def __init__(self, *, num_classes: int, ignore_label: int):
        if num_classes < 1:
            raise ValueError(f'num_classes must be 1 or more, got {num_classes}')
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def update(self, labels: np.ndarray, predictions: np.ndarray, *, source: str = '') -> np.ndarray:
        """Adds the pixels of one image or batch; returns its own counts, int64 [num_classes, num_classes].

        Args:
          labels: integers of any shape.
          predictions: integers of the same shape, each a class id.
          source: the file the label is from, for the message.

        Raises:
          DataError: a label is neither a class id nor the ignore label; nothing is counted then.
          ValueError: shapes differ, or a prediction is not a class id.
        """
        labels, predictions = np.asarray(labels), np.asarray(predictions)
        if labels.shape != predictions.shape:
            raise ValueError(f'labels are {list(labels.shape)}, predictions {list(predictions.shape)}')
        counted = labels != self.ignore_label
        labels = labels[counted].astype(np.int64)
        predictions = predictions[counted].astype(np.int64)
        self._check_labels(labels, source)
        if predictions.size and (predictions.min() < 0 or predictions.max() >= self.num_classes):
            raise ValueError(
                f'predictions span {predictions.min()} .. {predictions.max()}, not 0 .. {self.num_classes - 1}'
            )
        pairs = np.bincount(labels * self.num_classes + predictions, minlength=self.num_classes**2)
        counts = pairs.reshape(self.counts.shape).astype(np.int64)
        self.counts += counts
        return counts

    def _check_labels(self, labels: np.ndarray, source: str) -> None:
        wrong = labels[(labels < 0) | (labels >= self.num_classes)]
        if not wrong.size:
            return
        ids = np.unique(wrong)
        shown = ', '.join(map(str, ids[:_NUM_IDS_SHOWN])) + (', ...' if ids.size > _NUM_IDS_SHOWN else '')
        raise DataError(
            f'{source or "labels"}: {wrong.size} pixels have label id {shown}, which is neither a class '
            f'(0 .. {self.num_classes - 1}) nor the ignore label ({self.ignore_label}); '
            'correct the records, num_classes or ignore_label'
        )
