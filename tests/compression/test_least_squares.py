"""Moments added up batch by batch against numpy on all rows at once."""

from __future__ import annotations

import numpy as np
import pytest

from compression.least_squares import NormalEquations


def added(inputs: np.ndarray, targets: np.ndarray, *, batches: int = 3) -> NormalEquations:
    equations = NormalEquations()
    for x, y in zip(np.array_split(inputs, batches), np.array_split(targets, batches), strict=True):
        equations.add(x, y)
    return equations


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    inputs = rng.normal(5, 2, (301, 4))
    return inputs, inputs @ rng.normal(size=(4, 3)) + rng.normal(7, 0.5, (301, 3))


def test_without_ridge_it_is_the_least_squares_fit(rows):
    inputs, targets = rows
    with_ones = np.column_stack([inputs, np.ones(len(inputs))])
    wanted = np.linalg.lstsq(with_ones, targets, rcond=None)[0]
    found = added(inputs, targets).solve(np.zeros((4, 3)), ridge=0.0, intercept=True)
    np.testing.assert_allclose(np.vstack([found.weights, found.intercept]), wanted, rtol=1e-9, atol=1e-9)
    residual = targets - with_ones @ wanted
    assert found.error == pytest.approx(np.square(residual).sum() / np.square(targets - targets.mean(0)).sum())
    np.testing.assert_allclose(found.mean, (inputs @ found.weights).mean(0))
    np.testing.assert_allclose(found.variance, (inputs @ found.weights).var(0))


def test_without_a_constant_nothing_is_centred(rows):
    inputs, targets = rows
    found = added(inputs, targets).solve(np.ones((4, 3)), ridge=0.0, intercept=False)
    np.testing.assert_allclose(found.weights, np.linalg.lstsq(inputs, targets, rcond=None)[0], rtol=1e-8, atol=1e-9)
    assert not found.intercept.any()
    wanted = np.square(targets - inputs @ found.weights).sum() / np.square(targets - targets.mean(0)).sum()
    assert found.error == pytest.approx(wanted)


def test_a_ridge_pulls_to_the_prior_as_more_rows_would(rows):
    inputs, targets = rows
    prior = np.arange(12.0).reshape(4, 3)
    centred, wanted = inputs - inputs.mean(0), targets - targets.mean(0)
    weight = np.sqrt(0.3 * centred.var(0).mean() * len(inputs))
    more = np.vstack([centred, weight * np.eye(4)]), np.vstack([wanted, weight * prior])
    found = added(inputs, targets).solve(prior, ridge=0.3, intercept=True)
    np.testing.assert_allclose(found.weights, np.linalg.lstsq(*more, rcond=None)[0], rtol=1e-9)
    far = added(inputs, targets).solve(prior, ridge=1e9, intercept=True)
    np.testing.assert_allclose(far.weights, prior, rtol=1e-6, atol=1e-6)
    assert far.prior_error == pytest.approx(far.error, rel=1e-6)


def test_float32_rows_far_from_zero_lose_no_digits():
    rng = np.random.default_rng(2)
    inputs = (1000 + rng.normal(size=(4000, 3))).astype(np.float32)
    weights = rng.normal(size=(3, 2)).astype(np.float32)
    centred = inputs - np.float32(1000)
    found = added(inputs, centred @ weights).solve(np.zeros((3, 2)), ridge=0.0, intercept=True)
    np.testing.assert_allclose(found.weights, weights, atol=1e-4)


def test_inputs_that_never_change_keep_the_prior():
    inputs = np.column_stack([np.zeros(50), np.linspace(0, 1, 50)])
    for ridge in (0.0, 1e-3):
        found = added(inputs, 2 * inputs[:, 1:]).solve(np.array([[5.0], [1.0]]), ridge=ridge, intercept=True)
        assert found.weights[0, 0] == pytest.approx(5.0)
        assert found.weights[1, 0] == pytest.approx(2.0, abs=1e-2)
    still = added(np.ones((9, 1)), np.ones((9, 1))).solve(np.ones((1, 1)), ridge=1e-3, intercept=True)
    assert still.error == 0.0 and still.weights[0, 0] == 1.0
