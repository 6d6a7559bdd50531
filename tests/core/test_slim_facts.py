"""The four facts of docs/architecture.md about slim on TensorFlow 2.21, each held by a test."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from builders import model_builder
from tests import forked
from tests.contracts.configs import model_config
from third_party import slim


class _Tiny(tf.Module):
    """Convolution and batch norm under slim's names; the store is entered in __call__."""

    def __init__(self):
        super().__init__()
        self.store = slim.VariableStore()

    def __call__(self, images: tf.Tensor, decay: float = 0.5) -> tf.Tensor:
        with (
            self.store.scope(),
            slim.arg_scope([slim.batch_norm], is_training=True, decay=decay, updates_collections=None),
        ):
            return self.layers(images)

    def layers(self, images: tf.Tensor) -> tf.Tensor:
        return slim.conv2d(images, 4, 3, normalizer_fn=slim.batch_norm, scope='conv')

    def variable(self, name: str) -> tf.Variable:
        return self.store._vars[name]


def _images() -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=(2, 9, 7, 3)).astype(np.float32))


def test_slim_layers_train_inside_a_function_under_their_slim_names():
    module = _Tiny()
    call = tf.function(module, autograph=False)
    first, second = call(_images()), call(_images())
    np.testing.assert_array_equal(first, second)
    assert set(module.store._vars) == {
        'conv/weights',
        'conv/BatchNorm/beta',
        'conv/BatchNorm/moving_mean',
        'conv/BatchNorm/moving_variance',
    }


def test_moving_averages_move_once_per_call():
    module = _Tiny()
    call = tf.function(module, autograph=False)
    call(_images())
    mean = module.variable('conv/BatchNorm/moving_mean').numpy()
    kernel = module.variable('conv/weights').numpy()
    batch_mean = tf.reduce_mean(tf.nn.conv2d(_images(), kernel, 1, 'SAME'), [0, 1, 2]).numpy()
    np.testing.assert_allclose(mean, 0.5 * batch_mean, rtol=1e-4, atol=1e-6)


def _run_on_two_devices():
    """In a process of its own, whose CPU is made two devices."""
    cpu = tf.config.list_physical_devices('CPU')[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])
    with strategy.scope():
        model = model_builder.build(model_config('fcn', 'mobilenet_v1', loss='', extra='stride: 8'))
        model.build()

    def replica(images):
        return tf.reduce_mean(model.predict(images, is_training=True)['logits'])

    @tf.function(autograph=False)
    def step(images):
        with model.entered():
            return strategy.run(replica, args=(images,))

    average = 'SharedFeatureExtractor/MobilenetV1/Conv2d_0/BatchNorm/moving_mean'
    before = model.variables_by_name()[average].numpy()
    values = strategy.experimental_local_results(step(tf.random.normal([1, 65, 97, 3])))
    after = model.variables_by_name()[average].numpy()
    assert len(values) == 2 and abs(after - before).max() > 0
    print('ran')


def test_two_replicas_run_when_the_store_is_entered_around_run():
    assert forked.run(_run_on_two_devices).strip() == 'ran'


def test_recomputed_segment_needs_the_store_and_scopes_again():
    # With them, every gradient equals the plain one bit for bit; without them the weights' gradients are lost.
    module = _Tiny()
    images = _images()
    module(images)
    weights = module.variable('conv/weights')

    def gradient(function):
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(tf.square(function(images)))
        return tape.gradient(value, weights)

    plain = gradient(module)
    recomputed = gradient(tf.recompute_grad(module))
    np.testing.assert_array_equal(plain, recomputed)


@pytest.mark.parametrize(('second_decay', 'moves'), [(0.5, 2), (1.0, 1)])
def test_second_run_moves_averages_again_unless_its_decay_is_one(second_decay: float, moves: int):
    module = _Tiny()
    module(_images(), 0.5)
    once = module.variable('conv/BatchNorm/moving_mean').numpy()
    module(_images(), second_decay)
    now = module.variable('conv/BatchNorm/moving_mean').numpy()
    np.testing.assert_allclose(now, once * (1.5 if moves == 2 else 1.0), rtol=1e-5, atol=1e-7)
