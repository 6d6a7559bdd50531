"""Counts and scores against a plain loop and against exact small cases."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.errors import DataError
from metrics import segmentation
from metrics.confusion import ConfusionMatrix


def _twin(labels, predictions, num_classes, ignore_label):
    """The definition, pixel by pixel, in Python integers."""
    counts = [[0] * num_classes for _ in range(num_classes)]
    for label, prediction in zip(labels.ravel().tolist(), predictions.ravel().tolist(), strict=True):
        if label != ignore_label:
            counts[label][prediction] += 1
    return np.array(counts)


def _random_case(seed):
    rng = np.random.default_rng(seed)
    num_classes = int(rng.integers(1, 8))
    shape = tuple(rng.integers(1, 20, 2))
    labels = rng.integers(0, num_classes, shape, np.int32)
    labels[rng.random(shape) < 0.3] = 255
    return num_classes, labels, rng.integers(0, num_classes, shape, np.int32)


@pytest.mark.parametrize('seed', range(25))
def test_counts_equal_the_pixel_loop(seed):
    num_classes, labels, predictions = _random_case(seed)
    matrix = ConfusionMatrix(num_classes=num_classes, ignore_label=255)
    matrix.update(labels, predictions)
    np.testing.assert_array_equal(matrix.counts, _twin(labels, predictions, num_classes, 255))
    assert matrix.counts.dtype == np.int64


@pytest.mark.parametrize('seed', range(10))
def test_rows_one_by_one_add_up_to_the_whole(seed):
    num_classes, labels, predictions = _random_case(seed)
    whole = ConfusionMatrix(num_classes=num_classes, ignore_label=255)
    parts = ConfusionMatrix(num_classes=num_classes, ignore_label=255)
    whole.update(labels, predictions)
    own = [parts.update(row, guess) for row, guess in zip(labels, predictions, strict=True)]
    np.testing.assert_array_equal(parts.counts, whole.counts)
    np.testing.assert_array_equal(sum(own), whole.counts)


@pytest.mark.parametrize('seed', range(10))
def test_ignored_pixels_do_not_matter(seed):
    num_classes, labels, predictions = _random_case(seed)
    other = np.where(labels == 255, (predictions + 1) % num_classes, predictions)
    first = ConfusionMatrix(num_classes=num_classes, ignore_label=255)
    second = ConfusionMatrix(num_classes=num_classes, ignore_label=255)
    np.testing.assert_array_equal(first.update(labels, predictions), second.update(labels, other))


def test_an_ignore_label_within_the_classes_is_ignored():
    matrix = ConfusionMatrix(num_classes=3, ignore_label=0)
    matrix.update(np.array([0, 0, 1, 2]), np.array([1, 0, 1, 1]))
    np.testing.assert_array_equal(matrix.counts, [[0, 0, 0], [0, 1, 0], [0, 1, 0]])


def test_narrow_labels_do_not_overflow():
    matrix = ConfusionMatrix(num_classes=200, ignore_label=255)
    matrix.update(np.array([199], np.uint8), np.array([199], np.uint8))
    assert matrix.counts[199, 199] == 1


@pytest.mark.parametrize('seed', range(25))
def test_scores_equal_sets_of_pixels(seed):
    num_classes, labels, predictions = _random_case(seed)
    matrix = ConfusionMatrix(num_classes=num_classes, ignore_label=255)
    matrix.update(labels, predictions)
    valid = labels != 255
    for i in range(num_classes):
        is_label, is_prediction = valid & (labels == i), valid & (predictions == i)
        union, hits = (is_label | is_prediction).sum(), (is_label & is_prediction).sum()
        iou, accuracy = segmentation.class_iou(matrix.counts)[i], segmentation.class_accuracy(matrix.counts)[i]
        assert np.isnan(iou) if is_label.sum() == 0 else iou == hits / union
        assert np.isnan(accuracy) if is_label.sum() == 0 else accuracy == hits / is_label.sum()
    if valid.any():
        assert segmentation.pixel_accuracy(matrix.counts) == (labels == predictions)[valid].mean()


def test_mean_iou_runs_over_the_classes_that_occur():
    counts = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert segmentation.mean_iou(counts) == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert segmentation.mean_accuracy(counts) == pytest.approx((3 / 4 + 1) / 2)


def test_a_class_that_is_only_predicted_is_absent_and_not_zero():
    counts = np.array([[3, 1], [0, 0]])
    assert segmentation.mean_iou(counts) == 3 / 4
    assert segmentation.mean_accuracy(counts) == 3 / 4
    summary = segmentation.summarize(counts, ['road', 'car'])
    for name in ('class_iou', 'class_accuracy', 'class_precision', 'class_f1'):
        assert summary[name]['car'] is None
    assert (summary['absent_classes'], summary['absent_predictions']) == (['car'], {'car': 1})
    assert summary['mean_iou_absent_as_zero'] == pytest.approx((3 / 4 + 0) / 2)


def test_summary_is_json_with_null_for_what_is_undefined():
    summary = json.loads(json.dumps(segmentation.summarize(np.array([[2, 0], [0, 0]]), ['road', 'car'])))
    assert summary['class_iou'] == {'road': 1.0, 'car': None}
    assert summary['confusion_matrix'] == [[2, 0], [0, 0]]
    assert (summary['mean_iou'], summary['num_pixels']) == (1.0, 2)


def test_nothing_counted_gives_null_and_still_a_table():
    summary = segmentation.summarize(np.zeros((2, 2), np.int64), ['road', 'car'])
    assert summary['mean_iou'] is None and summary['pixel_accuracy'] is None
    assert 'NaN' not in json.dumps(summary)
    assert 'road' in segmentation.table(summary)


def test_table_has_a_row_for_each_class():
    text = segmentation.table(segmentation.summarize(np.array([[3, 1], [0, 4]]), ['road', 'car']))
    assert text.splitlines()[2].split() == ['road', '75.00', '75.00', '100.00', '85.71', '50.00']
    assert text.splitlines()[3].split() == ['car', '80.00', '100.00', '80.00', '88.89', '50.00']
    assert 'pixel accuracy 87.50 % of 8 pixels' in text


def test_a_wrong_label_names_file_count_and_ids():
    matrix = ConfusionMatrix(num_classes=3, ignore_label=255)
    labels = np.array([[0, 7, 7], [-1, 255, 2]])
    with pytest.raises(DataError, match=r'^street\.png: 3 pixels have label id -1, 7, .*\(0 \.\. 2\).*\(255\)'):
        matrix.update(labels, np.zeros_like(labels), source='street.png')
    assert matrix.counts.sum() == 0


def test_nonsense_is_rejected():
    with pytest.raises(ValueError, match=r'num_classes must be 1 \.\. 255, got 0'):
        ConfusionMatrix(num_classes=0, ignore_label=255)
    matrix = ConfusionMatrix(num_classes=2, ignore_label=255)
    with pytest.raises(ValueError, match=r'labels are \[2\], predictions \[3\]'):
        matrix.update(np.zeros(2, int), np.zeros(3, int))
    with pytest.raises(ValueError, match=r'predictions span 0 \.\. 2, not 0 \.\. 1'):
        matrix.update(np.zeros(2, int), np.array([0, 2]))
    with pytest.raises(ValueError, match=r'ignore_label must be 0 \.\. 255, got -1'):
        ConfusionMatrix(num_classes=2, ignore_label=-1)
    with pytest.raises(ValueError, match='1 class names for 2 classes'):
        segmentation.summarize(matrix.counts, ['road'])
