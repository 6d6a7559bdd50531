"""Update rules against NumPy and TensorFlow 1's optimisers."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from core import optimizers, schedules

GRADIENTS = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
START = np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32)


def rate(value=0.1):
    return schedules.constant(learning_rate=value)


def run(optimizer, start=START, gradients=GRADIENTS):
    variable = tf.Variable(start)
    slots = [tf.Variable(tf.zeros_like(start)) for _ in optimizer.slot_names]
    for step, gradient in enumerate(gradients):
        optimizer.update(variable, tf.constant(gradient), slots, optimizer.scalars(step))
    return variable.numpy()


def run_v1(make):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = tf.compat.v1.get_variable('w', initializer=START, use_resource=True)
        gradient = tf.compat.v1.placeholder(tf.float32, START.shape)
        apply = make().apply_gradients([(gradient, variable)])
        session.run(tf.compat.v1.global_variables_initializer())
        for value in GRADIENTS:
            session.run(apply, {gradient: value})
        return session.run(variable)


@pytest.mark.parametrize('nesterov', [False, True])
def test_momentum_is_tensorflow_1s(nesterov):
    ours = run(optimizers.Momentum(learning_rate=rate(), momentum=0.9, use_nesterov=nesterov))
    theirs = run_v1(lambda: tf.compat.v1.train.MomentumOptimizer(0.1, 0.9, use_nesterov=nesterov))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_momentum_by_hand():
    accumulator, expected = np.zeros_like(START), START.copy()
    for gradient in GRADIENTS:
        accumulator = 0.9 * accumulator + gradient
        expected -= 0.1 * accumulator
    ours = run(optimizers.Momentum(learning_rate=rate(), momentum=0.9))
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_the_learning_rate_is_outside_the_accumulator():
    """After the rate drops, old gradients count by the new rate: not so in Keras' SGD."""
    falling = schedules.exponential_decay(initial_learning_rate=1.0, decay_steps=1, decay_factor=0.1, staircase=True)
    ours = run(
        optimizers.Momentum(learning_rate=falling, momentum=0.5), np.zeros(1, np.float32), np.ones((2, 1), np.float32)
    )
    np.testing.assert_allclose(ours, [-(1.0 * 1 + 0.1 * 1.5)], rtol=1e-6)


def test_adam_is_tensorflow_1s():
    ours = run(optimizers.Adam(learning_rate=rate(0.01), epsilon=1e-3))
    theirs = run_v1(lambda: tf.compat.v1.train.AdamOptimizer(0.01, epsilon=1e-3))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_adamw_decays_kernels_beside_the_gradient():
    adamw = optimizers.AdamW(learning_rate=rate(0.01), weight_decay=0.1)
    m, v, expected = 0.0, 0.0, START.astype(np.float64)
    for t, gradient in enumerate(GRADIENTS.astype(np.float64), start=1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        scale = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        expected = expected * (1 - 0.01 * 0.1) - scale * m / (np.sqrt(v) + 1e-8)
    np.testing.assert_allclose(run(adamw), expected, rtol=1e-4)


def test_adamw_leaves_biases_and_batch_norm_alone():
    vector, gradients = START[0], np.zeros((3, 3), np.float32)
    adamw = optimizers.AdamW(learning_rate=rate(), weight_decay=0.1)
    np.testing.assert_array_equal(run(adamw, vector, gradients), vector)


def test_clipping_scales_all_gradients_together():
    optimizer = optimizers.Momentum(learning_rate=rate(), momentum=0.9, clipping_norm=1.0)
    clipped, norm = optimizer.clip([tf.constant([3.0]), tf.constant([[4.0]])])
    assert float(norm) == 5.0
    np.testing.assert_allclose([float(clipped[0][0]), float(clipped[1][0, 0])], [0.6, 0.8], rtol=1e-6)


def test_no_clipping_without_a_norm():
    gradients = [tf.constant([3.0])]
    clipped, norm = optimizers.Momentum(learning_rate=rate(), momentum=0.9).clip(gradients)
    assert float(clipped[0][0]) == 3.0 and float(norm) == 3.0


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: optimizers.Momentum(learning_rate=rate(), momentum=1.0), 'momentum must be in'),
        (lambda: optimizers.Momentum(learning_rate=rate(), momentum=0.9, clipping_norm=-1), 'clipping_norm must be'),
        (lambda: optimizers.Adam(learning_rate=rate(), beta_2=1.0), 'beta_2 must be in'),
        (lambda: optimizers.Adam(learning_rate=rate(), epsilon=0), 'epsilon must be above 0'),
        (lambda: optimizers.AdamW(learning_rate=rate(), weight_decay=-1), 'weight_decay must be 0 or more'),
    ],
)
def test_nonsense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
