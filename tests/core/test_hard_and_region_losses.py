"""Bootstrapped, hard example, focal, Dice and Lovász losses and their sums against twins in NumPy."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from core.losses import Focal, HardestPixels, SoftmaxCrossEntropy, WeightedSum
from core.region_losses import LovaszSoftmax, SoftDice
from tests.core import losses_numpy as twins

WEIGHTS = (1.0, 0.25, 4.0)
PLAIN = SoftmaxCrossEntropy()
WEIGHTED = SoftmaxCrossEntropy(class_weight=WEIGHTS, label_smoothing=0.1)
WEIGHTED_TWIN = {'class_weight': WEIGHTS, 'smoothing': 0.1}

# name -> (loss, its twin)
LOSSES = {
    'focal': (Focal(cross_entropy=PLAIN, gamma=2.0), functools.partial(twins.focal, gamma=2.0)),
    'focal, flat exponent, weighted': (
        Focal(cross_entropy=WEIGHTED, gamma=0.5),
        functools.partial(twins.focal, gamma=0.5, alpha=WEIGHTS, smoothing=0.1),
    ),
    'bootstrapped': (HardestPixels(cross_entropy=PLAIN, share=0.3), functools.partial(twins.hardest, share=0.3)),
    'bootstrapped, all': (HardestPixels(cross_entropy=PLAIN, share=1.0), functools.partial(twins.hardest, share=1.0)),
    'bootstrapped, weighted': (
        HardestPixels(cross_entropy=WEIGHTED, share=0.125),
        functools.partial(twins.hardest, share=0.125, **WEIGHTED_TWIN),
    ),
    'bootstrapped, a class without weight': (
        HardestPixels(cross_entropy=SoftmaxCrossEntropy(class_weight=(1, 0, 1)), share=0.5),
        functools.partial(twins.hardest, share=0.5, class_weight=(1, 0, 1)),
    ),
    'ohem': (
        HardestPixels(cross_entropy=PLAIN, share=0.0625, threshold=0.4),
        functools.partial(twins.hardest, share=0.0625, threshold=0.4),
    ),
    'ohem, weighted': (
        HardestPixels(cross_entropy=WEIGHTED, share=0.0625, threshold=0.7),
        functools.partial(twins.hardest, share=0.0625, threshold=0.7, **WEIGHTED_TWIN),
    ),
    'dice': (SoftDice(), twins.dice),
    'dice of images': (SoftDice(per_image=True), functools.partial(twins.dice, per_image=True)),
    'lovasz': (LovaszSoftmax(), twins.lovasz),
    'lovasz of images': (LovaszSoftmax(per_image=True), functools.partial(twins.lovasz, per_image=True)),
    'sum': (
        WeightedSum(terms=[(0.5, PLAIN), (2.0, LovaszSoftmax())]),
        lambda logits, labels: 0.5 * twins.hardest(logits, labels, share=1) + 2.0 * twins.lovasz(logits, labels),
    ),
}


def case(seed, *, classes=3, ignored=0.2, spread=2.0):
    """Random logits float32 [2, 5, 4, C] and labels, a share ignored; the second image shows two classes at most."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (2, 5, 4)).astype(np.int32)
    labels[1] %= 2
    labels[rng.random(labels.shape) < ignored] = 255
    return (spread * rng.normal(size=(*labels.shape, classes))).astype(np.float32), labels


def value_and_gradient(loss, logits, labels):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(logits, labels)
    gradient = tape.gradient(value, logits)
    assert gradient is not None
    return value, gradient.numpy()


@pytest.mark.parametrize('name', LOSSES)
def test_equals_numpy(name):
    loss, twin = LOSSES[name]
    for seed in range(5):
        logits, labels = case(seed)
        value = loss(logits, labels)
        assert value.dtype == tf.float32 and value.shape == ()
        assert float(value) == pytest.approx(twin(logits, labels), rel=1e-5), seed


@pytest.mark.parametrize('name', LOSSES)
def test_gradient_equals_finite_differences_of_numpy(name):
    loss, twin = LOSSES[name]
    logits, labels = case(9)
    _, gradient = value_and_gradient(loss, logits, labels)
    rng = np.random.default_rng(0)
    for _ in range(6):
        direction = rng.normal(size=logits.shape)
        step = 1e-5 * direction
        exact = logits.astype(np.float64)
        slope = (twin(exact + step, labels) - twin(exact - step, labels)) / 2e-5
        assert (gradient * direction).sum() == pytest.approx(slope, rel=2e-3, abs=2e-5)


@pytest.mark.parametrize('name', LOSSES)
def test_ignored_pixels_have_gradient_exactly_zero(name):
    logits, labels = case(3)
    # Where 1 - p rounds to 0 and to 1 a power has no finite slope.
    logits[labels == 255] = np.array([[60.0, -60.0, 0.0]])
    value, gradient = value_and_gradient(LOSSES[name][0], logits, labels)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    assert (gradient[labels == 255] == 0).all() and gradient[labels != 255].any()


