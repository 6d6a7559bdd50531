"""Softmax cross-entropy against a numpy twin, and what ignored and wrong labels do."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from core.losses import SoftenedDivergence, SoftmaxCrossEntropy


def _numpy_loss(logits, labels, ignore=255, class_weight=None, smoothing=0.0):
    total = weights = 0.0
    for scores, label in zip(logits.reshape(-1, logits.shape[-1]), labels.ravel(), strict=True):
        if label == ignore:
            continue
        log_p = scores - np.log(np.exp(scores).sum())
        target = np.full(len(scores), smoothing / len(scores))
        target[label] += 1 - smoothing
        weight = 1.0 if class_weight is None else class_weight[label]
        total -= weight * (target * log_p).sum()
        weights += weight
    return total / weights if weights else 0.0


def _case():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, (2, 5, 4)).astype(np.int32)
    labels[0, :2] = 255
    return rng.normal(size=(2, 5, 4, 3)).astype(np.float32), labels


@pytest.mark.parametrize('class_weight', [(), (1.0, 0.5, 4.0)])
@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_equals_numpy(class_weight, smoothing):
    logits, labels = _case()
    loss = SoftmaxCrossEntropy(class_weight=class_weight, label_smoothing=smoothing)(logits, labels)
    want = _numpy_loss(logits, labels, class_weight=class_weight or None, smoothing=smoothing)
    assert float(loss) == pytest.approx(want, rel=1e-5)


def test_ignored_pixels_have_gradient_exactly_zero():
    logits, labels = _case()
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = SoftmaxCrossEntropy()(variable, labels)
    gradient = tape.gradient(loss, variable).numpy()
    assert (gradient[labels == 255] == 0).all() and (np.abs(gradient[labels != 255]).sum(-1) > 0).all()


def test_nothing_but_ignored_pixels_gives_zero_not_nan():
    logits, labels = _case()
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = SoftmaxCrossEntropy()(variable, np.full_like(labels, 255))
    assert float(loss) == 0.0
    assert not tape.gradient(loss, variable).numpy().any()


def test_a_label_outside_the_classes_is_not_trained_silently():
    logits, labels = _case()
    labels[1, 0, 0] = 3
    with pytest.raises(tf.errors.InvalidArgumentError, match=r'outside the valid range|is not in \[0, 3\)'):
        SoftmaxCrossEntropy()(logits, labels)


@pytest.mark.parametrize('arguments', [{'label_smoothing': 1.0}, {'class_weight': [1.0, -1.0]}])
def test_nonsense_is_rejected(arguments):
    with pytest.raises(ValueError, match='must be'):
        SoftmaxCrossEntropy(**arguments)


@pytest.mark.parametrize('temperature', [0.5, 1.0, 4.0])
def test_softened_divergence_equals_numpy_and_teaches_the_student_alone(temperature):
    student, labels = _case()
    teacher = np.random.default_rng(6).normal(scale=3, size=student.shape).astype(np.float32)
    student, teacher = tf.Variable(student), tf.Variable(teacher)
    with tf.GradientTape() as tape:
        loss = SoftenedDivergence(temperature=temperature)(student, teacher, labels)
    p, q = (np.exp(x.numpy().astype(np.float64) / temperature) for x in (teacher, student))
    p, q = (x / x.sum(-1, keepdims=True) for x in (p, q))
    valid = labels != 255
    want = temperature**2 * (p * np.log(p / q)).sum(-1)[valid].mean()
    assert float(loss) == pytest.approx(want, rel=1e-5)
    to_student, to_teacher = tape.gradient(loss, [student, teacher])
    np.testing.assert_allclose(to_student, temperature * (q - p) * valid[..., None] / valid.sum(), rtol=1e-3, atol=1e-6)
    assert to_teacher is None


def test_softened_divergence_is_0_of_equal_logits_and_of_nothing_but_ignored_pixels():
    logits, labels = _case()
    assert float(SoftenedDivergence()(logits, logits, labels)) == pytest.approx(0, abs=1e-6)
    assert float(SoftenedDivergence()(logits, -logits, np.full_like(labels, 255))) == 0
    with pytest.raises(ValueError, match='temperature must be above 0, got 0'):
        SoftenedDivergence(temperature=0)
