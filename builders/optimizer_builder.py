"""`Optimizer` message -> `core.optimizers.Optimizer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core import adaptive_optimizers, optimizers, schedules
from core.errors import ConfigError
from core.weight_averages import WithMovingAverage
from protos import optimizer_pb2

_SCHEDULES: Mapping[str, Callable[[Any], schedules.Schedule]] = {
    'constant_learning_rate': lambda c: schedules.constant(learning_rate=c.learning_rate),
    'exponential_decay_learning_rate': lambda c: schedules.exponential_decay(
        initial_learning_rate=c.initial_learning_rate,
        decay_steps=c.decay_steps,
        decay_factor=c.decay_factor,
        staircase=c.staircase,
    ),
    'polynomial_decay_learning_rate': lambda c: schedules.polynomial_decay(
        initial_learning_rate=c.initial_learning_rate,
        decay_steps=c.decay_steps,
        power=c.power,
        end_learning_rate=c.end_learning_rate,
    ),
    'cosine_decay_learning_rate': lambda c: schedules.cosine_decay(
        initial_learning_rate=c.initial_learning_rate,
        decay_steps=c.decay_steps,
        final_learning_rate=c.final_learning_rate,
    ),
    'piecewise_constant_learning_rate': lambda c: schedules.piecewise_constant(
        boundaries=list(c.boundary), learning_rates=list(c.learning_rate)
    ),
    'cyclic_learning_rate': lambda c: schedules.cyclic(
        base_learning_rate=c.base_learning_rate,
        max_learning_rate=c.max_learning_rate,
        half_cycle_steps=c.half_cycle_steps,
        height_factor=c.height_factor,
    ),
    'one_cycle_learning_rate': lambda c: schedules.one_cycle(
        max_learning_rate=c.max_learning_rate,
        total_steps=c.total_steps,
        rising_share=c.rising_share,
        initial_divisor=c.initial_divisor,
        final_divisor=c.final_divisor,
    ),
    'cosine_restarts_learning_rate': lambda c: schedules.cosine_restarts(
        initial_learning_rate=c.initial_learning_rate,
        first_period_steps=c.first_period_steps,
        period_factor=c.period_factor,
        height_factor=c.height_factor,
        final_learning_rate=c.final_learning_rate,
    ),
}


def _moments(c: Any) -> dict[str, float]:
    return {'beta_1': c.beta_1, 'beta_2': c.beta_2, 'epsilon': c.epsilon}


_OPTIMIZERS: Mapping[str, Callable[..., optimizers.Optimizer]] = {
    'momentum_optimizer': lambda c, **common: optimizers.Momentum(
        momentum=c.momentum_optimizer_value, use_nesterov=c.use_nesterov, **common
    ),
    'adam_optimizer': lambda c, **common: optimizers.Adam(**_moments(c), **common),
    'adamw_optimizer': lambda c, **common: optimizers.AdamW(weight_decay=c.weight_decay, **_moments(c), **common),
    'adamax_optimizer': lambda c, **common: optimizers.Adamax(**_moments(c), **common),
    'nadam_optimizer': lambda c, **common: optimizers.Nadam(**_moments(c), **common),
    'rmsprop_optimizer': lambda c, **common: adaptive_optimizers.RMSProp(
        decay=c.decay, momentum=c.momentum_optimizer_value, epsilon=c.epsilon, centered=c.centered, **common
    ),
    'adagrad_optimizer': lambda c, **common: adaptive_optimizers.Adagrad(
        initial_accumulator=c.initial_accumulator_value, **common
    ),
    'adadelta_optimizer': lambda c, **common: adaptive_optimizers.Adadelta(rho=c.rho, epsilon=c.epsilon, **common),
    'ftrl_optimizer': lambda c, **common: adaptive_optimizers.Ftrl(
        power=c.learning_rate_power,
        initial_accumulator=c.initial_accumulator_value,
        l1=c.l1_regularization_strength,
        l2=c.l2_regularization_strength,
        **common,
    ),
}


def build(
    config: optimizer_pb2.Optimizer,
    *,
    moving_average_decay: float = 0.0,
    schedule: schedules.Schedule | None = None,
    path: str = 'train_config.optimizer',
) -> optimizers.Optimizer:
    """The optimiser with its schedule; ConfigError names the field below `path` that is missing or out of range.

    Args:
      config: the message.
      moving_average_decay: of the averages it keeps of the weights; 0 for none.
      schedule: instead of the config's learning rate.
      path: of the message, for errors.
    """
    choice = _choice(config, 'optimizer', path, _OPTIMIZERS)
    message = getattr(config, choice)
    if schedule is None:
        schedule = build_schedule(message.learning_rate, path=f'{path}.{choice}.learning_rate')
    try:
        optimizer = _OPTIMIZERS[choice](
            message,
            learning_rate=schedule,
            clipping_norm=config.gradient_clipping_norm,
            clipping_value=config.gradient_clipping_value,
            multipliers={m.scope: m.factor for m in config.learning_rate_multiplier},
        )
    except ValueError as error:
        raise ConfigError(f'{path}.{choice}: {error}') from error
    return WithMovingAverage(optimizer, decay=moving_average_decay) if moving_average_decay else optimizer


def build_schedule(config: optimizer_pb2.LearningRate, *, path: str = 'learning_rate') -> schedules.Schedule:
    """The learning rate as a function of the step, warm-up included."""
    choice = _choice(config, 'learning_rate', path, _SCHEDULES)
    try:
        schedule = _SCHEDULES[choice](getattr(config, choice))
    except ValueError as error:
        raise ConfigError(f'{path}.{choice}: {error}') from error
    try:
        return schedules.with_warmup(
            schedule, num_steps=config.warmup.num_steps, initial_factor=config.warmup.initial_factor
        )
    except ValueError as error:
        raise ConfigError(f'{path}.warmup: {error}') from error


def _choice(message: Any, oneof: str, path: str, table: Mapping[str, Any]) -> str:
    choice = message.WhichOneof(oneof)
    if choice is None:
        raise ConfigError(f'{path}: not set; choose {", ".join(sorted(table))}')
    return choice
