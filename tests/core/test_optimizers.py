"""Update rules against NumPy and TensorFlow 1's optimisers."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from core import adaptive_optimizers, optimizers, schedules
from core.weight_averages import WithMovingAverage

GRADIENTS = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
START = np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32)


def rate(value=0.1):
    return schedules.constant(learning_rate=value)


def run(optimizer, start=START, gradients=GRADIENTS):
    variable = tf.Variable(start)
    slots = [tf.Variable(optimizer.first_slot_value(name, variable)) for name in optimizer.slot_names]
    for step, gradient in enumerate(gradients):
        optimizer.update(variable, tf.constant(gradient), slots, optimizer.scalars(step))
    return variable.numpy()


def rmsprop(**changes):
    arguments = {'decay': 0.8, 'momentum': 0.6, 'epsilon': 1e-3, **changes}
    return adaptive_optimizers.RMSProp(learning_rate=rate(0.05), **arguments)


def ftrl(**changes):
    arguments = {'power': -0.5, 'initial_accumulator': 0.2, 'l1': 0.0, 'l2': 0.0, **changes}
    return adaptive_optimizers.Ftrl(learning_rate=rate(0.05), **arguments)


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


_V1 = tf.compat.v1.train
TENSORFLOW_1S = {
    'rmsprop': (rmsprop(), lambda: _V1.RMSPropOptimizer(0.05, 0.8, 0.6, 1e-3)),
    'rmsprop, centered': (rmsprop(centered=True), lambda: _V1.RMSPropOptimizer(0.05, 0.8, 0.6, 1e-3, centered=True)),
    'adagrad': (
        adaptive_optimizers.Adagrad(learning_rate=rate(), initial_accumulator=0.3),
        lambda: _V1.AdagradOptimizer(0.1, 0.3),
    ),
    'adadelta': (
        adaptive_optimizers.Adadelta(learning_rate=rate(1.0), rho=0.9, epsilon=1e-2),
        lambda: _V1.AdadeltaOptimizer(1.0, 0.9, 1e-2),
    ),
    'ftrl': (ftrl(), lambda: _V1.FtrlOptimizer(0.05, initial_accumulator_value=0.2)),
    'ftrl, regularised': (
        ftrl(power=-0.3, l1=0.5, l2=0.1),
        lambda: _V1.FtrlOptimizer(0.05, -0.3, 0.2, l1_regularization_strength=0.5, l2_regularization_strength=0.1),
    ),
}


@pytest.mark.parametrize('name', TENSORFLOW_1S)
def test_it_is_tensorflow_1s(name):
    ours, theirs = TENSORFLOW_1S[name]
    np.testing.assert_allclose(run(ours), run_v1(theirs), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize('name', TENSORFLOW_1S)
def test_slots_are_called_as_tensorflow_1s(name):
    """So that its checkpoints can be resumed."""
    ours, theirs = TENSORFLOW_1S[name]
    with tf.Graph().as_default():
        variable = tf.compat.v1.get_variable('w', initializer=START, use_resource=True)
        theirs().apply_gradients([(tf.constant(START), variable)])
        created = [v.op.name for v in tf.compat.v1.global_variables()]
    assert created == ['w', *(f'w/{slot}' for slot in ours.slot_names)]


def test_rmsprop_by_hand():
    square, mean, velocity, expected = 1.0, 0.0, 0.0, START.astype(np.float64)
    for gradient in GRADIENTS.astype(np.float64):
        square, mean = 0.8 * square + 0.2 * gradient**2, 0.8 * mean + 0.2 * gradient
        velocity = 0.6 * velocity + 0.05 * gradient / np.sqrt(square - mean**2 + 1e-3)
        expected = expected - velocity
    np.testing.assert_allclose(run(rmsprop(centered=True)), expected, rtol=1e-4)


def test_ftrl_by_hand():
    """McMahan et al., algorithm 1, with alpha 0.05, beta 0 and the sum of squares starting at 0.2."""
    total, z, w = np.full(START.shape, 0.2), np.zeros(START.shape), START.astype(np.float64)
    for g in GRADIENTS.astype(np.float64):
        sigma = (np.sqrt(total + g**2) - np.sqrt(total)) / 0.05
        z, total = z + g - sigma * w, total + g**2
        w = np.where(np.abs(z) <= 0.5, 0, -(z - np.sign(z) * 0.5) / (np.sqrt(total) / 0.05 + 2 * 0.1))
    np.testing.assert_allclose(run(ftrl(l1=0.5, l2=0.1)), w, rtol=1e-4, atol=1e-6)


def test_adamax_is_keras():
    ours = run(optimizers.Adamax(learning_rate=rate(0.01), beta_1=0.8, beta_2=0.9, epsilon=1e-3))
    variable = tf.Variable(START)
    theirs = tf.keras.optimizers.Adamax(0.01, beta_1=0.8, beta_2=0.9, epsilon=1e-3)
    for gradient in GRADIENTS:
        theirs.apply_gradients([(tf.constant(gradient), variable)])
    np.testing.assert_allclose(ours, variable.numpy(), rtol=1e-5)


def test_nadam_by_hand():
    m, v, expected = 0.0, 0.0, START.astype(np.float64)
    for t, gradient in enumerate(GRADIENTS.astype(np.float64), start=1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        scale = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        expected = expected - scale * (0.9 * m + 0.1 * gradient) / (np.sqrt(v) + 1e-3)
    np.testing.assert_allclose(run(optimizers.Nadam(learning_rate=rate(0.01), epsilon=1e-3)), expected, rtol=1e-5)


def test_moving_averages_are_tensorflow_1s():
    """The decay that is asked for is above the ramp (1 + step) / (10 + step) at first, then below."""
    sgd = optimizers.Momentum(learning_rate=rate(), momentum=0.0)
    averaged = WithMovingAverage(sgd, decay=0.2)
    assert averaged.slot_names == ('Momentum', 'ExponentialMovingAverage')
    variable = tf.Variable(START)
    slots = [tf.Variable(averaged.first_slot_value(name, variable)) for name in averaged.slot_names]
    weight, average = START.astype(np.float64), START.astype(np.float64)
    for step, gradient in enumerate(GRADIENTS):
        averaged.update(variable, tf.constant(gradient), slots, averaged.scalars(step))
        weight = weight - 0.1 * gradient
        decay = min(0.2, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    np.testing.assert_allclose(variable.numpy(), weight, rtol=1e-5)
    np.testing.assert_allclose(slots[-1].numpy(), average, rtol=1e-5)
    np.testing.assert_array_equal(run(averaged), run(sgd))


def test_the_longest_scope_decides_the_learning_rate():
    sgd = optimizers.Momentum(
        learning_rate=rate(0.5), momentum=0.0, multipliers={'net': 0.1, 'net/head': 4.0, 'other': 0.0}
    )
    scalars = sgd.scalars(0)
    assert sgd.scalars_of('nets/weights', scalars) is scalars
    rates = [float(sgd.scalars_of(n, scalars)['learning_rate']) for n in ('net/a/weights', 'net/head/weights', 'other')]
    assert rates == pytest.approx([0.05, 2.0, 0.0])
    assert sgd.idle_scopes(['net/a/weights', 'network']) == ['net/head', 'other']


def test_clipping_by_value_cuts_each_component():
    optimizer = optimizers.Momentum(learning_rate=rate(), momentum=0.9, clipping_value=2.0)
    clipped, norm = optimizer.clip([tf.constant([3.0, -1.0]), tf.constant([[-4.0]])])
    assert float(norm) == pytest.approx(26**0.5)
    assert [list(np.ravel(g)) for g in clipped] == [[2.0, -1.0], [-2.0]]


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
        (lambda: rmsprop(decay=1.0), 'decay must be in'),
        (lambda: rmsprop(epsilon=0.0), 'epsilon must be above 0'),
        (lambda: ftrl(power=0.5), 'power must be 0 or less'),
        (lambda: ftrl(l1=-1.0), 'l1 must be 0 or more'),
        (
            lambda: adaptive_optimizers.Adagrad(learning_rate=rate(), initial_accumulator=0),
            'initial_accumulator must be above 0',
        ),
        (lambda: adaptive_optimizers.Adadelta(learning_rate=rate(), rho=2, epsilon=1), 'rho must be in'),
        (lambda: WithMovingAverage(optimizers.Adam(learning_rate=rate()), decay=1.0), 'decay must be in'),
        (
            lambda: optimizers.Adam(learning_rate=rate(), clipping_norm=1, clipping_value=1),
            'are both set, keep one',
        ),
        (
            lambda: optimizers.Adam(learning_rate=rate(), multipliers={'net': -1}),
            "multiplier of 'net' must be 0 or more",
        ),
    ],
)
def test_nonsense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
