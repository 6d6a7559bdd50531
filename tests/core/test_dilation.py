"""Dilated convolutions: one operation where its gradients are right, space-to-batch elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from core import processor
from third_party import slim

RATE, FILTERS, SIZE = 2, 24, (55, 73)


def gradient_function(channels: int, dtype: tf.DType):
    """(images, output gradients, kernel) -> (outputs, gradient of the images, of the kernel), all in `dtype`."""

    @tf.function(autograph=False)
    def gradients(images, upstream, kernel):
        images, kernel = tf.cast(images, dtype), tf.cast(kernel, dtype)
        with tf.GradientTape() as tape:
            tape.watch([images, kernel])
            store = slim.VariableStore()
            with store.scope(), tf.compat.v1.variable_scope('own', custom_getter=lambda *_, **__: kernel):
                outputs = slim.conv2d(
                    images, FILTERS, 3, rate=RATE, activation_fn=None, biases_initializer=None, scope='conv'
                )
            total = tf.reduce_sum(outputs * tf.cast(upstream, dtype))
        found = (outputs, *tape.gradient(total, [images, kernel]))
        return tuple(tf.cast(value, tf.float32) for value in found)

    return gradients


@pytest.mark.parametrize('channels', [8, 16, 20, 24, 40, 48, 56, 88])
def test_bfloat16_gradients_are_those_of_float32(channels):
    if channels % 16 == 0 and slim.has_native_dilation() and not processor.has_bfloat16():
        pytest.skip('one operation, of which this processor has no gradient in bfloat16')
    rng = np.random.default_rng(channels)
    images = rng.normal(size=(2, *SIZE, channels)).astype(np.float32)
    kernel = (rng.normal(size=(3, 3, channels, FILTERS)) / np.sqrt(9 * channels)).astype(np.float32)
    upstream = rng.normal(size=(2, *SIZE, FILTERS)).astype(np.float32)
    exact = gradient_function(channels, tf.float32)(images, upstream, kernel)
    rounded = gradient_function(channels, tf.bfloat16)(images, upstream, kernel)
    tolerance = 0.03 if processor.has_bfloat16() else 0.06  # emulation also sums in bfloat16
    for name, ours, reference in zip(('outputs', 'images', 'kernel'), rounded, exact, strict=True):
        scale = np.abs(reference).max()
        np.testing.assert_allclose(ours / scale, reference / scale, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(('channels', 'native'), [(16, True), (24, False), (64, True), (88, False)])
def test_only_whole_blocks_of_channels_run_as_one_operation(channels, native):
    spec = [tf.TensorSpec(shape) for shape in ((2, *SIZE, channels), (2, *SIZE, FILTERS), (3, 3, channels, FILTERS))]
    graph = gradient_function(channels, tf.float32).get_concrete_function(*spec).graph
    rates = [list(op.get_attr('dilations')) for op in graph.get_operations() if op.type == 'Conv2D']
    assert rates == [[1, RATE, RATE, 1] if native and slim.has_native_dilation() else [1, 1, 1, 1]]
