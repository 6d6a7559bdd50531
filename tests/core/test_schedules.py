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
            lambda: schedules.with_warmup(lambda step: tf.constant(1.0), num_steps=5, initial_factor=2),
            'initial_factor must be in \\[0, 1\\], got 2',
        ),
    ],
)
def test_nonsense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
