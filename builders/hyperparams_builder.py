"""`Hyperparams` message -> `core.layers.Hyperparams`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from core import layers
from protos import hyperparams_pb2
from third_party import slim


def build(config: hyperparams_pb2.Hyperparams) -> layers.Hyperparams:
    """Initialiser, regulariser and normalisation for a whole model; an absent block means the schema's defaults."""
    norm, groups = config.batch_norm, config.group_norm
    return layers.Hyperparams(
        initializer=_build_initializer(config.initializer),
        regularizer=_build_regularizer(config.regularizer),
        batch_norm=layers.BatchNorm(
            decay=norm.decay,
            center=norm.center,
            scale=norm.scale,
            epsilon=norm.epsilon,
            train=norm.train,
            synchronized=norm.synchronized,
        ),
        group_norm=(
            layers.GroupNorm(groups=groups.groups, epsilon=groups.epsilon) if config.HasField('group_norm') else None
        ),
    )


def _build_regularizer(config: hyperparams_pb2.Regularizer) -> Callable[[tf.Tensor], tf.Tensor] | None:
    choice = config.WhichOneof('regularizer_oneof')
    if choice == 'l1_regularizer':
        l1_weight = config.l1_regularizer.weight
        return lambda kernel: l1_weight * tf.reduce_sum(tf.abs(kernel))
    if choice == 'l2_regularizer':
        l2_weight = config.l2_regularizer.weight
        return lambda kernel: l2_weight * tf.nn.l2_loss(kernel)  # half the sum of squares, as slim's
    return None


def _build_initializer(config: hyperparams_pb2.Initializer) -> Any:
    if config.WhichOneof('initializer_oneof') == 'truncated_normal_initializer':
        normal = config.truncated_normal_initializer
        return tf.compat.v1.truncated_normal_initializer(mean=normal.mean, stddev=normal.stddev)
    scaling = config.variance_scaling_initializer
    mode = hyperparams_pb2.VarianceScalingInitializer.Mode.Name(scaling.mode)
    return slim.variance_scaling_initializer(factor=scaling.factor, mode=mode, uniform=scaling.uniform)
