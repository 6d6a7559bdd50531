"""An exponential moving average of every weight, kept beside it as one more slot of the optimiser."""

from __future__ import annotations

import tensorflow as tf

from core.optimizers import Optimizer, check_below_one

# TensorFlow 1's name: `<variable>/ExponentialMovingAverage`.
MOVING_AVERAGE = 'ExponentialMovingAverage'


class WithMovingAverage(Optimizer):
    """`optimizer`, then average -= (1 - d) * (average - variable), as tf.train.ExponentialMovingAverage.

    d is `decay`, or (1 + step) / (10 + step) where that is lower, so that the first steps do not weigh for long. The
    average starts as the variable itself.

    Args:
      optimizer: moves the variables.
      decay: from 0 to below 1.
    """

    def __init__(self, optimizer: Optimizer, *, decay: float):
        super().__init__(
            learning_rate=optimizer.learning_rate,
            clipping_norm=optimizer.clipping_norm,
            clipping_value=optimizer.clipping_value,
            multipliers=optimizer.multipliers,
        )
        check_below_one('decay', decay)
        self.optimizer, self.decay = optimizer, decay
        self.slot_names = (*optimizer.slot_names, MOVING_AVERAGE)

    def scalars(self, step):
        count = tf.cast(step, tf.float32)
        decay = tf.minimum(self.decay, (1.0 + count) / (10.0 + count))
        return {**self.optimizer.scalars(step), MOVING_AVERAGE: decay}

    def first_slot_value(self, slot_name, variable):
        if slot_name == MOVING_AVERAGE:
            return tf.convert_to_tensor(variable)
        return self.optimizer.first_slot_value(slot_name, variable)

    def update(self, variable, gradient, slots, scalars):
        self.optimizer.update(variable, gradient, slots[:-1], scalars)
        average = slots[-1]
        average.assign_sub((1.0 - scalars[MOVING_AVERAGE]) * (average - variable))
