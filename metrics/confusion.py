"""Exact pixel counts: which label was predicted as which class."""

from __future__ import annotations

import numpy as np

from core.errors import DataError

_NUM_IDS_SHOWN = 8
_NUM_BYTES = 256
# Pixels counted at a time: their indices stay in the processor's cache.
_CHUNK = 1 << 15
# Fewer runs of equal pairs than a pixel in so many: counting runs is quicker than counting pixels.
_PIXELS_PER_RUN = 8


class ConfusionMatrix:
    """Counts label/prediction pairs in 64-bit integers; any order of updates gives the same numbers.

    Attributes:
      counts: int64 [num_classes, num_classes], rows are labels, columns are predictions.

    Args:
      num_classes: class ids are 0 .. num_classes - 1; up to 255.
      ignore_label: pixels with this label, 0..255, are not counted, also where it lies within the classes.
    """

    def __init__(self, *, num_classes: int, ignore_label: int):
        if not 1 <= num_classes < _NUM_BYTES:
            raise ValueError(f'num_classes must be 1 .. {_NUM_BYTES - 1}, got {num_classes}')
        if not 0 <= ignore_label < _NUM_BYTES:
            raise ValueError(f'ignore_label must be 0 .. {_NUM_BYTES - 1}, got {ignore_label}')
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def update(self, labels: np.ndarray, predictions: np.ndarray, *, source: str = '') -> np.ndarray:
        """Adds the pixels of one image or batch; returns its own counts, int64 [num_classes, num_classes].

        Args:
          labels: integers of any shape; uint8 is quickest.
          predictions: integers of the same shape, each a class id (uint8 is quickest).
          source: the file the label is from, for the message.

        Raises:
          DataError: a label is neither a class id nor the ignore label; nothing is counted then.
          ValueError: shapes differ, or a prediction is not a class id.
        """
        labels, predictions = np.asarray(labels), np.asarray(predictions)
        if labels.shape != predictions.shape:
            raise ValueError(f'labels are {list(labels.shape)}, predictions {list(predictions.shape)}')
        labels, predictions = self._as_bytes(labels, source), self._checked(labels, predictions)
        codes = np.multiply(labels, np.uint16(self.num_classes), dtype=np.uint16).ravel()
        codes += predictions.ravel()
        counts = histogram(codes, _NUM_BYTES * self.num_classes).reshape(_NUM_BYTES, self.num_classes)
        counts[self.ignore_label] = 0
        if counts[self.num_classes :].any():
            raise self._wrong_labels(labels, source)
        counts = counts[: self.num_classes]
        self.counts += counts
        return counts

    def _as_bytes(self, labels: np.ndarray, source: str) -> np.ndarray:
        """The labels as uint8; DataError if they do not fit."""
        narrow = labels.astype(np.uint8, copy=False)
        if labels.dtype != np.uint8 and not np.array_equal(narrow, labels):
            raise self._wrong_labels(labels, source)
        return narrow

    def _checked(self, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        """The predictions as uint8, 0 where the label is ignored and the prediction is no class."""
        if not predictions.size or (predictions.min() >= 0 and predictions.max() < self.num_classes):
            return predictions.astype(np.uint8, copy=False)
        counted = predictions[labels != self.ignore_label]
        if counted.size and (counted.min() < 0 or counted.max() >= self.num_classes):
            raise ValueError(f'predictions span {counted.min()} .. {counted.max()}, not 0 .. {self.num_classes - 1}')
        return np.where(labels != self.ignore_label, predictions, 0).astype(np.uint8)

    def _wrong_labels(self, labels: np.ndarray, source: str) -> DataError:
        outside = (labels < 0) | (labels >= self.num_classes)
        wrong = labels[outside & (labels != self.ignore_label)]
        ids = np.unique(wrong)
        shown = ', '.join(map(str, ids[:_NUM_IDS_SHOWN])) + (', ...' if ids.size > _NUM_IDS_SHOWN else '')
        return DataError(
            f'{source or "labels"}: {wrong.size} pixels have label id {shown}, which is neither a class '
            f'(0 .. {self.num_classes - 1}) nor the ignore label ({self.ignore_label}); '
            'correct the records, num_classes or ignore_label'
        )


def histogram(codes: np.ndarray, num_bins: int) -> np.ndarray:
    """How often each of 0 .. num_bins - 1 is in `codes`, uint16 [N]; int64 [num_bins]."""
    changes = codes[1:] != codes[:-1]
    if np.count_nonzero(changes) * _PIXELS_PER_RUN < codes.size:
        starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
        lengths = np.diff(starts, append=codes.size)
        # Sums of lengths are exact in float64 up to 2**53 pixels.
        return np.bincount(codes[starts], weights=lengths, minlength=num_bins).astype(np.int64)
    counts = np.zeros(num_bins, np.int64)
    chunk = max(_CHUNK, num_bins)
    for start in range(0, codes.size, chunk):
        counts += np.bincount(codes[start : start + chunk], minlength=num_bins)
    return counts
