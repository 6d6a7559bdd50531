"""A convolution of an enlarged map without the enlarged map, against the two one after the other."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from core import layers
from core.enlarged_convolution import convolve_enlarged


def one_after_the_other(features, kernel):
    return tf.nn.convolution(layers.enlarge(features, 2), kernel, padding='SAME', dilations=[2, 2])


@pytest.mark.parametrize('size', [(1, 1), (1, 4), (2, 1), (2, 2), (3, 2), (5, 8)])
def test_values_and_gradients_are_those_of_the_convolution_of_the_enlarged_map(size):
    rng = np.random.default_rng(3)
    features = tf.constant(rng.normal(size=(2, *size, 3)), tf.float32)
    kernel = tf.constant(rng.normal(size=(3, 3, 3, 4)), tf.float32)
    upstream = tf.constant(rng.normal(size=(2, 2 * size[0] - 1, 2 * size[1] - 1, 4)), tf.float32)

    @tf.function(autograph=False)
    def both(features, kernel):
        found = []
        for convolve in (convolve_enlarged, one_after_the_other):
            with tf.GradientTape() as tape:
                tape.watch([features, kernel])
                outputs = convolve(features, kernel)
                total = tf.reduce_sum(outputs * upstream)
            found.append((outputs, *tape.gradient(total, [features, kernel])))
        return found

    for ours, expected in zip(*both(features, kernel), strict=True):
        np.testing.assert_allclose(ours, expected, atol=2e-5)
