"""Update rules with TensorFlow 1's semantics and slot names, by TensorFlow's fused kernels.

An optimiser holds numbers only. Its slots are variables of the caller's, one per trainable variable and slot name,
stored in checkpoints as `<variable>/<slot name>`. Here are the base, momentum and Adam's family; others:
`adaptive_optimizers`.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from core.schedules import Schedule

Scalars = Mapping[str, tf.Tensor]
Step = tf.Tensor | tf.Variable | int

LEARNING_RATE = 'learning_rate'


class Optimizer(abc.ABC):
    """How a gradient moves a variable.

    Args:
      learning_rate: its schedule.
      clipping_norm: largest global norm of all gradients together; 0 switches clipping off.
      clipping_value: largest absolute value of a component of a gradient, instead; 0 switches it off.
      multipliers: {scope: factor of the learning rate, 0 or more} for variables `<scope>/...`; the longest counts.

    Attributes:
      slot_names: what it keeps of each variable, in the order that `update` takes.
    """

    slot_names: tuple[str, ...]

    def __init__(
        self,
        *,
        learning_rate: Schedule,
        clipping_norm: float = 0.0,
        clipping_value: float = 0.0,
        multipliers: Mapping[str, float] | None = None,
    ):
        check_not_negative('clipping_norm', clipping_norm)
        check_not_negative('clipping_value', clipping_value)
        if clipping_norm and clipping_value:
            raise ValueError('clipping_norm and clipping_value are both set, keep one')
        for scope, factor in (multipliers or {}).items():
            check_not_negative(f'the learning rate multiplier of {scope!r}', factor)
        self.learning_rate = learning_rate
        self.clipping_norm, self.clipping_value = clipping_norm, clipping_value
        self.multipliers = dict(multipliers or {})

    def clip(self, gradients: Sequence[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
        """The gradients, scaled down together or cut one by one if they are too large; and their global norm before."""
        norm = tf.linalg.global_norm(gradients)
        if self.clipping_value:
            return [tf.clip_by_value(g, -self.clipping_value, self.clipping_value) for g in gradients], norm
        if not self.clipping_norm:
            return list(gradients), norm
        clipped, _ = tf.clip_by_global_norm(gradients, self.clipping_norm, use_norm=norm)
        return clipped, norm

    @abc.abstractmethod
    def scalars(self, step: Step) -> Scalars:
        """What all variables share in one step, `learning_rate` among it; `step` counts the steps finished before."""

    def scalars_of(self, name: str, scalars: Scalars) -> Scalars:
        """`scalars` with the learning rate of the variable `name`."""
        within = [scope for scope in self.multipliers if _is_within(name, scope)]
        if not within:
            return scalars
        return {**scalars, LEARNING_RATE: scalars[LEARNING_RATE] * self.multipliers[max(within, key=len)]}

    def idle_scopes(self, names: Iterable[str]) -> list[str]:
        """Scopes of `multipliers` that none of the variables `names` lies in."""
        names = list(names)
        return [scope for scope in self.multipliers if not any(_is_within(name, scope) for name in names)]

    def first_slot_value(self, slot_name: str, variable: tf.Variable) -> tf.Tensor:
        """What a slot of `variable` holds before the first step: zeros unless a rule says otherwise."""
        del slot_name
        return tf.zeros(variable.shape, variable.dtype)

    @abc.abstractmethod
    def update(
        self, variable: tf.Variable, gradient: tf.Tensor, slots: Sequence[tf.Variable], scalars: Scalars
    ) -> None:
        """Moves `variable` and its `slots` (in the order of `slot_names`) in place."""


class Momentum(Optimizer):
    """accumulator = momentum * accumulator + gradient; variable -= learning_rate * accumulator.

    As tf.compat.v1.train.MomentumOptimizer: the learning rate is outside the accumulator. With `use_nesterov`,
    variable -= learning_rate * (gradient + momentum * accumulator).
    """

    slot_names = ('Momentum',)

    def __init__(self, *, momentum: float, use_nesterov: bool = False, **common: Any):
        super().__init__(**common)
        check_below_one('momentum', momentum)
        self.momentum = momentum
        self.use_nesterov = use_nesterov

    def scalars(self, step):
        return {LEARNING_RATE: self.learning_rate(step), 'momentum': tf.constant(self.momentum)}

    def update(self, variable, gradient, slots, scalars):
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=slots[0].handle,
            lr=scalars[LEARNING_RATE],
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
    use_nesterov = False

    def __init__(self, *, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8, **common: Any):
        super().__init__(**common)
        check_below_one('beta_1', beta_1)
        check_below_one('beta_2', beta_2)
        check_positive('epsilon', epsilon)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def scalars(self, step):
        count = tf.cast(step, tf.float32) + 1.0
        return {
            LEARNING_RATE: self.learning_rate(step),
            'beta1': tf.constant(self.beta_1),
            'beta2': tf.constant(self.beta_2),
            'beta1_power': tf.pow(self.beta_1, count),
            'beta2_power': tf.pow(self.beta_2, count),
            'epsilon': tf.constant(self.epsilon),
        }

    def update(self, variable, gradient, slots, scalars):
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=slots[0].handle,
            v=slots[1].handle,
            lr=scalars[LEARNING_RATE],
            grad=gradient,
            use_nesterov=self.use_nesterov,
            **_picked(scalars, 'beta1', 'beta2', 'beta1_power', 'beta2_power', 'epsilon'),
        )


class Nadam(Adam):
    """Adam with beta_1 * m + (1 - beta_1) * g, m after its update, in the place of m.

    Nesterov momentum in Adam (Dozat, ICLR 2016 workshop) in the form of tf.contrib.opt.NadamOptimizer: no momentum
    schedule, and one bias correction for both terms.
    """

    slot_names = ('Nadam', 'Nadam_1')
    use_nesterov = True


class Adamax(Adam):
    """Adam with the infinity norm, arXiv:1412.6980 algorithm 2.

    v = max(beta_2 * v, |g|); variable -= learning_rate / (1 - beta_1^t) * m / (v + epsilon).
    """

    slot_names = ('AdaMax', 'AdaMax_1')

    def update(self, variable, gradient, slots, scalars):
        tf.raw_ops.ResourceApplyAdaMax(
            var=variable.handle,
            m=slots[0].handle,
            v=slots[1].handle,
            lr=scalars[LEARNING_RATE],
            grad=gradient,
            **_picked(scalars, 'beta1', 'beta2', 'beta1_power', 'epsilon'),
        )


class AdamW(Adam):
    """Adam with decoupled weight decay, arXiv:1711.05101 algorithm 2.

    variable -= learning_rate * weight_decay * variable, then Adam.

    Kernels are decayed; biases and batch norm, which are the variables of rank 0 or 1, are not. `weight_decay` is
    multiplied by the learning rate of the step (the paper's schedule multiplier with the base rate in it).
    """

    def __init__(self, *, weight_decay: float, **adam: Any):
        super().__init__(**adam)
        check_not_negative('weight_decay', weight_decay)
        self.weight_decay = weight_decay

    def update(self, variable, gradient, slots, scalars):
        decayed = variable.shape.rank > 1 and self.weight_decay > 0
        if decayed:
            variable.assign_sub(scalars[LEARNING_RATE] * self.weight_decay * variable)
        super().update(variable, gradient, slots, scalars)


def check_below_one(name: str, value: float) -> None:
    """ValueError unless `value` is in [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f'{name} must be in [0, 1), got {value}')


def check_positive(name: str, value: float) -> None:
    """ValueError unless `value` is above 0."""
    if not value > 0:
        raise ValueError(f'{name} must be above 0, got {value}')


def check_not_negative(name: str, value: float) -> None:
    """ValueError if `value` is below 0."""
    if not value >= 0:
        raise ValueError(f'{name} must be 0 or more, got {value}')


def _is_within(name: str, scope: str) -> bool:
    return name == scope or name.startswith(f'{scope}/')


def _picked(scalars: Scalars, *names: str) -> dict[str, tf.Tensor]:
    return {name: scalars[name] for name in names}
