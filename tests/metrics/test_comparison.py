"""Paired differences: against the definition, and that pairing is what makes them sharp."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from metrics import comparison
from metrics.accumulator import Accumulator
from metrics.bootstrap import interval, poisson_draws
from metrics.scores import Classes, scores

CLASSES = Classes(names=('road', 'car', 'bus'), categories=('flat', 'vehicle', 'vehicle'))


def _records(error: float, *, num_images: int = 60, group_pattern: str = '') -> list[dict]:
    """Of one network on seeded images; `error` is the share of wrong pixels that it has more than hard images bring."""
    scores_ = Accumulator(classes=CLASSES, ignore_label=255, num_samples=0, group_pattern=group_pattern)
    found = []
    for i in range(num_images):
        rng = np.random.default_rng(i)
        label = rng.integers(0, 3, (12, 15), np.uint8)
        wrong = rng.random(label.shape) < rng.beta(1, 3) + error
        prediction = np.where(wrong, (label + 1) % 3, label)
        found.append(scores_.add(f'city{i % 5}_{i}.png', label, prediction))
    return found


def _compare(a: list[dict], b: list[dict]) -> dict:
    pairs = comparison.Comparison(classes=CLASSES, num_samples=400, seed=0)
    for one, other in zip(a, b, strict=True):
        pairs.add(one, other)
    return pairs.summary()


def test_differences_are_of_resamples_in_common():
    a, b = _records(0.05), _records(0.0)
    summary = _compare(a, b)
    draws = np.stack([poisson_draws(one['filename'], num_samples=400, seed=0) for one in a], 1)
    names = ('hits', 'labels', 'predictions')
    columns = [{name: np.array([one[name] for one in side]) for name in names} for side in (a, b)]
    whole = [scores({name: values.sum(0) for name, values in side.items()}, CLASSES) for side in columns]
    resampled = [scores({name: draws @ values for name, values in side.items()}, CLASSES) for side in columns]
    for key in ('mean_iou', 'pixel_accuracy'):
        assert summary[key]['difference'] == pytest.approx(float(whole[1][key] - whole[0][key]))
        ends = interval(resampled[1][key] - resampled[0][key], num_units=60)
        assert summary[key]['interval'] == pytest.approx(ends)
    ends = interval(resampled[1]['class_iou'] - resampled[0]['class_iou'], num_units=60)
    assert summary['class_iou']['bus']['interval'] == pytest.approx(ends[:, 2])
    assert set(summary['category_iou']) == {'flat', 'vehicle'}
    unpaired = interval(resampled[0]['mean_iou'], num_units=60)
    assert np.diff(summary['mean_iou']['interval']) < 0.5 * np.diff(unpaired)
    assert summary['mean_iou']['interval'][0] > 0 and summary['mean_iou']['share_b_better'] == 1


def test_the_sign_test_is_exact():
    a, b = _records(0.01), _records(0.0)
    b[0]['mean_iou'] = a[0]['mean_iou']
    signs = _compare(a, b)['sign_test']
    differ = [(x['mean_iou'], y['mean_iou']) for x, y in zip(a, b, strict=True) if x['mean_iou'] != y['mean_iou']]
    better = sum(y > x for x, y in differ)
    assert (signs['b_better'], signs['a_better']) == (better, len(differ) - better)
    assert signs['equal'] == 60 - len(differ) >= 1
    assert signs['p_value'] == stats.binomtest(better, len(differ)).pvalue


def test_an_evaluation_against_itself_differs_by_nothing():
    summary = _compare(_records(0.1), _records(0.1))
    assert summary['mean_iou']['difference'] == 0 and summary['mean_iou']['interval'] == [0, 0]
    assert summary['sign_test']['p_value'] == 1 and summary['most_changed'] == []
    assert '*' not in comparison.table(summary).split('paired')[0]


def test_the_interval_of_equal_networks_holds_zero_19_times_of_20():
    """Two networks whose errors come from the same distribution: 95 of 100 intervals hold 0, within 3 deviations."""
    rng, num_trials, held = np.random.default_rng(0), 600, 0
    draws = np.stack([poisson_draws(str(i), num_samples=500, seed=0) for i in range(80)], 1).astype(float)
    for _ in range(num_trials):
        labels = rng.integers(200, 2000, (80, 3))
        share = rng.beta(4, 2, (80, 1))
        sides = []
        for _ in range(2):
            hits = rng.binomial(labels, np.clip(share + rng.normal(0, 0.05, (80, 3)), 0, 1))
            columns = {'hits': hits, 'labels': labels, 'predictions': hits + np.roll(labels - hits, 1, 1)}
            sides.append(scores({name: draws @ values for name, values in columns.items()}, CLASSES)['mean_iou'])
        low, high = interval(sides[1] - sides[0], num_units=80)
        held += low <= 0 <= high
    assert 0.923 <= held / num_trials <= 0.977


def test_groups_are_resampled_together():
    a, b = (_records(error, group_pattern='city[0-9]') for error in (0.05, 0.0))
    summary = _compare(a, b)
    assert (summary['unit'], summary['num_units']) == ('group', 5)


def test_the_table_has_every_class_and_the_means():
    text = comparison.table(_compare(_records(0.05), _records(0.0)))
    for word in ('road', 'car', 'bus', 'mean IoU', 'category IoU', 'boundary IoU', 'pixel accuracy'):
        assert any(line.startswith(word) and line.endswith('*') for line in text.splitlines()), word
