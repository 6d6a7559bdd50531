"""Learning rates as pure functions of the step: step, int or integer tensor -> float32 scalar tensor.

Formulas and names are those of tf.compat.v1.train.*_decay where it has them; the comments in protos/optimizer.proto
state them for users. Computed in float32, so steps are told apart up to 16 million.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

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
    _check_fraction('decay_factor', decay_factor)

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


def cosine_restarts(
    *,
    initial_learning_rate: float,
    first_period_steps: int,
    period_factor: float = 2.0,
    height_factor: float = 1.0,
    final_learning_rate: float = 0.0,
) -> Schedule:
    """Half a cosine in each of an endless row of periods: SGDR, arXiv:1608.03983 eq. 5.

    Period i lasts first_period_steps * period_factor^i steps and falls from final + (initial - final) *
    height_factor^i to final. As tf.compat.v1.train.cosine_decay_restarts, where alpha is final / initial.
    """
    _check_range(initial_learning_rate, final_learning_rate)
    _check_steps(first_period_steps, 'first_period_steps')
    if not period_factor >= 1:
        raise ValueError(f'period_factor must be 1 or more, got {period_factor}')
    _check_fraction('height_factor', height_factor)

    def schedule(step):
        done = tf.cast(step, tf.float32) / first_period_steps
        if period_factor == 1:
            period, progress = tf.floor(done), done - tf.floor(done)
        else:
            # The sum of a geometric series, solved for the number of terms; a logarithm may fall short of a restart.
            period = tf.floor(tf.math.log(1.0 + done * (period_factor - 1.0)) / math.log(period_factor))
            period += tf.cast(done >= _periods(period + 1.0, period_factor), tf.float32)
            progress = (done - _periods(period, period_factor)) / tf.pow(period_factor, period)
        share = 0.5 * tf.pow(height_factor, period) * (1.0 + tf.cos(math.pi * progress))
        return final_learning_rate + (initial_learning_rate - final_learning_rate) * share

    return schedule


def piecewise_constant(*, boundaries: Sequence[int], learning_rates: Sequence[float]) -> Schedule:
    """learning_rates[i] up to and with step boundaries[i], the last from then on; one more rate than boundaries.

    As tf.compat.v1.train.piecewise_constant.
    """
    if not boundaries or any(a >= b for a, b in pairwise(boundaries)):
        raise ValueError(f'boundaries must be one or more ascending steps, got {list(boundaries)}')
    if len(learning_rates) != len(boundaries) + 1:
        raise ValueError(f'{len(boundaries)} boundaries need one rate more, got {len(learning_rates)}')
    for rate in learning_rates:
        _check_positive('learning_rate', rate)
    steps, rates = tf.constant(list(boundaries), tf.int64), tf.constant(list(learning_rates), tf.float32)
    return lambda step: tf.gather(rates, tf.reduce_sum(tf.cast(tf.cast(step, tf.int64) > steps, tf.int32)))


def cyclic(
    *, base_learning_rate: float, max_learning_rate: float, half_cycle_steps: int, height_factor: float = 1.0
) -> Schedule:
    """Straight from base up to max and down again, without end (Smith, arXiv:1506.01186, section 3).

    The height above base is multiplied by `height_factor` after each whole cycle: 1 is the paper's `triangular`, 0.5
    its `triangular2`.
    """
    _check_positive('base_learning_rate', base_learning_rate)
    if not max_learning_rate >= base_learning_rate:
        raise ValueError(f'max_learning_rate must be {base_learning_rate} or more, got {max_learning_rate}')
    _check_steps(half_cycle_steps, 'half_cycle_steps')
    _check_fraction('height_factor', height_factor)

    def schedule(step):
        done = tf.cast(step, tf.float32) / (2 * half_cycle_steps)
        cycle = tf.floor(done)
        rise = 1.0 - tf.abs(2.0 * (done - cycle) - 1.0)
        return base_learning_rate + (max_learning_rate - base_learning_rate) * rise * tf.pow(height_factor, cycle)

    return schedule


def one_cycle(
    *,
    max_learning_rate: float,
    total_steps: int,
    rising_share: float = 0.3,
    initial_divisor: float = 25.0,
    final_divisor: float = 1e4,
) -> Schedule:
    """One rise and one longer fall to almost nothing: super-convergence (Smith and Topin, arXiv:1708.07120).

    From max / initial_divisor by a cosine to max in rising_share * total_steps, then by a cosine to the first rate /
    final_divisor, where it stays. The form (cosines instead of the paper's straight lines) is the widespread one of
    fastai and PyTorch; momentum is left as it is.
    """
    _check_positive('max_learning_rate', max_learning_rate)
    _check_steps(total_steps, 'total_steps')
    if not 0 < rising_share < 1:
        raise ValueError(f'rising_share must be between 0 and 1, got {rising_share}')
    for name, divisor in (('initial_divisor', initial_divisor), ('final_divisor', final_divisor)):
        if not divisor >= 1:
            raise ValueError(f'{name} must be 1 or more, got {divisor}')
    first = max_learning_rate / initial_divisor
    last = first / final_divisor

    def schedule(step):
        done = _progress(step, total_steps)
        rise = tf.minimum(done / rising_share, 1.0)
        fall = tf.maximum(done - rising_share, 0.0) / (1.0 - rising_share)
        rising = first + (max_learning_rate - first) * 0.5 * (1.0 - tf.cos(math.pi * rise))
        falling = last + (max_learning_rate - last) * 0.5 * (1.0 + tf.cos(math.pi * fall))
        return tf.where(done < rising_share, rising, falling)

    return schedule


def exponential_sweep(*, first_learning_rate: float, last_learning_rate: float, num_steps: int) -> Schedule:
    """From first at step 0 to last at step num_steps - 1, each step times the same factor (num_steps 2 or more)."""
    _check_positive('first_learning_rate', first_learning_rate)
    _check_positive('last_learning_rate', last_learning_rate)
    if num_steps < 2:
        raise ValueError(f'num_steps must be 2 or more, got {num_steps}')
    ratio = last_learning_rate / first_learning_rate
    return lambda step: first_learning_rate * tf.pow(ratio, _progress(step, num_steps - 1))


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


def _periods(count: tf.Tensor, factor: float) -> tf.Tensor:
    """The length of so many periods together, in units of the first."""
    return (tf.pow(factor, count) - 1.0) / (factor - 1.0)


def _progress(step: tf.Tensor | tf.Variable | int, num_steps: int) -> tf.Tensor:
    return tf.minimum(tf.cast(step, tf.float32) / num_steps, 1.0)


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f'{name} must be above 0, got {value}')


def _check_fraction(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ValueError(f'{name} must be above 0 and at most 1, got {value}')


def _check_steps(value: int, name: str = 'decay_steps') -> None:
    if value < 1:
        raise ValueError(f'{name} must be 1 or more, got {value}')


def _check_range(initial: float, end: float) -> None:
    _check_positive('initial_learning_rate', initial)
    if not 0 <= end <= initial:
        raise ValueError(f'the last learning rate must be in [0, {initial}] (the initial one), got {end}')
