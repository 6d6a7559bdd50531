"""Learning rates as pure functions of the step: step, int or integer tensor -> float32 scalar tensor.

Formulas and names are those of tf.compat.v1.train.*_decay; the comments in protos/optimizer.proto state them for users.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

Schedule = Callable[[tf.Tensor | tf.Variable | int], tf.Tensor]


def constant(*, learning_rate: float) -> Schedule:
    """The same at every step; `learning_rate` above 0."""
    _check_positive('learning_rate', learning_rate)
    return lambda step: tf.constant(learning_rate, tf.float32)


def exponential_decay(
    *, initial_learning_rate: float, decay_steps: int, decay_factor: float, staircase: bool
) -> Schedule:
    """initial * decay_factor ^ (step / decay_steps), the quotient rounded down with `staircase`; factor in (0, 1]."""
    _check_positive('initial_learning_rate', initial_learning_rate)
    _check_steps(decay_steps)
    if not 0 < decay_factor <= 1:
        raise ValueError(f'decay_factor must be above 0 and at most 1, got {decay_factor}')

    def schedule(step):
        exponent = tf.cast(step, tf.float32) / decay_steps
        return initial_learning_rate * tf.pow(decay_factor, tf.floor(exponent) if staircase else exponent)

    return schedule


def polynomial_decay(
    *, initial_learning_rate: float, decay_steps: int, power: float, end_learning_rate: float = 0.0
) -> Schedule:
    """end + (initial - end) * (1 - min(step, decay_steps) / decay_steps) ^ power; "poly" of arXiv:1612.01105."""
    _check_range(initial_learning_rate, end_learning_rate)
    _check_steps(decay_steps)
    _check_positive('power', power)

    def schedule(step):
        remaining = 1.0 - _progress(step, decay_steps)
        return end_learning_rate + (initial_learning_rate - end_learning_rate) * tf.pow(remaining, power)

    return schedule


def cosine_decay(*, initial_learning_rate: float, decay_steps: int, final_learning_rate: float = 0.0) -> Schedule:
    """Half a cosine from initial to final over `decay_steps`, then final: arXiv:1608.03983 eq. 5, without restarts."""
    _check_range(initial_learning_rate, final_learning_rate)
    _check_steps(decay_steps)

    def schedule(step):
        share = 0.5 * (1.0 + tf.cos(math.pi * _progress(step, decay_steps)))
        return final_learning_rate + (initial_learning_rate - final_learning_rate) * share

    return schedule


def with_warmup(schedule: Schedule, *, num_steps: int, initial_factor: float) -> Schedule:
    """`schedule` times a factor that rises linearly from `initial_factor` (in [0, 1]) at step 0 to 1 at `num_steps`.

    The step is not shifted: `schedule` has decayed by `num_steps` steps when the rise ends. `num_steps` 0: no rise.
    """
    if num_steps < 0:
        raise ValueError(f'num_steps must be 0 or more, got {num_steps}')
    if not 0 <= initial_factor <= 1:
        raise ValueError(f'initial_factor must be in [0, 1], got {initial_factor}')
    if num_steps == 0:
        return schedule
    return lambda step: schedule(step) * (initial_factor + (1.0 - initial_factor) * _progress(step, num_steps))


def _progress(step: tf.Tensor | tf.Variable | int, num_steps: int) -> tf.Tensor:
    return tf.minimum(tf.cast(step, tf.float32) / num_steps, 1.0)


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f'{name} must be above 0, got {value}')


def _check_steps(decay_steps: int) -> None:
    if decay_steps < 1:
        raise ValueError(f'decay_steps must be 1 or more, got {decay_steps}')


def _check_range(initial: float, end: float) -> None:
    _check_positive('initial_learning_rate', initial)
    if not 0 <= end <= initial:
        raise ValueError(f'the last learning rate must be in [0, {initial}] (the initial one), got {end}')
