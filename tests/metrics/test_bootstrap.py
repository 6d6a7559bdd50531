"""Draws against the Poisson distribution, intervals against a plain bootstrap, coverage against known truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from core.errors import DataError
from metrics import segmentation
from metrics.accumulator import Accumulator
from metrics.bootstrap import Bootstrap, interval, poisson_draws
from metrics.scores import Classes, scores

NAMES = ('road', 'car', 'person')
CLASSES = Classes(names=NAMES)


GOLDEN = [3, 0, 4, 2, 2, 0, 2, 0, 1, 0, 1, 0]


def test_draws_are_poisson_and_independent_of_each_other():
    draws = np.stack([poisson_draws(f'street_{i}.png', num_samples=3000, seed=4) for i in range(200)])
    observed = np.bincount(draws.ravel(), minlength=7)
    expected = draws.size * np.append(stats.poisson.pmf(np.arange(6), 1), stats.poisson.sf(5, 1))
    observed = np.append(observed[:6], observed[6:].sum())
    assert stats.chisquare(observed, expected).pvalue > 0.001
    correlation = np.corrcoef(draws)
    assert np.abs(correlation[~np.eye(200, dtype=bool)]).max() < 6 / np.sqrt(3000)


def test_draws_depend_on_seed_and_name_alone_and_never_change():
    first = poisson_draws('a.png', num_samples=12, seed=0)
    assert first.tolist() == GOLDEN
    np.testing.assert_array_equal(poisson_draws('a.png', num_samples=12, seed=0), first)
    assert poisson_draws('a.png', num_samples=12, seed=1).tolist() != GOLDEN
    assert poisson_draws('b.png', num_samples=12, seed=0).tolist() != GOLDEN
    assert len(poisson_draws('a.png', num_samples=7, seed=0)) == 7


def test_sums_are_the_weighted_sums():
    bootstrap, rows = Bootstrap(num_samples=50, seed=3), np.random.default_rng(0).integers(0, 1000, (150, 5))
    for i, row in enumerate(rows):
        bootstrap.add(str(i), {'a': row[:2], 'b': row[2:]})
    draws = np.stack([poisson_draws(str(i), num_samples=50, seed=3) for i in range(150)], 1)
    np.testing.assert_array_equal(bootstrap.sums()['a'], draws @ rows[:, :2])
    np.testing.assert_array_equal(bootstrap.sums()['b'], draws @ rows[:, 2:])


def test_the_interval_is_that_of_a_bootstrap_with_replacement():
    rng = np.random.default_rng(5)
    columns = _images(rng, 200)
    bootstrap = Bootstrap(num_samples=4000, seed=0)
    for i in range(200):
        bootstrap.add(str(i), {name: values[i] for name, values in columns.items()})
    ours = interval(scores(bootstrap.sums(), CLASSES)['mean_iou'], num_units=200)
    draws = rng.multinomial(200, np.full(200, 1 / 200), 4000)
    plain = scores({name: draws @ values for name, values in columns.items()}, CLASSES)['mean_iou']
    theirs = np.quantile(plain, [0.025, 0.975])
    assert np.abs(ours - theirs).max() < 0.05 * (theirs[1] - theirs[0])


def test_undefined_resamples_do_not_count():
    samples = np.array([[np.nan, np.nan], [0.5, np.nan], [0.7, np.nan], [0.6, np.nan]])
    ends = interval(samples, num_units=30)
    assert ends[0, 0] == pytest.approx(0.5, abs=0.01) and ends[1, 0] == pytest.approx(0.7, abs=0.01)
    assert np.isnan(ends[:, 1]).all()
    with pytest.raises(ValueError, match='2 units or more, got 1'):
        interval(samples, num_units=1)


def test_few_units_have_wider_intervals():
    samples = np.random.default_rng(0).normal(size=20_000)
    widths = [np.diff(interval(samples, num_units=n)).item() for n in (5, 20, 10_000)]
    assert widths[0] > widths[1] > widths[2] == pytest.approx(2 * 1.96, abs=0.1)


def _images(rng: np.random.Generator, *shape: int, spread: float = 0.0) -> dict[str, np.ndarray]:
    """Columns [*shape, 3] of images in which what is not recalled is predicted as the next class.

    Args:
      spread: of a difficulty that all images along the last axis of `shape` share.
    """
    sizes = np.exp(rng.normal(0, [0.3, 0.5, 0.6], (*shape, 3))) * [60, 25, 15]
    logit = rng.normal([2.5, 1.5, 0.8], 0.7, (*shape, 3)) + rng.normal(0, 0.6, (*shape, 1))
    logit = logit + spread * rng.normal(size=(*shape[:-1], 1, 1))
    labels = np.round(sizes * 100)
    hits = np.round(labels / (1 + np.exp(-logit)))
    return {'hits': hits, 'labels': labels, 'predictions': hits + np.roll(labels - hits, 1, -1)}


def _truth(**options) -> dict[str, np.ndarray]:
    columns = _images(np.random.default_rng(1), 20_000, 20, **options)
    return scores({name: values.sum((0, 1)) for name, values in columns.items()}, CLASSES)


def _coverage(num_trials: int, num_units: int, per_unit: int, *, grouped: bool, spread: float) -> dict[str, np.ndarray]:
    """Share of intervals that hold the true score, by score.

    Trials take turns at twenty seeds, whose draws are made once: the images of each trial are new.
    """
    rng, truth, num_samples = np.random.default_rng(2), _truth(spread=spread), 1000
    units = [f'{unit}' if grouped else f'{unit}/{image}' for unit in range(num_units) for image in range(per_unit)]
    draws = [
        np.stack([poisson_draws(unit, num_samples=num_samples, seed=seed) for unit in units], 1).astype(float)
        for seed in range(20)
    ]
    covered = {name: np.zeros_like(truth[name]) for name in _COVERED}
    for trial in range(num_trials):
        columns = _images(rng, num_units, per_unit, spread=spread)
        sums = {name: draws[trial % 20] @ values.reshape(-1, 3) for name, values in columns.items()}
        resampled = scores(sums, CLASSES)
        for name in _COVERED:
            low, high = interval(resampled[name], num_units=len(set(units)))
            covered[name] += (low <= truth[name]) & (truth[name] <= high)
    return {name: values / num_trials for name, values in covered.items()}


_COVERED = ('mean_iou', 'pixel_accuracy', 'class_iou', 'kappa', 'mean_f1')


def _assert_within(coverage: dict[str, np.ndarray], low: float, high: float) -> None:
    for name, share in coverage.items():
        assert ((share >= low) & (share <= high)).all(), (name, share)


def test_intervals_over_images_hold_the_truth_95_times_of_100():
    _assert_within(_coverage(400, 150, 1, grouped=False, spread=0), 0.91, 0.985)


def test_intervals_over_groups_hold_the_truth_where_those_over_images_do_not():
    _assert_within(_coverage(300, 40, 5, grouped=True, spread=0.8), 0.91, 0.985)
    by_image = _coverage(100, 40, 5, grouped=False, spread=0.8)
    assert by_image['mean_iou'] < 0.85


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say_in_thousands_of_trials():
    _assert_within(_coverage(2000, 150, 1, grouped=False, spread=0), 0.93, 0.97)
    _assert_within(_coverage(1500, 40, 5, grouped=True, spread=0.8), 0.93, 0.97)


def _accumulated(order, **options):
    scores_ = Accumulator(classes=CLASSES, ignore_label=255, num_samples=200, **options)
    for i in order:
        rng = np.random.default_rng(i)
        label = rng.integers(0, 3, (9, 13), np.uint8)
        prediction = np.where(rng.random((9, 13)) < 0.3, rng.integers(0, 3, (9, 13)), label)
        scores_.add(f'city{i % 4}_{i}.png', label, prediction)
    return scores_.summary()


def test_intervals_do_not_depend_on_the_order_and_hold_the_score():
    forward, backward = _accumulated(range(20)), _accumulated(reversed(range(20)))
    assert forward['intervals'] == backward['intervals']
    assert forward['intervals'] != _accumulated(range(20), seed=1)['intervals']
    low, high = forward['intervals']['mean_iou']
    assert low < forward['mean_iou'] < high
    assert json.loads(json.dumps(forward['intervals'])) == forward['intervals']
    assert (forward['intervals']['unit'], forward['intervals']['num_units']) == ('image', 20)


def test_images_of_one_group_are_resampled_together():
    grouped = _accumulated(range(20), group_pattern='^(city[0-9])_')['intervals']
    assert (grouped['unit'], grouped['num_units']) == ('group', 4)
    by_hand = Bootstrap(num_samples=200, seed=0)
    for group in range(4):
        parts = [_accumulated([i])['confusion_matrix'] for i in range(20) if i % 4 == group]
        counts = np.sum(parts, 0)
        by_hand.add(f'city{group}', {'hits': np.diag(counts), 'labels': counts.sum(1), 'predictions': counts.sum(0)})
    expected = interval(scores(by_hand.sums(), CLASSES)['mean_iou'], num_units=4)
    assert grouped['mean_iou'] == pytest.approx(expected)


def test_one_image_or_one_group_has_no_interval():
    assert _accumulated([1])['intervals'] is None
    one_group = _accumulated(range(8), group_pattern='city')
    assert one_group['intervals'] is None
    assert 'no intervals: eval_config.group_pattern gives 1 group, 2 are needed' in one_group['notes']
    assert '95 %' not in segmentation.table(one_group)


def test_a_name_without_a_group_is_named():
    with pytest.raises(
        DataError, match=r"^city0_0\.png: eval_config\.group_pattern, 'town', is not found in this name"
    ):
        _accumulated([0], group_pattern='town')


def test_a_class_that_is_absent_has_no_interval():
    scores_ = Accumulator(classes=CLASSES, ignore_label=255, num_samples=100)
    for i in range(5):
        scores_.add(str(i), np.array([[0, 1, 1]]), np.array([[0, 1, i % 3]]))
    intervals = scores_.summary()['intervals']
    assert intervals['class_iou']['person'] is None and intervals['class_iou']['car'][0] < 1
