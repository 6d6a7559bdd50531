"""The same files scored by the published tools: cityscapesscripts and scikit-learn, to 1e-9."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as _sklearn_metrics

from dataset_tools import cityscapes_labels
from metrics.accumulator import Accumulator
from metrics.scores import Classes

# Its functions have no types of their own.
sklearn_metrics: Any = _sklearn_metrics
LABEL_MAP = cityscapes_labels.label_map()
CLASSES = Classes(names=LABEL_MAP.names, categories=LABEL_MAP.categories, instance_sizes=LABEL_MAP.instance_sizes)
LABEL_IDS = np.array(LABEL_MAP.label_ids)
TRAIN_IDS = np.array([cityscapes_labels.TRAIN_IDS[i] for i in range(34)], np.uint8)
THINGS = [label.id for label in cityscapes_labels.LABELS if label.has_instances]


@pytest.fixture(scope='module')
def official():
    """The benchmark's own script, quiet; it calls numpy.in1d, which numpy 2.4 no longer has."""
    if not hasattr(np, 'in1d'):
        np.in1d = np.isin  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as script
    return script


def _write_cities(folder: Path, *, label_ids: list[int], predicted: np.ndarray, seed: int) -> list[tuple[str, str]]:
    """(prediction, ground truth) file pairs: blocks of ids, instances and groups of things; sizes odd on purpose."""
    rng, pairs = np.random.default_rng(seed), []
    for number, (height, width) in enumerate([(37, 53), (48, 31), (65, 80)]):
        ids, instances = _draw(rng, height, width, label_ids)
        wrong = rng.random((height, width)) < 0.3
        known = np.where(TRAIN_IDS[ids] == 255, LABEL_IDS[0], ids)
        prediction = np.where(wrong | ~np.isin(known, predicted), rng.choice(predicted, (height, width)), known)
        stem = folder / f'bonn_{number:06d}_000019'
        truth = f'{stem}_gtFine_labelIds.png'
        Image.fromarray(ids.astype(np.uint8)).save(truth)
        Image.fromarray(instances.astype(np.uint16)).save(f'{stem}_gtFine_instanceIds.png')
        Image.fromarray(prediction.astype(np.uint8)).save(f'{stem}_pred.png')
        pairs.append((f'{stem}_pred.png', truth))
    return pairs


