"""Dynamic loss scaling (Micikevicius et al., arXiv:1710.03740, section 3.2): float16 gradients that do not vanish.

The loss is multiplied by a scale before it is differentiated and gradients are divided by it after, so that small ones
are not rounded to 0 on the way. When one overflows, the step moves nothing and the scale is halved; after so many steps
without that it is doubled. The scale is a power of two, if the first is, so in float32 nothing else changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

# Where halving ends. A gradient that is infinite without scaling is not for want of a smaller scale.
LEAST = 1.0


class LossScale:
    """The scale, and how it moves; to be made in the strategy's scope.

    Args:
      initial_scale: 1 or more.
      dynamic_growth_steps: steps in a row without an overflow after which it is doubled.

    Attributes:
      scale: float32 variable.
      good_steps: int64 variable, steps without an overflow since the scale last moved.
    """

    def __init__(self, *, initial_scale: float = 2.0**15, dynamic_growth_steps: int = 2000):
        if initial_scale < LEAST:
            raise ValueError(f'initial_scale must be {LEAST:g} or more, got {initial_scale}')
        if dynamic_growth_steps < 1:
            raise ValueError(f'dynamic_growth_steps must be 1 or more, got {dynamic_growth_steps}')
        self._growth_steps = dynamic_growth_steps
        self.scale = tf.Variable(initial_scale, dtype=tf.float32, trainable=False, name='loss_scale')
        self.good_steps = tf.Variable(0, dtype=tf.int64, trainable=False, name='loss_scale_good_steps')

    def scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """What is differentiated in place of `loss`."""
        return loss * self.scale

    def unscaled(self, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The gradients of the loss, from those of the scaled one."""
        return [gradient / self.scale for gradient in gradients]

    def can_fall(self) -> tf.Tensor:
        """Bool []: whether a smaller scale is left to try."""
        return self.scale > LEAST

    def move(self, overflow: tf.Tensor) -> None:
        """At the end of a step, outside of replicas.

        Args:
          overflow: bool [], whether a gradient was not finite in this step.
        """
        grown = self.good_steps + 1 >= self._growth_steps
        doubled = self.scale * 2.0
        larger = tf.where(grown & tf.math.is_finite(doubled), doubled, self.scale)
        smaller = tf.maximum(self.scale / 2.0, LEAST)
        good_steps = tf.where(overflow | grown, tf.constant(0, tf.int64), self.good_steps + 1)
        self.scale.assign(tf.where(overflow, smaller, larger))
        self.good_steps.assign(good_steps)
