"""Scores from three numbers a class: hits, labels and predictions; any leading axes, so that resamples are one call.

With n[i, j] the number of pixels of label i predicted as j, ignored pixels left out: hits = n[i, i], labels =
sum_j n[i, j], predictions = sum_j n[j, i]. A class without labels is absent from the data: its scores are NaN, and
means run over the other classes.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike


@dataclasses.dataclass(frozen=True)
class Tally:
    """Counts [..., C]; the methods give float64 [..., C] for classes, [...] for the whole, all in 0..1 (kappa -1..1).

    IoU and accuracies: Long et al. 2015, arXiv:1411.4038, section 5. Kappa: Cohen 1960, equation 1.
    """

    hits: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray) -> Tally:
        """From a confusion matrix [C, C], rows are labels."""
        return cls(np.diag(counts), counts.sum(1), counts.sum(0))

    def class_iou(self) -> np.ndarray:
        """hits / (labels + predictions - hits)."""
        return self._of_labelled(self.hits, self.labels + self.predictions - self.hits)

    def class_accuracy(self) -> np.ndarray:
        """hits / labels: recall."""
        return ratio(self.hits, self.labels)

    def class_precision(self) -> np.ndarray:
        """hits / predictions; NaN also for a class that is never predicted."""
        return self._of_labelled(self.hits, self.predictions)

    def class_f1(self) -> np.ndarray:
        """2 hits / (labels + predictions): the Dice coefficient."""
        return self._of_labelled(2 * self.hits, self.labels + self.predictions)

    def class_share(self) -> np.ndarray:
        """labels / all counted pixels."""
        return ratio(self.labels, self.labels.sum(-1, keepdims=True))

    def pixel_accuracy(self) -> np.ndarray:
        """Sum of hits / all counted pixels."""
        return ratio(self.hits.sum(-1), self.labels.sum(-1))

    def frequency_weighted_iou(self) -> np.ndarray:
        """Mean of `class_iou` weighted with `class_share`."""
        weighted = np.nan_to_num(self.class_iou()) * self.labels
        return ratio(weighted.sum(-1), self.labels.sum(-1))

    def kappa(self) -> np.ndarray:
        """(agreement - chance) / (1 - chance), chance = sum_i labels_i predictions_i / pixels^2."""
        pixels = self.labels.sum(-1)
        chance = ratio((np.asarray(self.labels, np.float64) * self.predictions).sum(-1), np.square(pixels, dtype=float))
        return ratio(self.pixel_accuracy() - chance, 1 - chance)

    def _of_labelled(self, part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.where(np.asarray(self.labels) > 0, ratio(part, whole), np.nan)


def ratio(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    """part / whole in float64, shapes broadcast; NaN where whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; NaN if nothing is."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(-1), defined.sum(-1))
