"""Learning rates against NumPy formulas and TensorFlow 1's functions."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from core import schedules

STEPS = [0, 1, 7, 49, 50, 99, 100, 101, 250]
EXPONENTIAL = {'initial_learning_rate': 0.1, 'decay_steps': 50, 'decay_factor': 0.5}


def values(schedule):
    return np.array([schedule(step).numpy() for step in STEPS])


def test_constant():
    np.testing.assert_array_equal(values(schedules.constant(learning_rate=0.02)), np.float32(0.02))


@pytest.mark.parametrize('staircase', [True, False])
def test_exponential_decay(staircase):
    schedule = schedules.exponential_decay(**EXPONENTIAL, staircase=staircase)
    quotient = np.array(STEPS) / 50
    expected = 0.1 * 0.5 ** (np.floor(quotient) if staircase else quotient)
    np.testing.assert_allclose(values(schedule), expected, rtol=1e-6)
    for step in STEPS:
        theirs = tf.compat.v1.train.exponential_decay(0.1, step, 50, 0.5, staircase=staircase)
        np.testing.assert_allclose(schedule(step), theirs(), rtol=1e-6)


@pytest.mark.parametrize('end', [0.0, 0.01])
def test_polynomial_decay(end):
    schedule = schedules.polynomial_decay(initial_learning_rate=0.1, decay_steps=100, power=0.9, end_learning_rate=end)
    expected = end + (0.1 - end) * (1 - np.minimum(STEPS, 100) / 100) ** 0.9
    np.testing.assert_allclose(values(schedule), expected, rtol=1e-5, atol=1e-9)
    for step in STEPS:
        theirs = tf.compat.v1.train.polynomial_decay(0.1, step, 100, end_learning_rate=end, power=0.9)
        np.testing.assert_allclose(schedule(step), theirs(), rtol=1e-5, atol=1e-9)


def test_cosine_decay():
    schedule = schedules.cosine_decay(initial_learning_rate=0.1, decay_steps=100, final_learning_rate=0.02)
    expected = 0.02 + 0.08 * (1 + np.cos(np.pi * np.minimum(STEPS, 100) / 100)) / 2
    np.testing.assert_allclose(values(schedule), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ('period_factor', 'height_factor', 'final'), [(2.0, 1.0, 0.0), (1.0, 0.5, 0.02), (1.5, 0.8, 0.0)]
)
def test_cosine_restarts(period_factor, height_factor, final):
    schedule = schedules.cosine_restarts(
        initial_learning_rate=0.1,
        first_period_steps=20,
        period_factor=period_factor,
        height_factor=height_factor,
        final_learning_rate=final,
    )
    theirs = tf.keras.optimizers.schedules.CosineDecayRestarts
    for step in [*STEPS, 19, 21, 59, 61, 139]:
        start, length, height = 0.0, 20.0, 1.0
        while step >= start + length:
            start, length, height = start + length, length * period_factor, height * height_factor
        expected = final + (0.1 - final) * height * (1 + np.cos(np.pi * (step - start) / length)) / 2
        np.testing.assert_allclose(schedule(step), expected, rtol=1e-4, atol=1e-7)
        if final == 0:
            np.testing.assert_allclose(schedule(step), theirs(0.1, 20, period_factor, height_factor)(step), rtol=1e-4)


@pytest.mark.parametrize('length', [3, 7, 10, 48, 1000])
def test_every_restart_is_at_full_height(length):
    schedule = schedules.cosine_restarts(initial_learning_rate=0.1, first_period_steps=length)
    for period in range(12):
        assert float(schedule(length * (2**period - 1))) == pytest.approx(0.1, rel=1e-5)


def test_piecewise_constant():
    schedule = schedules.piecewise_constant(boundaries=[7, 100], learning_rates=[0.1, 0.02, 0.003])
    expected = [0.1 if step <= 7 else 0.02 if step <= 100 else 0.003 for step in STEPS]
    np.testing.assert_allclose(values(schedule), expected, rtol=1e-6)
    for step in STEPS:
        theirs = tf.compat.v1.train.piecewise_constant(step, [7, 100], [0.1, 0.02, 0.003])
        np.testing.assert_allclose(schedule(step), theirs(), rtol=1e-6)


@pytest.mark.parametrize('height_factor', [1.0, 0.5])
def test_cyclic(height_factor):
    """Smith's own formula, arXiv:1506.01186, section 3.1: cycle counts from 1, x is the distance from its middle."""
    schedule = schedules.cyclic(
        base_learning_rate=0.01, max_learning_rate=0.1, half_cycle_steps=50, height_factor=height_factor
    )
    steps = np.array(STEPS)
    cycle = np.floor(1 + steps / 100)
    x = np.abs(steps / 50 - 2 * cycle + 1)
    expected = 0.01 + 0.09 * np.maximum(0, 1 - x) * height_factor ** (cycle - 1)
    np.testing.assert_allclose(values(schedule), expected, rtol=1e-5)
    assert float(schedule(50)) == pytest.approx(0.1) and float(schedule(100)) == pytest.approx(0.01)


