"""The check that every id of a label is one of the data set's, as a part of the decoding."""

from __future__ import annotations

import functools

import tensorflow as tf

from inputs.tf_example import LabelCheck


@functools.cache
def check_ids(*, num_classes: int, ignore_label: int) -> LabelCheck:
    """A label as it is; InvalidArgumentError, naming the example, if an id is neither a class nor ignored."""

    def check(label: tf.Tensor, filename: tf.Tensor) -> tf.Tensor:
        if num_classes > 255:
            return label
        wrong = (label >= tf.constant(num_classes, tf.uint8)) & (label != tf.constant(ignore_label, tf.uint8))

        def message() -> tf.Tensor:
            ids = tf.sort(tf.unique(tf.boolean_mask(tf.cast(label, tf.int32), wrong))[0])
            allowed = f'neither a class (0..{num_classes - 1}) nor the ignore label {ignore_label}'
            said = f': {{}} pixels have label ids {{}}, {allowed}'
            return tf.strings.join([filename, tf.strings.format(said, (tf.math.count_nonzero(wrong), ids))])

        any_wrong = tf.reduce_any(wrong)
        said = tf.cond(any_wrong, message, lambda: tf.constant(''))
        with tf.control_dependencies([tf.debugging.Assert(~any_wrong, [said])]):
            return tf.identity(label)

    signature = [tf.TensorSpec([None, None, 1], tf.uint8), tf.TensorSpec([], tf.string)]
    return tf.function(check, input_signature=signature, autograph=False)
