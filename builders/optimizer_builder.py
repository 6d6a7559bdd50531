"""`Optimizer` message -> `core.optimizers.Optimizer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core import optimizers, schedules
from core.errors import ConfigError
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
}

_OPTIMIZERS: Mapping[str, Callable[..., optimizers.Optimizer]] = {
    'momentum_optimizer': lambda c, **common: optimizers.Momentum(
        momentum=c.momentum_optimizer_value, use_nesterov=c.use_nesterov, **common
    ),
    'adam_optimizer': lambda c, **common: optimizers.Adam(
        beta_1=c.beta_1, beta_2=c.beta_2, epsilon=c.epsilon, **common
    ),
    'adamw_optimizer': lambda c, **common: optimizers.AdamW(
        weight_decay=c.weight_decay, beta_1=c.beta_1, beta_2=c.beta_2, epsilon=c.epsilon, **common
    ),
}


def build(config: optimizer_pb2.Optimizer, *, path: str = 'train_config.optimizer') -> optimizers.Optimizer:
    """The optimiser with its schedule; ConfigError names the field below `path` that is missing or out of range."""
    choice = _choice(config, 'optimizer', path, _OPTIMIZERS)
    message = getattr(config, choice)
    schedule = build_schedule(message.learning_rate, path=f'{path}.{choice}.learning_rate')
    try:
        return _OPTIMIZERS[choice](message, learning_rate=schedule, clipping_norm=config.gradient_clipping_norm)
    except ValueError as error:
        raise ConfigError(f'{path}.{choice}: {error}') from error


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