@pytest.mark.parametrize('name', LOSSES)
def test_nothing_but_ignored_pixels_gives_zero_not_nan(name):
    logits, labels = case(3)
    value, gradient = value_and_gradient(LOSSES[name][0], logits, np.full_like(labels, 255))
    assert float(value) == 0.0 and not gradient.any()


@pytest.mark.parametrize('name', LOSSES)
def test_certain_predictions_stay_finite(name):
    _, labels = case(3, ignored=0.0)
    for sign in (1, -1):
        logits = (200.0 * sign * np.eye(3, dtype=np.float32))[labels]
        value, gradient = value_and_gradient(LOSSES[name][0], logits, labels)
        assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize('name', LOSSES)
def test_bfloat16_logits_are_scored_in_float32(name):
    logits, labels = case(4)
    rounded = tf.cast(logits, tf.bfloat16)
    loss = LOSSES[name][0]
    assert float(loss(rounded, labels)) == float(loss(tf.cast(rounded, tf.float32), labels))


@pytest.mark.parametrize('name', LOSSES)
def test_a_label_outside_the_classes_is_not_trained_silently(name):
    logits, labels = case(4)
    labels[1, 0, 0] = 3
    try:
        assert math.isnan(float(LOSSES[name][0](logits, labels)))
    except tf.errors.InvalidArgumentError as error:
        assert 'outside the valid range' in str(error) or 'not in [0' in str(error)


@pytest.mark.parametrize('name', LOSSES)
def test_the_same_in_a_graph_of_unknown_size(name):
    loss = LOSSES[name][0]
    logits, labels = case(6)
    signature = [tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, None, None], tf.int32)]
    traced = tf.function(loss.__call__, input_signature=signature, autograph=False)
    assert float(traced(logits, labels)) == pytest.approx(float(loss(logits, labels)), rel=1e-6)


def test_focal_without_exponent_is_cross_entropy():
    logits, labels = case(7)
    for cross_entropy in (PLAIN, WEIGHTED):
        assert float(Focal(cross_entropy=cross_entropy, gamma=0.0)(logits, labels)) == float(
            cross_entropy(logits, labels)
        )


def test_equally_hard_pixels_are_kept_together():
    """All pixels alike: any share of them is all of them."""
    logits = np.zeros((1, 3, 3, 3), np.float32)
    loss = HardestPixels(cross_entropy=PLAIN, share=0.25)
    _, gradient = value_and_gradient(loss, logits, np.zeros((1, 3, 3), np.int32))
    assert (gradient[..., 0] == gradient[0, 0, 0, 0]).all() and gradient[0, 0, 0, 0] < 0


def test_only_the_hardest_have_a_gradient():
    logits, labels = case(8, ignored=0.0)
    _, gradient = value_and_gradient(HardestPixels(cross_entropy=PLAIN, share=0.25), logits, labels)
    assert gradient.any(-1).sum() == 10


def test_perfect_and_worst_masks():
    """Certain and right: 0. Certain and wrong everywhere: 1, for both losses of regions."""
    labels = np.array([[[0, 0, 1, 1, 1]]], np.int32)
    right = (100.0 * np.eye(2, dtype=np.float32))[labels]
    for loss in (SoftDice(), LovaszSoftmax()):
        assert float(loss(right, labels)) == pytest.approx(0.0, abs=1e-6)
        assert float(loss(-right, labels)) == pytest.approx(1.0, abs=1e-6)


def test_lovasz_of_certain_predictions_is_one_minus_mean_iou():
    """At the corners of the cube the extension equals the set function: arXiv:1705.08790, section 2."""
    rng = np.random.default_rng(2)
    labels, guesses = rng.integers(0, 3, (2, 2, 7, 9)).astype(np.int32)
    ious = [((labels == c) & (guesses == c)).sum() / ((labels == c) | (guesses == c)).sum() for c in range(3)]
    loss = LovaszSoftmax()((200.0 * np.eye(3, dtype=np.float32))[guesses], labels)
    assert float(loss) == pytest.approx(1 - np.mean(ious), rel=1e-5)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: Focal(cross_entropy=PLAIN, gamma=-1), 'gamma must be 0 or more'),
        (lambda: HardestPixels(cross_entropy=PLAIN, share=0), 'share must be above 0'),
        (lambda: HardestPixels(cross_entropy=PLAIN, share=0.5, threshold=1), 'threshold must be in'),
        (lambda: WeightedSum(terms=[]), 'at least one'),
        (lambda: WeightedSum(terms=[(-1, PLAIN)]), 'weights must be 0 or more'),
    ],
)
def test_nonsense_is_rejected(make, message):
    with pytest.raises(ValueError, match=message):
        make()
