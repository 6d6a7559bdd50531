"""Every optimiser and schedule message becomes the object it describes."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from builders import optimizer_builder
from core import optimizers
from core.errors import ConfigError
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
        ('', 'train_config.optimizer: not set; choose adam_optimizer, adamw_optimizer, momentum_optimizer'),
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
