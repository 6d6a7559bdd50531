"""Which images are worst: for each class by IoU, for each pair of classes by the pixels that are confused."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np

from metrics.tally import Tally

NUM_KEPT = 8
_MAX_PAIRS = 1000


class WorstImages:
    """Keeps the worst few of each, whatever the number of images.

    Args:
      class_names: C names.
      num_kept: images of each class and of each pair.
    """

    def __init__(self, class_names: Sequence[str], *, num_kept: int = NUM_KEPT):
        self._names, self._num_kept = list(class_names), num_kept
        self._classes: list[list[tuple[float, int, str]]] = [[] for _ in self._names]
        self._pairs: dict[tuple[int, int], list[tuple[int, str]]] = {}
        self._counts = np.zeros((len(self._names), len(self._names)), np.int64)

    def add(self, filename: str, counts: np.ndarray) -> bool:
        """Adds an image by its confusion matrix int64 [C, C]; is it among the worst of anything now?"""
        tally = Tally.of(counts)
        iou = tally.class_iou()
        kept = False
        # Of equals (0 is frequent) the one with more pixels is worse, then the first by name.
        for class_id in np.flatnonzero(tally.labels):
            wrong = int(tally.labels[class_id] + tally.predictions[class_id] - 2 * tally.hits[class_id])
            if wrong:
                kept |= self._insert(self._classes[class_id], (float(iou[class_id]), -wrong, filename))
        wrong = counts.copy()
        np.fill_diagonal(wrong, 0)
        for label, prediction in np.argwhere(wrong):
            pair = self._pairs.setdefault((int(label), int(prediction)), [])
            kept |= self._insert(pair, (-int(wrong[label, prediction]), filename))
        self._counts += counts
        return kept

    def worst_images(self) -> dict[str, list[dict]]:
        """`worst_images` of metrics.json: for each class, images with an error in it, lowest IoU first."""
        return {
            name: [{'filename': filename, 'iou': iou, 'wrong_pixels': -wrong} for iou, wrong, filename in worst]
            for name, worst in zip(self._names, self._classes, strict=True)
        }

    def confusion_pairs(self) -> list[dict]:
        """`confusion_pairs` of metrics.json: the thousand largest, most pixels first."""
        rows = []
        pixels_of_label = self._counts.sum(1)
        pairs = sorted(self._pairs, key=lambda pair: (-self._counts[pair], pair))
        for pair in pairs[:_MAX_PAIRS]:
            label, prediction = pair
            rows.append(
                {
                    'label': self._names[label],
                    'prediction': self._names[prediction],
                    'pixels': int(self._counts[pair]),
                    'share_of_label': float(self._counts[pair] / pixels_of_label[label]),
                    'images': [filename for _, filename in self._pairs[pair]],
                }
            )
        return rows

    def filenames(self) -> set[str]:
        """Every image that is among the worst of anything."""
        worst = {entry[-1] for entries in self._classes for entry in entries}
        return worst | {entry[-1] for entries in self._pairs.values() for entry in entries}

    def _insert(self, entries: list, entry: tuple) -> bool:
        """Puts `entry` into the sorted list unless that is full of worse ones."""
        if len(entries) == self._num_kept and entry >= entries[-1]:
            return False
        bisect.insort(entries, entry)
        del entries[self._num_kept :]
        return True