def _draw(rng: np.random.Generator, height: int, width: int, label_ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
    ids = rng.choice(label_ids, (height // 4 + 1, width // 4 + 1)).repeat(4, 0).repeat(4, 1)[:height, :width]
    instances = ids.copy()
    for label_id in set(label_ids) & set(THINGS):
        places = np.argwhere(ids == label_id)
        for number, (y, x) in enumerate(places[rng.permutation(len(places))[:5]]):
            box = np.s_[y : y + int(rng.integers(1, 9)), x : x + int(rng.integers(1, 9))]
            ids[box], instances[box] = label_id, label_id * 1000 + number
    instances[instances < 1000] = ids[instances < 1000]  # what a later box of another class has covered
    return ids, instances


def _official_scores(script: Any, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    script.args.quiet, script.args.JSONOutput, script.args.evalInstLevelScore = True, False, True
    predictions, truths = zip(*pairs, strict=True)
    return script.evaluateImgLists(list(predictions), list(truths), script.args)


def _scored(pairs: list[tuple[str, str]], **options) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    scores = Accumulator(classes=CLASSES, ignore_label=255, label_ids=LABEL_MAP.label_ids, num_samples=0, **options)
    labels, predictions = [], []
    for prediction_path, truth_path in pairs:
        label = TRAIN_IDS[np.asarray(Image.open(truth_path))]
        prediction = TRAIN_IDS[np.asarray(Image.open(prediction_path))]
        instances = np.asarray(Image.open(truth_path.replace('labelIds', 'instanceIds')))
        scores.add(truth_path, label, prediction, instance_ids=instances)
        labels.append(label.ravel())
        predictions.append(prediction.ravel())
    return scores.summary(), np.concatenate(labels), np.concatenate(predictions)


def _equal(ours: dict[str, float | None], theirs: dict[str, float], names) -> None:
    for name in names:
        if math.isnan(theirs[name]):
            assert ours[name] is None, name
        else:
            assert ours[name] == pytest.approx(theirs[name], abs=1e-9, rel=0), name


@pytest.mark.parametrize('seed', range(4))
def test_cityscapes_script_gives_the_same(official, tmp_path, seed):
    # Every id, the ignored ones (also ones with instances: caravan, trailer) among them.
    pairs = _write_cities(tmp_path, label_ids=list(range(34)), predicted=LABEL_IDS, seed=seed)
    theirs, (ours, _, _) = _official_scores(official, pairs), _scored(pairs)
    assert ours['absent_classes'] == []
    _equal(ours['class_iou'], theirs['classScores'], LABEL_MAP.names)
    _equal(ours['class_instance_iou'], theirs['classInstScores'], LABEL_MAP.names)
    _equal(ours['category_iou'], theirs['categoryScores'], CLASSES.category_names)
    _equal(ours['category_instance_iou'], theirs['categoryInstScores'], CLASSES.category_names)
    for name, official_name in (
        ('mean_iou', 'averageScoreClasses'),
        ('mean_instance_iou', 'averageScoreInstClasses'),
        ('mean_category_iou', 'averageScoreCategories'),
        ('mean_category_instance_iou', 'averageScoreInstCategories'),
    ):
        assert ours[name] == pytest.approx(theirs[official_name], abs=1e-9, rel=0), name
    assert sum(value is not None for value in ours['class_instance_iou'].values()) == 8
    assert sum(value is not None for value in ours['category_instance_iou'].values()) == 2
    counts = np.array(theirs['confMatrix'])[np.ix_(LABEL_IDS, LABEL_IDS)]
    np.testing.assert_array_equal(ours['confusion_matrix'], counts)


def test_absent_classes_are_null_and_the_official_average_is_there_too(official, tmp_path):
    absent = ['wall', 'sky', 'train']
    present = [label.id for label in cityscapes_labels.LABELS if label.id >= 0 and label.name not in absent]
    predicted = np.delete(LABEL_IDS, LABEL_MAP.names.index('sky'))
    pairs = _write_cities(tmp_path, label_ids=present, predicted=predicted, seed=9)
    theirs, (ours, labels, predictions) = _official_scores(official, pairs), _scored(pairs)
    assert ours['absent_classes'] == absent
    assert (theirs['classScores']['wall'], theirs['classScores']['train']) == (0, 0)
    assert [ours['class_iou'][name] for name in absent] == [None] * 3
    counted = predictions[labels != 255]
    assert ours['absent_predictions'] == {name: (counted == LABEL_MAP.names.index(name)).sum() for name in absent}
    seen = [name for name in LABEL_MAP.names if name not in absent]
    _equal(ours['class_iou'], theirs['classScores'], seen)
    assert ours['mean_iou_absent_as_zero'] == pytest.approx(theirs['averageScoreClasses'], abs=1e-9, rel=0)
    assert ours['mean_iou'] == pytest.approx(np.mean([theirs['classScores'][name] for name in seen]), abs=1e-9, rel=0)


@pytest.mark.parametrize('seed', range(4))
def test_scikit_learn_gives_the_same(tmp_path, seed):
    pairs = _write_cities(tmp_path, label_ids=list(range(34)), predicted=LABEL_IDS[:12], seed=seed + 20)
    ours, labels, predictions = _scored(pairs)
    labels, predictions = labels[labels != 255], predictions[labels != 255]
    known = np.arange(19)
    theirs = SimpleNamespace(
        jaccard=sklearn_metrics.jaccard_score(labels, predictions, labels=known, average=None, zero_division=0),
        weighted=sklearn_metrics.jaccard_score(labels, predictions, labels=known, average='weighted'),
        scores=sklearn_metrics.precision_recall_fscore_support(
            labels, predictions, labels=known, average=None, zero_division=np.nan
        ),
    )
    precision, recall, f1, support = theirs.scores
    named = {
        'class_iou': theirs.jaccard,
        'class_precision': precision,
        'class_recall': recall,
        'class_accuracy': recall,
        'class_f1': f1,
        'class_share': support / support.sum(),
    }
    for key, values in named.items():
        _equal(ours[key], dict(zip(LABEL_MAP.names, values, strict=True)), LABEL_MAP.names)
    scalars = {
        'pixel_accuracy': sklearn_metrics.accuracy_score(labels, predictions),
        'mean_accuracy': sklearn_metrics.balanced_accuracy_score(labels, predictions),
        'kappa': sklearn_metrics.cohen_kappa_score(labels, predictions),
        'mean_f1': f1.mean(),
        'frequency_weighted_iou': theirs.weighted,
    }
    for key, value in scalars.items():
        assert ours[key] == pytest.approx(value, abs=1e-9, rel=0), key
    np.testing.assert_array_equal(
        ours['confusion_matrix'], sklearn_metrics.confusion_matrix(labels, predictions, labels=known)
    )


def test_without_published_sizes_the_average_of_the_data_counts(tmp_path):
    """Two cars of 4 and 12 pixels, 2 and 12 of them found, and 5 false positives: by hand."""
    classes = Classes(names=('road', 'car'))
    label, prediction = np.zeros((6, 10), np.uint8), np.zeros((6, 10), np.uint8)
    instances = np.zeros((6, 10), np.int32)
    label[0, :4], instances[0, :4], prediction[0, :2] = 1, 26001, 1
    label[2:4, :6], instances[2:4, :6], prediction[2:4, :6] = 1, 26002, 1
    prediction[5, :5] = 1
    label[5, 9], instances[5, 9] = 1, 26  # a group: no instance, its pixel is a hit or miss of none
    scores = Accumulator(classes=classes, ignore_label=255, label_ids=(7, 26), num_samples=0)
    scores.add('a', label, prediction, instance_ids=instances)
    average = (4 + 12) / 2
    hits, misses = average * (2 / 4 + 12 / 12), average * (2 / 4)
    summary = scores.summary()
    assert summary['class_instance_iou'] == {'road': None, 'car': pytest.approx(hits / (hits + misses + 5))}
    assert summary['category_instance_iou'] is None


def test_one_record_without_instances_leaves_them_out_and_says_so():
    scores = Accumulator(classes=Classes(names=('road', 'car')), ignore_label=255, num_samples=100)
    label, instances = np.ones((2, 2), np.uint8), np.full((2, 2), 1001)
    scores.add('a', label, label, instance_ids=instances)
    assert scores.summary()['mean_instance_iou'] == 1
    scores.add('b', label, label)
    summary = scores.summary()
    assert summary['mean_instance_iou'] is None and summary['class_instance_iou'] is None
    assert 'no instance IoU: 1 of 2 records hold no instance ids' in summary['notes']