def test_one_cycle():
    schedule = schedules.one_cycle(
        max_learning_rate=0.1, total_steps=100, rising_share=0.25, initial_divisor=10, final_divisor=100
    )

    def expected(step):
        if step <= 25:
            return 0.01 + 0.09 * (1 - np.cos(np.pi * step / 25)) / 2
        return 1e-4 + (0.1 - 1e-4) * (1 + np.cos(np.pi * (min(step, 100) - 25) / 75)) / 2

    for step in [*STEPS, 24, 25, 26]:
        np.testing.assert_allclose(schedule(step), expected(step), rtol=1e-4)


def test_exponential_sweep():
    schedule = schedules.exponential_sweep(first_learning_rate=1e-6, last_learning_rate=10.0, num_steps=8)
    np.testing.assert_allclose([schedule(step) for step in range(8)], 10.0 ** np.arange(-6, 2), rtol=1e-4)


def test_warmup_multiplies_and_does_not_shift():
    inner = schedules.polynomial_decay(initial_learning_rate=0.1, decay_steps=200, power=1.0)
    schedule = schedules.with_warmup(inner, num_steps=100, initial_factor=0.1)
    factor = 0.1 + 0.9 * np.minimum(np.array(STEPS) / 100, 1)
    np.testing.assert_allclose(values(schedule), values(inner) * factor, rtol=1e-6)


def test_no_warmup_is_the_schedule_itself():
    inner = schedules.constant(learning_rate=1.0)
    assert schedules.with_warmup(inner, num_steps=0, initial_factor=0.5) is inner


def test_works_on_a_step_variable_in_a_graph():
    schedule = schedules.cosine_decay(initial_learning_rate=1.0, decay_steps=10)
    step = tf.Variable(5, dtype=tf.int64)
    rate = tf.function(lambda: schedule(step), autograph=False)()
    assert rate.dtype == tf.float32
    np.testing.assert_allclose(rate, 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: schedules.constant(learning_rate=0), 'learning_rate must be above 0, got 0'),
        (
            lambda: schedules.exponential_decay(**{**EXPONENTIAL, 'decay_steps': 0}, staircase=True),
            'decay_steps must be 1 or more, got 0',
        ),
        (
            lambda: schedules.exponential_decay(**{**EXPONENTIAL, 'decay_factor': 1.5}, staircase=True),
            'decay_factor must be above 0 and at most 1, got 1.5',
        ),
        (
            lambda: schedules.polynomial_decay(initial_learning_rate=0.1, decay_steps=9, power=0),
            'power must be above 0, got 0',
        ),
        (
            lambda: schedules.cosine_decay(initial_learning_rate=0.1, decay_steps=9, final_learning_rate=0.2),
            'must be in \\[0, 0.1\\]',
        ),
        (
            lambda: schedules.cosine_restarts(initial_learning_rate=0.1, first_period_steps=9, period_factor=0.5),
            'period_factor must be 1 or more',
        ),
        (
            lambda: schedules.piecewise_constant(boundaries=[5, 5], learning_rates=[1, 2, 3]),
            'boundaries must be one or more ascending steps',
        ),
        (lambda: schedules.piecewise_constant(boundaries=[5], learning_rates=[1]), 'need one rate more, got 1'),
        (
            lambda: schedules.cyclic(base_learning_rate=0.2, max_learning_rate=0.1, half_cycle_steps=5),
            'max_learning_rate must be 0.2 or more',
        ),
        (
            lambda: schedules.one_cycle(max_learning_rate=1, total_steps=9, rising_share=1),
            'rising_share must be between 0 and 1',
        ),
        (lambda: schedules.one_cycle(max_learning_rate=1, total_steps=0), 'total_steps must be 1 or more'),
        (
            lambda: schedules.exponential_sweep(first_learning_rate=1, last_learning_rate=2, num_steps=1),
            'num_steps must be 2 or more',
        ),
        (
            lambda: schedules.with_warmup(lambda step: tf.constant(1.0), num_steps=5, initial_factor=2),
            'initial_factor must be in \\[0, 1\\], got 2',
        ),
    ],
)
def test_nonsense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
