"""Every optimiser and schedule message becomes the object it describes."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from builders import optimizer_builder
from core import adaptive_optimizers, optimizers
from core.errors import ConfigError
from core.weight_averages import WithMovingAverage
from protos import optimizer_pb2

RATE = 'learning_rate { constant_learning_rate { learning_rate: 0.5 } }'


def build(text):
    return optimizer_builder.build(text_format.Parse(text, optimizer_pb2.Optimizer()))


def rate(text, step):
    message = text_format.Parse(text, optimizer_pb2.LearningRate())
    return float(optimizer_builder.build_schedule(message)(step))


def test_momentum():
    built = build(
        f'momentum_optimizer {{ {RATE} momentum_optimizer_value: 0.7 use_nesterov: true }} gradient_clipping_norm: 3'
    )
    assert isinstance(built, optimizers.Momentum)
    assert built.momentum == pytest.approx(0.7) and built.use_nesterov and built.clipping_norm == 3
    assert built.slot_names == ('Momentum',)
    assert float(built.learning_rate(9)) == 0.5


def test_the_references_defaults():
    built = build('momentum_optimizer { learning_rate { polynomial_decay_learning_rate {} } }')
    assert isinstance(built, optimizers.Momentum)
    assert built.momentum == pytest.approx(0.9) and not built.use_nesterov and built.clipping_norm == 0
    np.testing.assert_allclose(built.learning_rate(2_000_000), 1e-4 * 0.5**0.9, rtol=1e-5)
    assert rate('constant_learning_rate {}', 0) == pytest.approx(0.002)
    assert rate('exponential_decay_learning_rate {}', 4_000_000) == pytest.approx(0.002 * 0.95)


def test_adam():
    built = build(f'adam_optimizer {{ {RATE} beta_1: 0.8 beta_2: 0.9 epsilon: 0.1 }}')
    assert type(built) is optimizers.Adam
    assert (built.beta_1, built.beta_2, built.epsilon) == pytest.approx((0.8, 0.9, 0.1))
    assert built.slot_names == ('Adam', 'Adam_1')


def test_adamw():
    built = build(f'adamw_optimizer {{ {RATE} weight_decay: 0.3 }}')
    assert isinstance(built, optimizers.AdamW)
    assert (built.weight_decay, built.beta_1, built.beta_2) == pytest.approx((0.3, 0.9, 0.999))


def test_the_others():
    built = build(
        f'rmsprop_optimizer {{ {RATE} decay: 0.8 momentum_optimizer_value: 0.7 epsilon: 0.5 centered: true }}'
    )
    assert isinstance(built, adaptive_optimizers.RMSProp)
    assert (built.decay, built.momentum, built.epsilon) == pytest.approx((0.8, 0.7, 0.5)) and built.centered
    assert build(f'rmsprop_optimizer {{ {RATE} }}').slot_names == ('RMSProp', 'RMSProp_1')
    built = build(f'adagrad_optimizer {{ {RATE} initial_accumulator_value: 0.3 }}')
    assert isinstance(built, adaptive_optimizers.Adagrad) and built.initial_accumulator == pytest.approx(0.3)
    built = build(f'adadelta_optimizer {{ {RATE} rho: 0.8 epsilon: 0.1 }}')
    assert isinstance(built, adaptive_optimizers.Adadelta) and (built.rho, built.epsilon) == pytest.approx((0.8, 0.1))
    for name, kind in (('adamax', optimizers.Adamax), ('nadam', optimizers.Nadam)):
        built = build(f'{name}_optimizer {{ {RATE} beta_1: 0.8 beta_2: 0.9 epsilon: 0.1 }}')
        assert type(built) is kind
        assert (built.beta_1, built.beta_2, built.epsilon) == pytest.approx((0.8, 0.9, 0.1))
    built = build(
        f'ftrl_optimizer {{ {RATE} learning_rate_power: -0.3 initial_accumulator_value: 0.4 '
        'l1_regularization_strength: 0.5 l2_regularization_strength: 0.6 }'
    )
    assert isinstance(built, adaptive_optimizers.Ftrl)
    assert (built.power, built.initial_accumulator, built.l1, built.l2) == pytest.approx((-0.3, 0.4, 0.5, 0.6))


def test_every_optimizer_and_schedule_of_the_schema_is_built_and_the_reverse():
    optimizer = optimizer_pb2.Optimizer.DESCRIPTOR.oneofs_by_name['optimizer']
    assert {field.name for field in optimizer.fields} == set(optimizer_builder._OPTIMIZERS)
    schedule = optimizer_pb2.LearningRate.DESCRIPTOR.oneofs_by_name['learning_rate']
    assert {field.name for field in schedule.fields} == set(optimizer_builder._SCHEDULES)


def test_clipping_by_value_and_multipliers():
    built = build(
        f'adam_optimizer {{ {RATE} }} gradient_clipping_value: 2 learning_rate_multiplier {{ scope: "a" factor: 3 }} '
        'learning_rate_multiplier { scope: "b" }'
    )
    assert built.clipping_value == 2 and built.multipliers == {'a': 3, 'b': 1}


def test_moving_averages_wrap_any_optimizer():
    message = text_format.Parse(f'adam_optimizer {{ {RATE} }}', optimizer_pb2.Optimizer())
    built = optimizer_builder.build(message, moving_average_decay=0.99)
    assert isinstance(built, WithMovingAverage) and built.decay == 0.99
    assert built.slot_names == ('Adam', 'Adam_1', 'ExponentialMovingAverage')


def test_another_schedule_instead_of_the_configs():
    message = text_format.Parse(f'adam_optimizer {{ {RATE} }}', optimizer_pb2.Optimizer())
    assert optimizer_builder.build(message, schedule=lambda step: step).learning_rate(7) == 7


def test_schedules_with_shapes_of_their_own():
    piecewise = 'piecewise_constant_learning_rate { boundary: 10 boundary: 20 learning_rate: [1, 2, 4] }'
    assert [rate(piecewise, step) for step in (10, 11, 21)] == [1, 2, 4]
    cyclic = 'base_learning_rate: 1 max_learning_rate: 3 half_cycle_steps: 10 height_factor: 0.5'
    assert [rate(f'cyclic_learning_rate {{ {cyclic} }}', step) for step in (0, 10, 15, 30)] == [1, 3, 2, 2]
    one_cycle = 'max_learning_rate: 8 total_steps: 100 rising_share: 0.5 initial_divisor: 4 final_divisor: 2'
    assert [rate(f'one_cycle_learning_rate {{ {one_cycle} }}', step) for step in (0, 50, 100)] == [2, 8, 1]
    restarts = 'initial_learning_rate: 4 first_period_steps: 10 period_factor: 3 height_factor: 0.5'
    found = [
        rate(f'cosine_restarts_learning_rate {{ {restarts} final_learning_rate: 2 }}', step) for step in (0, 5, 10)
    ]
    assert found == pytest.approx([4, 3, 3])


def test_every_schedule_with_warmup():
    warmup = 'warmup { num_steps: 10 initial_factor: 0.5 }'
    assert rate('constant_learning_rate { learning_rate: 2 }' + warmup, 0) == 1.0
    assert rate('exponential_decay_learning_rate { initial_learning_rate: 2 decay_steps: 3 }' + warmup, 0) == 1.0
    assert rate('polynomial_decay_learning_rate { initial_learning_rate: 2 decay_steps: 30 }' + warmup, 0) == 1.0
    cosine = 'cosine_decay_learning_rate { initial_learning_rate: 2 decay_steps: 30 final_learning_rate: 1 }'
    assert rate(cosine + warmup, 0) == 1.0
    assert rate(cosine, 30) == 1.0
    assert (
        rate('polynomial_decay_learning_rate { initial_learning_rate: 2 decay_steps: 4 end_learning_rate: 1 }', 9) == 1
    )


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'train_config.optimizer: not set; choose adadelta_optimizer, adagrad_optimizer, adam_optimizer, '),
        ('adam_optimizer {}', 'train_config.optimizer.adam_optimizer.learning_rate: not set; choose constant_'),
        (
            'momentum_optimizer { learning_rate { constant_learning_rate { learning_rate: -1 } } }',
            'momentum_optimizer.learning_rate.constant_learning_rate: learning_rate must be above 0, got -1',
        ),
        (f'momentum_optimizer {{ {RATE} momentum_optimizer_value: 2 }}', 'momentum_optimizer: momentum must be in'),
        (
            'adam_optimizer { learning_rate { constant_learning_rate {} warmup { num_steps: 1 initial_factor: 3 } } }',
            'learning_rate.warmup: initial_factor must be in',
        ),
    ],
)
def test_the_error_names_the_field(text, message):
    with pytest.raises(ConfigError, match=message):
        build(text)
