"""Pixel classification losses: logits and class ids in, one scalar out. Those of whole regions: `region_losses`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from core.fields import IGNORE_LABEL

# Below this 1 - p counts as 0, so that a power of it has a finite gradient.
_LEAST_MISS = 1e-12


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelLosses:
    """What each pixel contributes, all float32 [B, h, w].

    Attributes:
      losses: the loss of each pixel.
      label_losses: -log of the probability of its label, whatever the smoothing; of class 0 where it is ignored.
      weights: what it counts; 0 where it is ignored.
    """

    losses: tf.Tensor
    label_losses: tf.Tensor
    weights: tf.Tensor


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
        pixels = self.pixel_losses(logits, labels)
        return _weighted_mean(pixels.losses, pixels.weights)

    def pixel_losses(self, logits: tf.Tensor, labels: tf.Tensor) -> PixelLosses:
        """The same before it is averaged."""
        logits = tf.cast(logits, tf.float32)
        valid = tf.not_equal(labels, self.ignore_label)
        class_ids = tf.where(valid, labels, tf.zeros_like(labels))
        weights = self._pixel_weights(class_ids, valid)
        label_losses = losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=class_ids, logits=logits)
        if self.label_smoothing:
            uniform = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
            losses = (1.0 - self.label_smoothing) * losses + self.label_smoothing * uniform
        return PixelLosses(losses=losses, label_losses=label_losses, weights=weights)

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Focal:
    """Cross-entropy times (1 - p)^gamma, p the probability of the label: easy pixels count less (arXiv:1708.02002).

    Eq. 5 of the paper with its alpha as `cross_entropy.class_weight`; averaged as that is, so gamma 0 is cross-entropy.

    Attributes:
      cross_entropy: of each pixel.
      gamma: the exponent, 0 or more.
    """

    cross_entropy: SoftmaxCrossEntropy
    gamma: float

    def __post_init__(self):
        if not self.gamma >= 0:
            raise ValueError(f'gamma must be 0 or more, got {self.gamma}')

    def __call__(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """As `SoftmaxCrossEntropy`."""
        pixels = self.cross_entropy.pixel_losses(logits, labels)
        miss = tf.maximum(-tf.math.expm1(-pixels.label_losses), _LEAST_MISS)
        return _weighted_mean(tf.pow(miss, self.gamma) * pixels.losses, pixels.weights)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HardestPixels:
    """Cross-entropy of the pixels that the network is worst at, averaged over them alone.

    Kept are the least likely labels, `share` of them, and besides every pixel whose label has a probability below
    `threshold`: bootstrapping (Wu et al., arXiv:1605.06885, section 2.2; threshold 0) and online hard example mining
    with a least number of pixels. Counted are the pixels of a replica's batch whose weight is above 0, rounded up. A
    pixel that is exactly as hard as the last one kept is kept too.

    Attributes:
      cross_entropy: of each pixel.
      share: above 0, up to 1.
      threshold: from 0 to below 1.
    """

    cross_entropy: SoftmaxCrossEntropy
    share: float
    threshold: float = 0.0

    def __post_init__(self):
        if not 0 < self.share <= 1:
            raise ValueError(f'share must be above 0 and at most 1, got {self.share}')
        if not 0 <= self.threshold < 1:
            raise ValueError(f'threshold must be in [0, 1), got {self.threshold}')

    def __call__(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """As `SoftmaxCrossEntropy`."""
        pixels = self.cross_entropy.pixel_losses(logits, labels)
        kept = tf.cast(self._is_hard(pixels), tf.float32)
        return _weighted_mean(pixels.losses, pixels.weights * kept)

    def _is_hard(self, pixels: PixelLosses) -> tf.Tensor:
        """bool [B, h, w]. A comparison has no gradient."""
        candidate = pixels.weights > 0
        hardness = tf.where(candidate, pixels.label_losses, -1.0)  # a loss is never below 0
        num_candidates = tf.reduce_sum(tf.cast(candidate, tf.int32))
        num_kept = tf.cast(tf.math.ceil(self.share * tf.cast(num_candidates, tf.float32)), tf.int32)
        descending = tf.sort(tf.reshape(tf.stop_gradient(hardness), [-1]), direction='DESCENDING')
        hard = hardness >= descending[tf.maximum(num_kept, 1) - 1]
        return hard | (hardness > -math.log(self.threshold)) if self.threshold else hard


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightedSum:
    """The sum of several losses, each times its weight.

    Attributes:
      terms: (weight, 0 or more; loss), one or more.
    """

    terms: Sequence[tuple[float, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]]

    def __post_init__(self):
        if not self.terms or any(not weight >= 0 for weight, _ in self.terms):
            raise ValueError(f'weights must be 0 or more, at least one, got {[weight for weight, _ in self.terms]}')

    def __call__(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """As `SoftmaxCrossEntropy`."""
        return tf.add_n([weight * loss(logits, labels) for weight, loss in self.terms])


def _weighted_mean(losses: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """sum(losses * weights) / sum(weights); 0 where all weights are."""
    return tf.math.divide_no_nan(tf.reduce_sum(losses * weights), tf.reduce_sum(weights))
