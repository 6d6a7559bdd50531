"""IoU by the size of objects: connected components (4 neighbours) of one class."""

from __future__ import annotations

import numpy as np

from metrics.runs import Runs
from metrics.tally import Tally, mean

# Lower ends in pixels; COCO's small, medium and large begin at 0, 32^2 and 96^2.
SIZES = (1, 16**2, 32**2, 96**2, 256**2)


class ObjectCounter:
    """Counts pixels by the size of the object they belong to.

    A hit and a missed pixel are of the size of their label's component, a false positive of the size of the predicted
    component. So the hits, labels and false positives of all sizes add up to those of the class's IoU.

    Attributes:
      hits, labels, false_positives: int64 [sizes, C].
      num_objects: int64 [sizes, C], components of the label.
      num_found: of them, those half or more of whose pixels are hits.

    Args:
      num_classes: C.
      ignore_label: pixels that do not count; they end an object.
    """

    def __init__(self, *, num_classes: int, ignore_label: int):
        self._ignore_label = ignore_label
        self._shape = (len(SIZES), num_classes)
        zeros = (np.zeros(self._shape, np.int64) for _ in range(5))
        self.hits, self.labels, self.false_positives, self.num_objects, self.num_found = zeros

    def add(self, labels: np.ndarray, predictions: np.ndarray) -> None:
        """Adds one image, both uint8 [H, W]; labels are class ids or the ignore label, predictions class ids."""
        predictions = np.where(labels == self._ignore_label, labels, predictions)
        runs = Runs.of(labels, predictions)
        label, prediction = runs.values
        neighbours = runs.neighbours()
        object_of, object_sizes = runs.objects(0, neighbours)
        predicted_of, predicted_sizes = runs.objects(1, neighbours)
        keep = label != self._ignore_label
        hits = runs.lengths * ((label == prediction) & keep)
        size_of = _size_class(object_sizes)
        self._add(self.labels, size_of[object_of], label, runs.lengths, keep)
        self._add(self.hits, size_of[object_of], label, hits, keep)
        wrong = keep & (label != prediction)
        self._add(self.false_positives, _size_class(predicted_sizes)[predicted_of], prediction, runs.lengths, wrong)
        class_of = np.zeros(len(object_sizes), label.dtype)
        class_of[object_of] = label
        hits_of = np.bincount(object_of, weights=hits, minlength=len(object_sizes))
        counted = class_of != self._ignore_label
        found = counted & (2 * hits_of >= object_sizes)
        ones = np.ones(len(object_sizes))
        self._add(self.num_objects, size_of, class_of, ones, counted)
        self._add(self.num_found, size_of, class_of, ones, found)

    def summary(self, class_names: list[str]) -> list[dict]:
        """`size` of metrics.json; see docs/evaluation.md."""
        rows = []
        for i, low in enumerate(SIZES):
            iou = Tally(self.hits[i], self.labels[i], self.hits[i] + self.false_positives[i]).class_iou()
            found = [f / n if n else None for f, n in zip(self.num_found[i], self.num_objects[i], strict=True)]
            scores = [None if np.isnan(x) else float(x) for x in iou]
            average = mean(iou)
            rows.append(
                {
                    'pixels': [low, SIZES[i + 1] if i + 1 < len(SIZES) else None],
                    'num_objects': int(self.num_objects[i].sum()),
                    'mean_iou': None if np.isnan(average) else float(average),
                    'class_iou': dict(zip(class_names, scores, strict=True)),
                    'class_found': dict(zip(class_names, found, strict=True)),
                    'class_num_objects': dict(zip(class_names, self.num_objects[i].tolist(), strict=True)),
                }
            )
        return rows

    def _add(
        self, total: np.ndarray, size: np.ndarray, class_ids: np.ndarray, weights: np.ndarray, keep: np.ndarray
    ) -> None:
        codes = size[keep] * self._shape[1] + class_ids[keep]
        counts = np.bincount(codes, weights=weights[keep], minlength=total.size)
        total += counts.astype(np.int64).reshape(self._shape)


def _size_class(sizes: np.ndarray) -> np.ndarray:
    return np.searchsorted(SIZES, sizes, side='right') - 1
