"""Smoothing, explosion and suggestion of a sweep, on curves whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from core.learning_rate_range import SmoothedLoss, suggest

RATES = np.geomspace(1e-6, 1.0, 121)


def smooth(losses, smoothing):
    smoothed = SmoothedLoss(smoothing)
    for loss in losses:
        smoothed.add(loss)
    return smoothed


def test_smoothing_by_hand():
    assert smooth([4.0, 1.0], 0.5).values == pytest.approx([4.0, (0.25 * 4 + 0.5 * 1) / 0.75])
    assert smooth([4.0, 1.0, 2.0], 0.0).values == [4.0, 1.0, 2.0]


def test_a_constant_loss_stays_what_it_is():
    assert smooth([3.0] * 50, 0.98).values == pytest.approx([3.0] * 50)


@pytest.mark.parametrize(('losses', 'expected'), [([1.0, 4.0], False), ([1.0, 4.1], True), ([1.0, float('nan')], True)])
def test_explosion(losses, expected):
    assert smooth(losses, 0.0).has_exploded() is expected


def test_a_valley():
    """A sigmoid that falls fastest at 1e-4, has its floor, and rises from 1e-2 on."""
    x = np.log10(RATES)
    losses = 1 / (1 + np.exp(4 * (x + 4))) + np.maximum(x + 2, 0) ** 2
    found = suggest(RATES, losses)
    assert found is not None
    assert found.steepest == pytest.approx(1e-4, rel=0.15)
    assert found.minimum == pytest.approx(1e-2, rel=0.3)
    assert found.tenth_of_minimum == found.minimum / 10
    assert found.range == (found.steepest, found.tenth_of_minimum)


def test_the_end_and_the_beginning_are_left_out():
    """The steepest falls of all lie in the first tenth and among the last 5."""
    losses = np.linspace(2, 1, 121)
    losses[:3] += [50, 20, 0]
    losses[-3:] -= [5, 10, 20]
    found = suggest(RATES, losses)
    assert found is not None and RATES[12] <= found.steepest < RATES[-5] and found.minimum == RATES[-6]


@pytest.mark.parametrize('losses', [np.linspace(1, 2, 121), np.ones(121), np.full(121, np.nan)])
def test_a_loss_that_never_falls_suggests_nothing(losses):
    assert suggest(RATES, losses) is None


def test_too_few_steps_suggest_nothing():
    assert suggest(RATES[:9], np.linspace(2, 1, 9)) is None
