"""Pixel classification losses: logits and class ids in, one scalar out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from core.fields import IGNORE_LABEL


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoftmaxCrossEntropy:
    """Softmax cross-entropy, averaged over the pixels that are not ignored.

    With `class_weight` w the average is weighted: sum(w[label] * loss) / sum(w[label]). An ignored pixel has weight 0
    and gradient exactly 0; a batch with nothing but ignored pixels has loss 0. A label that is neither a class nor
    the ignore label stops the step with an error on the CPU (and gives NaN on a GPU): it is never trained silently.

    Attributes:
      ignore_label: the id that is not counted.
      class_weight: one factor per class, 0 or more; empty for equal weights.
      label_smoothing: share in [0, 1) of the target spread evenly over the classes (Szegedy et al., arXiv:1512.00567).
    """

    ignore_label: int = IGNORE_LABEL
    class_weight: Sequence[float] = ()
    label_smoothing: float = 0.0

    def __post_init__(self):
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f'label_smoothing must be in [0, 1), got {self.label_smoothing}')
        if any(weight < 0 for weight in self.class_weight):
            raise ValueError(f'class_weight must be 0 or more, got {list(self.class_weight)}')

    def __call__(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Mean loss of logits float [B, h, w, C] against class ids int32 [B, h, w]: a float32 scalar."""
        logits = tf.cast(logits, tf.float32)
        valid = tf.not_equal(labels, self.ignore_label)
        class_ids = tf.where(valid, labels, tf.zeros_like(labels))
        weights = self._pixel_weights(class_ids, valid)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=class_ids, logits=logits)
        if self.label_smoothing:
            uniform = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
            losses = (1.0 - self.label_smoothing) * losses + self.label_smoothing * uniform
        return tf.math.divide_no_nan(tf.reduce_sum(losses * weights), tf.reduce_sum(weights))

    def _pixel_weights(self, class_ids: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        weights = tf.cast(valid, tf.float32)
        if not self.class_weight:
            return weights
        return weights * tf.gather(tf.constant(list(self.class_weight), tf.float32), class_ids)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoftenedDivergence:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), averaged over the pixels that are not ignored.

    Hinton et al., arXiv:1503.02531, section 2: with the factor T^2 gradients keep their size when the temperature
    changes. A batch with nothing but ignored pixels gives 0.

    Attributes:
      temperature: T, above 0.
      ignore_label: the id that is not counted.
    """

    temperature: float = 2.0
    ignore_label: int = IGNORE_LABEL

    def __post_init__(self):
        if not self.temperature > 0:
            raise ValueError(f'temperature must be above 0, got {self.temperature}')

    def __call__(self, student: tf.Tensor, teacher: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Logits float [B, h, w, C] of both against class ids int32 [B, h, w]: a float32 scalar, 0 or more.

        No gradient goes to the teacher.
        """
        softened = tf.stop_gradient(tf.cast(teacher, tf.float32)) / self.temperature
        expected = tf.nn.log_softmax(softened)
        learned = tf.nn.log_softmax(tf.cast(student, tf.float32) / self.temperature)
        divergences = tf.reduce_sum(tf.exp(expected) * (expected - learned), axis=-1)
        valid = tf.cast(tf.not_equal(labels, self.ignore_label), tf.float32)
        mean = tf.math.divide_no_nan(tf.reduce_sum(divergences * valid), tf.reduce_sum(valid))
        return self.temperature**2 * mean
