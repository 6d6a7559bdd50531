"""Update rules with TensorFlow 1's semantics and slot names, by TensorFlow's fused kernels.

An optimiser holds numbers only. Its slots are variables of the caller's, one per trainable variable and slot name,
first value 0, stored in checkpoints as `<variable>/<slot name>`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence

import tensorflow as tf

from core.schedules import Schedule


class Optimizer(abc.ABC):
    """How a gradient moves a variable.

    Args:
      learning_rate: its schedule.
      clipping_norm: largest global norm of all gradients together; 0 switches clipping off.
    """

    slot_names: tuple[str, ...]

    def __init__(self, *, learning_rate: Schedule, clipping_norm: float = 0.0):
        if clipping_norm < 0:
            raise ValueError(f'clipping_norm must be 0 or more, got {clipping_norm}')
        self.learning_rate = learning_rate
        self.clipping_norm = clipping_norm

    def clip(self, gradients: Sequence[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
        """The gradients, scaled down together if their global norm is above `clipping_norm`; and that norm before."""
        norm = tf.linalg.global_norm(gradients)
        if not self.clipping_norm:
            return list(gradients), norm
        clipped, _ = tf.clip_by_global_norm(gradients, self.clipping_norm, use_norm=norm)
        return clipped, norm

    @abc.abstractmethod
    def scalars(self, step: tf.Tensor | tf.Variable | int) -> dict[str, tf.Tensor]:
        """What all variables share in one step, `learning_rate` among it; `step` counts the steps finished before."""

    @abc.abstractmethod
    def update(
        self,
        variable: tf.Variable,
        gradient: tf.Tensor,
        slots: Sequence[tf.Variable],
        scalars: Mapping[str, tf.Tensor],
    ) -> None:
        """Moves `variable` and its `slots` (in the order of `slot_names`) in place."""


class Momentum(Optimizer):
    """accumulator = momentum * accumulator + gradient; variable -= learning_rate * accumulator.

    As tf.compat.v1.train.MomentumOptimizer: the learning rate is outside the accumulator. With `use_nesterov`,
    variable -= learning_rate * (gradient + momentum * accumulator).
    """

    slot_names = ('Momentum',)

    def __init__(
        self, *, learning_rate: Schedule, momentum: float, use_nesterov: bool = False, clipping_norm: float = 0.0
    ):
        super().__init__(learning_rate=learning_rate, clipping_norm=clipping_norm)
        if not 0 <= momentum < 1:
            raise ValueError(f'momentum must be in [0, 1), got {momentum}')
        self.momentum = momentum
        self.use_nesterov = use_nesterov

    def scalars(self, step):
        return {'learning_rate': self.learning_rate(step), 'momentum': tf.constant(self.momentum)}

    def update(self, variable, gradient, slots, scalars):
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=slots[0].handle,
            lr=scalars['learning_rate'],
            grad=gradient,
            momentum=scalars['momentum'],
            use_nesterov=self.use_nesterov,
        )


class Adam(Optimizer):
    """Adam, arXiv:1412.6980, in the form of tf.compat.v1.train.AdamOptimizer.

    m = beta_1 * m + (1 - beta_1) * g; v = beta_2 * v + (1 - beta_2) * g^2;
    variable -= learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon), t = step + 1.
    `epsilon` is the paper's "epsilon hat": it is added after, not before, the bias correction of v.
    """

    slot_names = ('Adam', 'Adam_1')

    def __init__(
        self,
        *,
        learning_rate: Schedule,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        clipping_norm: float = 0.0,
    ):
        super().__init__(learning_rate=learning_rate, clipping_norm=clipping_norm)
        for name, beta in (('beta_1', beta_1), ('beta_2', beta_2)):
            if not 0 <= beta < 1:
                raise ValueError(f'{name} must be in [0, 1), got {beta}')
        if not epsilon > 0:
            raise ValueError(f'epsilon must be above 0, got {epsilon}')
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def scalars(self, step):
        count = tf.cast(step, tf.float32) + 1.0
        return {
            'learning_rate': self.learning_rate(step),
            'beta1': tf.constant(self.beta_1),
            'beta2': tf.constant(self.beta_2),
            'beta1_power': tf.pow(self.beta_1, count),
            'beta2_power': tf.pow(self.beta_2, count),
            'epsilon': tf.constant(self.epsilon),
        }

    def update(self, variable, gradient, slots, scalars):
        numbers = {name: value for name, value in scalars.items() if name != 'learning_rate'}
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=slots[0].handle,
            v=slots[1].handle,
            lr=scalars['learning_rate'],
            grad=gradient,
            **numbers,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay, arXiv:1711.05101 algorithm 2.

    variable -= learning_rate * weight_decay * variable, then Adam.

    Kernels are decayed; biases and batch norm, which are the variables of rank 0 or 1, are not. `weight_decay` is
    multiplied by the learning rate of the step (the paper's schedule multiplier with the base rate in it).
    """

    def __init__(self, *, weight_decay: float, **adam):
        super().__init__(**adam)
        if weight_decay < 0:
            raise ValueError(f'weight_decay must be 0 or more, got {weight_decay}')
        self.weight_decay = weight_decay

    def update(self, variable, gradient, slots, scalars):
        decayed = variable.shape.rank > 1 and self.weight_decay > 0
        if decayed:
            variable.assign_sub(scalars['learning_rate'] * self.weight_decay * variable)
        super().update(variable, gradient, slots, scalars)
