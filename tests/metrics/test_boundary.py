"""Bands and distances against scipy's distance transform and against erosion, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrics.boundary import TRIMAP_DISTANCES, BoundaryCounter
from tests.metrics.maps import IGNORE_LABEL, case, ndimage

NUM_CLASSES = 4
NAMES = ['a', 'b', 'c', 'd']


def _mask_boundary(mask: np.ndarray, distance: int) -> np.ndarray:
    """As the paper's code: what `distance` erosions by 3 x 3 take off the mask, the outside being no mask."""
    eroded = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=0)
    return mask & ~eroded


def _distance_from_border(label: np.ndarray) -> np.ndarray:
    """Chessboard distance of each pixel from the nearest pixel of another id; large if there is none."""
    distance = np.full(label.shape, 10**6)
    for value in np.unique(label):
        inside = label == value
        if not inside.all():
            distance[inside] = ndimage.distance_transform_cdt(inside, 'chessboard')[inside]
    return distance


@pytest.mark.parametrize('seed', range(30))
def test_boundary_iou_is_that_of_eroded_masks(seed):
    label, prediction = case(seed)
    counter = BoundaryCounter(num_classes=NUM_CLASSES, ignore_label=IGNORE_LABEL)
    bands = counter.add(label, prediction)
    distance = max(1, round(0.02 * math.hypot(*label.shape)))
    prediction = np.where(label == IGNORE_LABEL, IGNORE_LABEL, prediction)
    for class_id in range(NUM_CLASSES):
        truth = _mask_boundary(label == class_id, distance)
        guess = _mask_boundary(prediction == class_id, distance)
        assert bands.hits[class_id] == (truth & guess).sum()
        assert bands.labels[class_id] == truth.sum()
        assert bands.predictions[class_id] == guess.sum()


@pytest.mark.parametrize('factor', [1, 7, 40])
def test_wide_bands_too(factor):
    """Large images: 2 % of the diagonal is many pixels, reached by doubling."""
    rng = np.random.default_rng(factor)
    label = rng.integers(0, 3, (5, 8), np.uint8).repeat(factor * 5, 0).repeat(factor * 5, 1)
    prediction = np.roll(label, factor, 1)
    bands = BoundaryCounter(num_classes=3, ignore_label=IGNORE_LABEL).add(label, prediction)
    distance = max(1, round(0.02 * math.hypot(*label.shape)))
    for class_id in range(3):
        truth, guess = (_mask_boundary(ids == class_id, distance) for ids in (label, prediction))
        counted = (bands.hits[class_id], bands.labels[class_id], bands.predictions[class_id])
        assert counted == ((truth & guess).sum(), truth.sum(), guess.sum())


@pytest.mark.parametrize('seed', range(30))
def test_trimap_is_the_iou_within_a_distance(seed):
    label, prediction = case(seed)
    counter = BoundaryCounter(num_classes=NUM_CLASSES, ignore_label=IGNORE_LABEL)
    counter.add(label, prediction)
    summary = counter.summary(NAMES)
    distance, counted = _distance_from_border(label), label != IGNORE_LABEL
    for entry in summary['trimap']:
        _check(entry, label, prediction, counted & (distance <= entry['distance_px']), counted.sum())
    for entry in summary['by_distance']:
        low, high = entry['distance_px']
        _check(entry, label, prediction, counted & (distance > low) & (distance <= (high or 10**7)), counted.sum())
    assert [entry['distance_px'] for entry in summary['trimap']] == list(TRIMAP_DISTANCES)


def _check(entry, label, prediction, where, num_counted):
    for class_id, name in enumerate(NAMES):
        truth, guess = where & (label == class_id), where & (prediction == class_id)
        expected = (truth & guess).sum() / (truth | guess).sum() if truth.any() else None
        assert entry['class_iou'][name] == expected
    defined = [iou for iou in entry['class_iou'].values() if iou is not None]
    assert entry['mean_iou'] == (pytest.approx(np.mean(defined)) if defined else None)
    assert entry['share'] == (pytest.approx(where.sum() / num_counted) if num_counted else None)


def test_a_perfect_prediction_scores_one_also_beside_ignored_pixels():
    label = case(1)[0]
    counter = BoundaryCounter(num_classes=NUM_CLASSES, ignore_label=IGNORE_LABEL)
    counter.add(label, np.where(label == IGNORE_LABEL, 2, label))
    assert counter.summary(NAMES)['mean_boundary_iou'] == 1


def test_images_add_up():
    both = BoundaryCounter(num_classes=NUM_CLASSES, ignore_label=IGNORE_LABEL)
    parts = [both.add(*case(seed)) for seed in (2, 3)]
    np.testing.assert_array_equal(both.bands.hits, parts[0].hits + parts[1].hits)
