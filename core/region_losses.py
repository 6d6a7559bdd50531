"""Losses of whole regions, class by class: logits and class ids in, one scalar out.

Both are averaged over the classes that the labels show; the probability of others is held down by the softmax. An
ignored pixel has gradient exactly 0, a batch without labels has loss 0, a label that is neither a class nor the ignore
label makes the loss NaN, which stops training.
"""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from core.fields import IGNORE_LABEL


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoftDice:
    """1 - Dice coefficient of probabilities p and labels g: 1 - 2 sum(p g) / (sum(p^2) + sum(g^2)).

    The form of V-Net (Milletari et al., arXiv:1606.04797, section 3) for each class.

    Attributes:
      ignore_label: the id that is not counted.
      per_image: sums run over each image, and images are averaged; False: over the batch of a replica.
    """

    ignore_label: int = IGNORE_LABEL
    per_image: bool = False

    def __call__(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Loss of logits float [B, h, w, C] against class ids int32 [B, h, w]: a float32 scalar."""
        regions = _regions(logits, labels, self.ignore_label, per_image=self.per_image)
        overlap = tf.reduce_sum(regions.probabilities * regions.truth, axis=-1)
        sizes = tf.reduce_sum(tf.square(regions.probabilities) + regions.truth, axis=-1)
        return _mean_over_present(1.0 - tf.math.divide_no_nan(2.0 * overlap, sizes), regions)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LovaszSoftmax:
    """The Lovász extension of the Jaccard loss 1 - IoU of each class (Berman et al., arXiv:1705.08790, eq. 8 to 11).

    Attributes:
      ignore_label: the id that is not counted.
      per_image: the IoU of each image, averaged over images; False: of the batch of a replica.
    """

    ignore_label: int = IGNORE_LABEL
    per_image: bool = False

    def __call__(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Loss of logits float [B, h, w, C] against class ids int32 [B, h, w]: a float32 scalar.

        Sorts all pixels once for each class.
        """
        regions = _regions(logits, labels, self.ignore_label, per_image=self.per_image)
        errors = tf.abs(regions.truth - regions.probabilities)
        slopes = tf.stop_gradient(_jaccard_slopes(errors, regions.truth, regions.valid))
        return _mean_over_present(tf.reduce_sum(errors * slopes, axis=-1), regions)


def _jaccard_slopes(errors: tf.Tensor, truth: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """How much the Jaccard loss grows as each pixel joins the wrong ones, the largest error first: [G, C, N].

    A pixel of the class takes 1 from the intersection I and leaves the union U: the loss grows by 1 / U. Another adds 1
    to U: it grows by I / (U (U - 1)), U with the pixel. That is the difference of the paper's algorithm 1, without the
    cancellation. Ignored pixels come last and have slope 0.
    """
    order = tf.argsort(tf.where(valid, errors, -1.0), axis=-1, direction='DESCENDING')
    sorted_truth = tf.gather(truth, order, batch_dims=2)
    sorted_valid = tf.gather(tf.cast(tf.broadcast_to(valid, tf.shape(truth)), tf.float32), order, batch_dims=2)
    size = tf.reduce_sum(truth, axis=-1, keepdims=True)
    intersection = size - tf.cumsum(sorted_truth, axis=-1)
    union = size + tf.cumsum(sorted_valid - sorted_truth, axis=-1)
    of_class = tf.math.divide_no_nan(1.0, union)
    of_others = tf.math.divide_no_nan(intersection, union * (union - 1.0))
    slopes = sorted_valid * tf.where(sorted_truth > 0, of_class, of_others)
    return tf.gather(slopes, tf.argsort(order, axis=-1), batch_dims=2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Regions:
    """Probabilities and labels class by class: G images, or G = 1 for the batch.

    Attributes:
      probabilities: float32 [G, C, N], 0 where a pixel is ignored.
      truth: float32 [G, C, N], 1 where the label is the class.
      valid: bool [G, 1, N].
    """

    probabilities: tf.Tensor
    truth: tf.Tensor
    valid: tf.Tensor


def _regions(logits: tf.Tensor, labels: tf.Tensor, ignore_label: int, *, per_image: bool) -> _Regions:
    num_classes = logits.shape[-1]
    valid = tf.not_equal(labels, ignore_label)
    known = ~valid | ((labels >= 0) & (labels < num_classes))
    truth = tf.one_hot(tf.where(valid, labels, -1), num_classes)
    truth = tf.where(known[..., tf.newaxis], truth, math.nan)
    probabilities = tf.nn.softmax(tf.cast(logits, tf.float32)) * tf.cast(valid, tf.float32)[..., tf.newaxis]

    def grouped(values: tf.Tensor, channels: int) -> tf.Tensor:
        shape = [tf.shape(labels)[0] if per_image else 1, -1, channels]
        return tf.transpose(tf.reshape(values, shape), [0, 2, 1])

    return _Regions(
        probabilities=grouped(probabilities, num_classes), truth=grouped(truth, num_classes), valid=grouped(valid, 1)
    )


def _mean_over_present(losses: tf.Tensor, regions: _Regions) -> tf.Tensor:
    """[G, C] -> the mean over classes with a label, then over images with any; 0 if there is none."""
    present = tf.cast(tf.reduce_any(tf.not_equal(regions.truth, 0.0), axis=-1), tf.float32)
    of_images = tf.math.divide_no_nan(tf.reduce_sum(losses * present, axis=-1), tf.reduce_sum(present, axis=-1))
    labelled = tf.cast(tf.reduce_any(present > 0, axis=-1), tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(of_images * labelled), tf.reduce_sum(labelled))
