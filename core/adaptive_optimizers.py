"""RMSProp, Adagrad, Adadelta and FTRL with TensorFlow 1's semantics and slot names; see `optimizers`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from core.optimizers import LEARNING_RATE, Optimizer, check_below_one, check_not_negative, check_positive


class _PlainScalars(Optimizer):
    """Shares nothing but the learning rate between variables; its numbers are constants of the graph."""

    def scalars(self, step):
        return {LEARNING_RATE: self.learning_rate(step)}


class RMSProp(_PlainScalars):
    """square = decay * square + (1 - decay) * g^2; v = momentum * v + learning_rate * g / sqrt(square + epsilon).

    variable -= v. As tf.compat.v1.train.RMSPropOptimizer: `square` starts at 1, the learning rate is within v. With
    `centered` mean = decay * mean + (1 - decay) * g, and mean^2 is taken off under the root.
    """

    def __init__(self, *, decay: float, momentum: float, epsilon: float, centered: bool = False, **common: Any):
        super().__init__(**common)
        check_below_one('decay', decay)
        check_below_one('momentum', momentum)
        check_positive('epsilon', epsilon)
        self.decay, self.momentum, self.epsilon, self.centered = decay, momentum, epsilon, centered
        # TensorFlow 1 numbers them: square, mean if there is one, v.
        self.slot_names = ('RMSProp', 'RMSProp_1', 'RMSProp_2') if centered else ('RMSProp', 'RMSProp_1')

    def first_slot_value(self, slot_name, variable):
        if slot_name == self.slot_names[0]:
            return tf.ones(variable.shape, variable.dtype)
        return super().first_slot_value(slot_name, variable)

    def update(self, variable, gradient, slots, scalars):
        numbers = {'rho': self.decay, 'momentum': self.momentum, 'epsilon': self.epsilon}
        common = {'var': variable.handle, 'lr': scalars[LEARNING_RATE], 'grad': gradient, **numbers}
        handles = [slot.handle for slot in slots]
        if self.centered:
            tf.raw_ops.ResourceApplyCenteredRMSProp(ms=handles[0], mg=handles[1], mom=handles[2], **common)
        else:
            tf.raw_ops.ResourceApplyRMSProp(ms=handles[0], mom=handles[1], **common)


class Adagrad(_PlainScalars):
    """sum += g^2; variable -= learning_rate * g / sqrt(sum) (Duchi et al., JMLR 12, 2011).

    As tf.compat.v1.train.AdagradOptimizer: `sum` starts at `initial_accumulator`.
    """

    slot_names = ('Adagrad',)

    def __init__(self, *, initial_accumulator: float, **common: Any):
        super().__init__(**common)
        check_positive('initial_accumulator', initial_accumulator)
        self.initial_accumulator = initial_accumulator

    def first_slot_value(self, slot_name, variable):
        return tf.fill(variable.shape, tf.constant(self.initial_accumulator, variable.dtype))

    def update(self, variable, gradient, slots, scalars):
        tf.raw_ops.ResourceApplyAdagrad(
            var=variable.handle, accum=slots[0].handle, lr=scalars[LEARNING_RATE], grad=gradient
        )


class Adadelta(_PlainScalars):
    """Steps in the unit of the variable, arXiv:1212.5701 algorithm 1, times the learning rate.

    square = rho * square + (1 - rho) * g^2; delta = sqrt(delta_square + epsilon) / sqrt(square + epsilon) * g;
    delta_square = rho * delta_square + (1 - rho) * delta^2; variable -= learning_rate * delta.
    """

    slot_names = ('Adadelta', 'Adadelta_1')

    def __init__(self, *, rho: float, epsilon: float, **common: Any):
        super().__init__(**common)
        check_below_one('rho', rho)
        check_positive('epsilon', epsilon)
        self.rho, self.epsilon = rho, epsilon

    def update(self, variable, gradient, slots, scalars):
        tf.raw_ops.ResourceApplyAdadelta(
            var=variable.handle,
            accum=slots[0].handle,
            accum_update=slots[1].handle,
            lr=scalars[LEARNING_RATE],
            rho=self.rho,
            epsilon=self.epsilon,
            grad=gradient,
        )


class Ftrl(_PlainScalars):
    """FTRL-Proximal (McMahan et al., KDD 2013, algorithm 1), as tf.compat.v1.train.FtrlOptimizer.

    sum' = sum + g^2; linear += g - (sum'^-power - sum^-power) / learning_rate * variable;
    variable = (l1 * sign(linear) - linear) / (sum'^-power / learning_rate + 2 * l2), or 0 where |linear| <= l1.
    The variable is a function of the sums alone: what it was at first is soon forgotten.
    """

    slot_names = ('Ftrl', 'Ftrl_1')

    def __init__(self, *, power: float, initial_accumulator: float, l1: float, l2: float, **common: Any):
        super().__init__(**common)
        if not power <= 0:
            raise ValueError(f'power must be 0 or less, got {power}')
        check_positive('initial_accumulator', initial_accumulator)
        check_not_negative('l1', l1)
        check_not_negative('l2', l2)
        self.power, self.initial_accumulator, self.l1, self.l2 = power, initial_accumulator, l1, l2

    def first_slot_value(self, slot_name, variable):
        if slot_name == self.slot_names[0]:
            return tf.fill(variable.shape, tf.constant(self.initial_accumulator, variable.dtype))
        return super().first_slot_value(slot_name, variable)

    def update(self, variable, gradient, slots, scalars):
        tf.raw_ops.ResourceApplyFtrl(
            var=variable.handle,
            accum=slots[0].handle,
            linear=slots[1].handle,
            grad=gradient,
            lr=scalars[LEARNING_RATE],
            l1=self.l1,
            l2=self.l2,
            lr_power=self.power,
        )
