"""IoU near borders: Boundary IoU, and IoU by the distance of a pixel from the nearest border of the label.

Distances are chessboard distances. A band of width d around borders is then what d steps of 3x3 dilation reach, and is
computed here by doubling: O(log d) passes over bytes.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from metrics.runs import Runs
from metrics.tally import Tally, mean, ratio

# Upper ends, in pixels, of the distance classes; the last one has no end.
TRIMAP_DISTANCES = (1, 2, 4, 8, 16)
DILATION_RATIO = 0.02
_NUM_LEVELS = len(TRIMAP_DISTANCES) + 1


class BoundaryCounter:
    """Counts pixels by their distance from a border, and those of the bands that Boundary IoU compares.

    Boundary IoU (Cheng et al. 2021, arXiv:2103.16562, equation 2): G_d are the pixels of a mask within distance d of
    its contour, P_d those of the predicted mask; IoU of G_d and P_d. d is 2 % of the image's diagonal, as there, at
    least 1; the edge of the image is a contour, as in the authors' code. Sums run over all images, then are divided.

    Trimap (Kohli et al. 2009, doi:10.1007/s11263-008-0202-0; Kraehenbuehl and Koltun 2011, arXiv:1210.5644): IoU of the
    pixels within distance d of a border between two labels, the ignore label being one of them. The edge of the image
    is no border.

    Attributes:
      hits, labels, predictions: int64 [levels, C], pixels by the distance from a border of the label.
      bands: of Boundary IoU, each int64 [C].

    Args:
      num_classes: C.
      ignore_label: pixels that do not count; predictions there are taken as ignored too, so that a perfect prediction
        scores 1.
    """

    def __init__(self, *, num_classes: int, ignore_label: int):
        self._num_classes, self._ignore_label = num_classes, ignore_label
        self.hits, self.labels, self.predictions = (np.zeros((_NUM_LEVELS, num_classes), np.int64) for _ in range(3))
        self.bands = Tally(*(np.zeros(num_classes, np.int64) for _ in range(3)))

    def add(self, labels: np.ndarray, predictions: np.ndarray) -> Tally:
        """Adds one image, both uint8 [H, W]; returns its own counts of Boundary IoU.

        Args:
          labels: class ids or the ignore label.
          predictions: class ids.
        """
        predictions = np.where(labels == self._ignore_label, labels, predictions)
        distance = max(1, round(DILATION_RATIO * math.hypot(*labels.shape)))
        # Four kinds of pixel at each level: near the label's contour or not, near the prediction's or not.
        kind = _levels(labels) << 2
        kind |= _near(labels, distance).view(np.uint8) << 1
        kind |= _near(predictions, distance).view(np.uint8)
        counts = self._count(Runs.of(labels, predictions, kind))
        hits = np.diagonal(counts, axis1=2, axis2=3)
        self.hits += hits.sum(1)
        self.labels += counts.sum((1, 3))
        self.predictions += counts.sum((1, 2))
        own = Tally(hits[:, 3].sum(0), counts[:, 2:].sum((0, 1, 3)), counts[:, 1::2].sum((0, 1, 2)))
        self.bands = Tally(
            self.bands.hits + own.hits, self.bands.labels + own.labels, self.bands.predictions + own.predictions
        )
        return own

    def summary(self, class_names: list[str]) -> dict:
        """`boundary` of metrics.json; see docs/evaluation.md."""
        iou = self.bands.class_iou()
        within = [Tally(*(x[: i + 1].sum(0) for x in (self.hits, self.labels, self.predictions))) for i in _LEVELS]
        rings = [Tally(self.hits[i], self.labels[i], self.predictions[i]) for i in range(_NUM_LEVELS)]
        pixels = self.labels.sum()
        ends = [*TRIMAP_DISTANCES, None]
        return {
            'dilation_ratio': DILATION_RATIO,
            'boundary_iou': _by_name(class_names, iou),
            'mean_boundary_iou': _json(mean(iou)),
            'trimap': [
                {'distance_px': distance, **_scores(class_names, tally, pixels)}
                for distance, tally in zip(TRIMAP_DISTANCES, within, strict=True)
            ],
            'by_distance': [
                {'distance_px': [(0, *TRIMAP_DISTANCES)[i], ends[i]], **_scores(class_names, tally, pixels)}
                for i, tally in enumerate(rings)
            ],
        }

    def _count(self, runs: Runs) -> np.ndarray:
        """Pixels by level, kind, label and prediction, int64 [levels, 4, C, C], of runs of label, prediction, kind."""
        label, prediction, kind = runs.values
        keep = label != self._ignore_label
        codes = kind[keep].astype(np.int64)
        for ids in (label, prediction):
            codes *= self._num_classes
            codes += ids[keep]
        shape = (_NUM_LEVELS, 4, self._num_classes, self._num_classes)
        counts = np.bincount(codes, weights=runs.lengths[keep], minlength=math.prod(shape))
        return counts.astype(np.int64).reshape(shape)


_LEVELS = range(len(TRIMAP_DISTANCES))


def _levels(class_ids: np.ndarray) -> np.ndarray:
    """Which distance class each pixel is of, uint8 [H, W]: 0 within TRIMAP_DISTANCES[0] of another label, and so on."""
    near = _touching(class_ids)
    level = _NUM_LEVELS - 1 - near.view(np.uint8)
    for previous, distance in itertools.pairwise(TRIMAP_DISTANCES):
        near = _grown(near, distance - previous)
        level -= near.view(np.uint8)
    return level


def _near(class_ids: np.ndarray, distance: int) -> np.ndarray:
    """Pixels within `distance` of a pixel of another id or of the outside of the image, bool [H, W]."""
    near = _touching(class_ids)
    near[[0, -1]] = True
    near[:, [0, -1]] = True
    reached = 1
    while reached < distance:
        step = min(reached, distance - reached)
        near = _grown(near, step)
        reached += step
    return near


def _touching(class_ids: np.ndarray) -> np.ndarray:
    """Pixels one of whose 8 neighbours has another id: at distance 1 from it, bool [H, W]."""
    touching = np.zeros(class_ids.shape, bool)
    for a, b in (
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[1:], np.s_[:-1]),
        (np.s_[1:, 1:], np.s_[:-1, :-1]),
        (np.s_[1:, :-1], np.s_[:-1, 1:]),
    ):
        differ = class_ids[a] != class_ids[b]
        touching[a] |= differ
        touching[b] |= differ
    return touching


def _grown(near: np.ndarray, step: int) -> np.ndarray:
    """Dilated by a square of side 2 step + 1; `near`, of all pixels within r of a border, must have r >= step.

    Such a set is a union of squares that are wide enough for one shift to either side to leave no gap.
    """
    grown = near.copy()
    grown[:, step:] |= near[:, :-step]
    grown[:, :-step] |= near[:, step:]
    result = grown.copy()
    result[step:] |= grown[:-step]
    result[:-step] |= grown[step:]
    return result


def _scores(class_names: list[str], tally: Tally, pixels: int) -> dict:
    iou = tally.class_iou()
    return {
        'mean_iou': _json(mean(iou)),
        'class_iou': _by_name(class_names, iou),
        'share': _json(ratio(tally.labels.sum(), pixels)),
    }


def _json(value: np.ndarray) -> float | None:
    return None if np.isnan(value) else float(value)


def _by_name(names: list[str], values: np.ndarray) -> dict[str, float | None]:
    return {name: _json(value) for name, value in zip(names, values, strict=True)}
