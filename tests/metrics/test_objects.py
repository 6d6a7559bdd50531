"""Objects against scipy's labelling, class by class."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.objects import SIZES, ObjectCounter
from metrics.runs import Runs
from tests.metrics.maps import IGNORE_LABEL, case, ndimage

NAMES = ['a', 'b', 'c', 'd']


@pytest.mark.parametrize('seed', range(40))
def test_components_are_those_of_scipy(seed):
    label, prediction = case(seed)
    runs = Runs.of(label, prediction)
    for which, ids in enumerate((label, prediction)):
        component, sizes = runs.objects(which, runs.neighbours())
        painted = np.repeat(component, runs.lengths).reshape(label.shape)
        assert sizes.sum() == label.size
        found = 0
        for value in np.unique(ids):
            theirs, number = ndimage.label(ids == value)
            found += number
            for i in range(1, number + 1):
                (one,) = np.unique(painted[theirs == i])
                assert sizes[one] == (theirs == i).sum()
        assert found == len(sizes)


def _sizes(mask: np.ndarray) -> np.ndarray:
    """Size of the component of each pixel, 0 outside the mask."""
    components, _ = ndimage.label(mask)
    return np.where(mask, np.bincount(components.ravel())[components], 0)


@pytest.mark.parametrize('seed', range(40))
def test_scores_of_each_size(seed):
    label, prediction = case(seed)
    counter = ObjectCounter(num_classes=4, ignore_label=IGNORE_LABEL)
    counter.add(label, prediction)
    rows = counter.summary(NAMES)
    counted = label != IGNORE_LABEL
    for class_id, name in enumerate(NAMES):
        truth, guess = label == class_id, counted & (prediction == class_id)
        of_truth, of_guess = _sizes(truth), _sizes(guess)
        for row in rows:
            low, high = row['pixels'][0], row['pixels'][1] or np.inf
            in_truth = truth & (of_truth >= low) & (of_truth < high)
            wrong = guess & ~truth & (of_guess >= low) & (of_guess < high)
            hits = (in_truth & guess).sum()
            expected = hits / (in_truth.sum() + wrong.sum()) if in_truth.any() else None
            assert row['class_iou'][name] == expected
            components, number = ndimage.label(in_truth)
            assert row['class_num_objects'][name] == number
            recalls = [guess[components == i].mean() for i in range(1, number + 1)]
            assert row['class_found'][name] == (np.mean(np.array(recalls) >= 0.5) if number else None)


def test_all_sizes_together_are_the_class_iou():
    counter = ObjectCounter(num_classes=4, ignore_label=IGNORE_LABEL)
    hits, union = np.zeros(4, int), np.zeros(4, int)
    for seed in range(6):
        label, prediction = case(seed)
        counter.add(label, prediction)
        guess = np.where(label == IGNORE_LABEL, IGNORE_LABEL, prediction)
        for i in range(4):
            hits[i] += ((label == i) & (guess == i)).sum()
            union[i] += ((label == i) | (guess == i)).sum()
    np.testing.assert_array_equal(counter.hits.sum(0), hits)
    np.testing.assert_array_equal((counter.labels + counter.false_positives).sum(0), union)


def test_the_bounds_of_sizes_are_inclusive_below():
    label = np.zeros((40, 300), np.uint8)
    label[:16, :16] = 1  # 256 pixels
    label[20:35, :17] = 1  # 255 pixels
    counter = ObjectCounter(num_classes=2, ignore_label=IGNORE_LABEL)
    counter.add(label, label)
    assert counter.num_objects[:, 1].tolist() == [1, 1, 0, 0, 0]
    assert SIZES[:2] == (1, 256)
