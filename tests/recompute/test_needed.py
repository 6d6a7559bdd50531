"""What the backward pass reads and holds, on graphs small enough to count by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tensorflow as tf

from recompute.activations import Activations
from recompute.forward import ForwardGraph
from recompute.needed import BackwardPass, trace_backward
from recompute.segments import SegmentOptions
from recompute.treatment import KEEP_ALL

_PIXELS = 128 * 128  # of one channel: 65,536 bytes; four channels count as an activation
_FOUR = 4 * _PIXELS * 4


def traced(
    network: Callable[[tf.Tensor], tf.Tensor], kernel: tf.Variable, **how: bool
) -> tuple[ForwardGraph, BackwardPass, Activations]:
    found = []

    @tf.function(autograph=False)
    def step(images: tf.Tensor) -> tf.Tensor:
        objective = network(images)
        forward = ForwardGraph(objective)
        backward = trace_backward(forward, [kernel], **how)
        bfloat16 = how.get('bfloat16', False)
        found.append((forward, backward, Activations(forward, backward, bfloat16=bfloat16)))
        return objective

    step.get_concrete_function(tf.TensorSpec((1, 128, 128, 4)))
    return found[0]


@pytest.fixture(scope='module')
def kernel() -> tf.Variable:
    return tf.Variable(tf.ones((1, 1, 4, 4)))


def _two_layers(kernel: tf.Variable) -> Callable[[tf.Tensor], tf.Tensor]:
    def network(images: tf.Tensor) -> tf.Tensor:
        hidden = tf.nn.relu(tf.nn.conv2d(images, kernel, 1, 'SAME'))
        return tf.reduce_sum(tf.nn.relu(tf.nn.conv2d(hidden, kernel, 1, 'SAME')))

    return network


def test_activations_are_read_where_gradients_need_them(kernel: tf.Variable):
    forward, _, activations = traced(_two_layers(kernel), kernel)
    types = {place: op.type for place, op in enumerate(forward.operations)}
    found = [(types[b.place], b.needed, types[b.first_read], types[b.last_read]) for b in activations.buffers]
    assert found == [
        ('Conv2D', False, 'Conv2D', 'Conv2D'),
        ('Relu', True, 'Conv2D', 'Relu'),  # by the second kernel's gradient first, by its own last
        ('Conv2D', False, 'Conv2D', 'Conv2D'),
        ('Relu', True, 'Relu', 'Relu'),
    ]
    assert activations.buffers[1].first_read > activations.buffers[1].place
    assert activations.plain_bytes == 2 * _FOUR


def test_gradients_of_activations_are_counted_where_they_exist(kernel: tf.Variable):
    forward, backward, _ = traced(_two_layers(kernel), kernel, gradients_wait=False)
    last = max(place for place, op in enumerate(forward.operations) if op.type == 'Conv2D')
    # At the second convolution: the gradient of its output and that of its input; the kernel's is 64 bytes.
    assert 2 * _FOUR <= backward.gradient_bytes[last] <= 2 * _FOUR + 1000
    assert backward.variable_bytes == 0
    assert max(backward.gradient_bytes) <= 2 * _FOUR + 1000


def test_gradients_of_variables_stay_where_they_have_to_wait(kernel: tf.Variable):
    large = tf.Variable(tf.ones((1, 1, 4, 4)))
    _, waiting, _ = traced(_two_layers(large), large, gradients_wait=True)
    assert waiting.variable_bytes == 4 * 4 * 4


def test_branches_are_summed_as_they_come(kernel: tf.Variable):
    """Five branches of one tensor: never more than a sum, a part and what the part is made of."""

    def network(images: tf.Tensor) -> tf.Tensor:
        stem = tf.nn.conv2d(images, kernel, 1, 'SAME')
        return tf.add_n([tf.reduce_sum(tf.square(stem * float(k))) for k in range(1, 6)])

    _, backward, _ = traced(network, kernel, gradients_wait=False)
    assert max(backward.gradient_bytes) <= 4 * _FOUR + 5000


def test_bfloat16_halves_activations(kernel: tf.Variable):
    full = traced(_two_layers(kernel), kernel)
    half = traced(_two_layers(kernel), kernel, bfloat16=True)
    assert half[2].plain_bytes == full[2].plain_bytes // 2
    assert max(half[1].gradient_bytes) < 0.6 * max(full[1].gradient_bytes)


def test_bfloat16_copies_each_kernel_or_part_of_one_once():
    kernel = tf.Variable(tf.ones((1, 1, 8, 4)))

    def network(images: tf.Tensor) -> tf.Tensor:
        first, second = tf.split(kernel, [4, 4], axis=2)
        hidden = tf.nn.conv2d(tf.nn.relu(tf.nn.conv2d(images, first, 1, 'SAME')), first, 1, 'SAME')
        return tf.reduce_sum(tf.matmul(tf.reshape(hidden, [_PIXELS, 4]), tf.reshape(second, [4, 4])))

    full, half = traced(network, kernel), traced(network, kernel, bfloat16=True)
    assert full[2].lasting_bytes == full[2].batch_bytes
    assert half[2].lasting_bytes - half[2].batch_bytes == 2 * 8 * 4


def test_everything_kept_is_the_plain_peak(kernel: tf.Variable):
    """Both activations, while the second ReLU's gradient turns the sum's into its own."""
    _, _, activations = traced(_two_layers(kernel), kernel, gradients_wait=False)
    options = SegmentOptions(activations)
    option = options.option(0, options.length, KEEP_ALL)
    assert option.cost == 0 and option.kept == 2 * _FOUR
    assert 3 * _FOUR <= option.kept + option.needed <= 4 * _FOUR + 1000
