"""Dynamic loss scaling: exact where nothing overflows, and told apart from losses that are not finite."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from builders import optimizer_builder
from core import schedules
from core.errors import UsageError
from core.feature_extractor import FeatureExtractor
from core.model import LossTerm
from core.optimizers import Momentum
from engine import checkpoints, devices
from engine.loss_scale import LossScale
from engine.step_records import NotFiniteError
from engine.train_lib import TrainOptions, train
from engine.train_state import TrainState
from engine.train_step import make_train_step
from tests import forked, tiny_training
from tests.engine import test_not_finite
from tests.tiny_training import build_dataset, build_model, config

FLOAT16 = 'train_config {{ mixed_precision: FLOAT16 {} }}'


def twin(overflows, *, scale, growth):
    """What `LossScale.move` does, in Python."""
    good, scales = 0, []
    for overflow in overflows:
        if overflow:
            scale, good = max(scale / 2, 1.0), 0
        elif good + 1 >= growth:
            scale, good = (scale * 2 if np.isfinite(np.float32(scale * 2)) else scale), 0
        else:
            good += 1
        scales.append((scale, good))
    return scales


@pytest.mark.parametrize(('scale', 'growth', 'rate'), [(2.0**15, 3, 0.2), (4.0, 1, 0.6), (2.0**126, 2, 0.1)])
def test_the_scale_moves_as_a_twin_in_python(scale, growth, rate):
    overflows = np.random.default_rng(0).random(60) < rate
    loss_scale = LossScale(initial_scale=scale, dynamic_growth_steps=growth)
    move = tf.function(loss_scale.move, autograph=False)
    found = []
    for overflow in overflows:
        move(tf.constant(bool(overflow)))
        found.append((float(loss_scale.scale), int(loss_scale.good_steps)))
    with np.errstate(over='ignore'):
        assert found == twin(overflows, scale=scale, growth=growth)


@pytest.mark.parametrize('settings', [{'initial_scale': 0.5}, {'dynamic_growth_steps': 0}])
def test_nonsense_is_refused(settings):
    with pytest.raises(ValueError, match='must be 1 or more'):
        LossScale(**settings)


class Steep(tiny_training.TinyModel):
    """Gradients so large that the largest scales are too large for them, also in float32."""

    @property
    def loss_terms(self):
        return (LossTerm(name='loss', head='logits', weight=1000.0),)


build_steep = functools.partial(build_model, kind=Steep)


def make(initial_scale=None, *overrides, growth=2000, build_model=build_model, **settings):
    """(step, state); without a scale for None."""
    strategy = devices.make_strategy()
    message = config(*overrides)
    optimizer = optimizer_builder.build(message.train_config.optimizer)
    tf.random.set_seed(1)
    with strategy.scope():
        model = build_model(message.model)
        model.build()
        scale = LossScale(initial_scale=initial_scale, dynamic_growth_steps=growth) if initial_scale else None
        state = TrainState(model, optimizer, loss_scale=scale)
    step = make_train_step(
        model=model, optimizer=optimizer, state=state, strategy=strategy, add_regularization_loss=True, **settings
    )
    return step, state


def batches(count):
    made = build_dataset(None, batch_size=2, seed=3).take(count)
    return [{name: batch[name] for name in ('image', 'label')} for batch in made]


def values(state):
    return {name: np.array(tf.convert_to_tensor(tensor)) for name, tensor in state.tensors().items()}


CLIPPED = """train_config { optimizer { gradient_clipping_norm: 0.5 adam_optimizer {
  learning_rate { constant_learning_rate { learning_rate: 0.01 } } } } }"""


@pytest.mark.parametrize('num_parts', [1, 2])
def test_where_nothing_overflows_not_a_bit_changes(num_parts):
    plain, scaled = make(None, CLIPPED, num_parts=num_parts), make(2.0**15, CLIPPED, growth=2, num_parts=num_parts)
    for batch in batches(5):
        expected, found = plain[0](batch), scaled[0](batch)
        assert float(found['overflow']) == 0
        for name, value in expected.items():
            assert float(found[name]) == float(value), name
    assert scaled[1].loss_scale and float(scaled[1].loss_scale.scale) == 2.0**17
    after = values(scaled[1])
    for name, value in values(plain[1]).items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


@pytest.mark.parametrize(('num_parts', 'skips'), [(1, False), (1, True), (2, False)])
def test_an_overflow_moves_the_scale_and_no_weight(num_parts, skips):
    step, state = make(2.0**127, build_model=build_steep, num_parts=num_parts, skip_not_finite=skips)
    assert state.loss_scale
    before, (batch,) = values(state), batches(1)
    overflows = 0
    while float((scalars := step(batch))['overflow']):
        overflows += 1
        assert np.isfinite(float(scalars['total_loss'])) and not np.isfinite(float(scalars['gradient_norm']))
        assert float(scalars['loss_scale']) == 2.0 ** (128 - overflows) and not float(scalars.get('skipped', 0))
        now = values(state)
        for name in [*state.trainable, *(n for n in before if n.endswith('Momentum'))]:
            np.testing.assert_array_equal(now[name], before[name], err_msg=name)
    assert 0 < overflows < 20
    assert float(state.loss_scale.scale) == 2.0 ** (127 - overflows)
    now = values(state)
    assert any((now[name] != before[name]).any() for name in state.trainable)
    assert int(now['global_step']) == overflows + 1


@pytest.mark.parametrize('skips', [False, True])
def test_at_the_floor_and_with_a_loss_that_is_not_finite_it_is_no_overflow(skips):
    for initial_scale, value in ((1.0, np.inf), (2.0**15, np.nan)):
        step, state = make(initial_scale, skip_not_finite=skips)
        assert state.loss_scale
        (batch,), before = batches(1), values(state)
        image = batch['image'].numpy()
        image[1, 4, 5, 0] = value
        scalars = step({**batch, 'image': tf.constant(image)})
        assert float(scalars['overflow']) == 0 and float(state.loss_scale.scale) == max(1.0, initial_scale)
        assert float(scalars.get('skipped', 1)) == 1
        for name in state.trainable:
            np.testing.assert_array_equal(values(state)[name], before[name], err_msg=name)


@pytest.fixture
def without_gpu(monkeypatch):
    """The machine of the tests has none: everything but the number format itself."""
    monkeypatch.setattr(devices, 'use_float16', lambda enabled: None)


def run(logdir, *overrides, dataset=build_dataset, build_model=build_model):
    options = TrainOptions(logdir=str(logdir))
    return train(config(*overrides), options, build_model=build_model, build_dataset=dataset)


def tensors(path):
    reader = checkpoints.read(path)
    return {name: reader.tensor(name) for name in reader.shapes}


def lines(logdir):
    return [json.loads(line) for line in Path(logdir, 'metrics.jsonl').read_text().splitlines()]


def test_scale_and_overflows_are_counted_logged_and_resumed(tmp_path, without_gpu):
    override = FLOAT16.format('num_steps: 24 loss_scale { initial_scale: 1.7014118e38 dynamic_growth_steps: 5 }')
    slow = """train_config { optimizer { momentum_optimizer {
      learning_rate { constant_learning_rate { learning_rate: 0.00001 } } } } }"""
    run(tmp_path / 'whole', override, slow, build_model=build_steep)
    run(tmp_path / 'parts', override, slow, 'train_config { num_steps: 7 }', build_model=build_steep)
    run(tmp_path / 'parts', override, slow, build_model=build_steep)
    whole, parts = tensors(tmp_path / 'whole'), tensors(tmp_path / 'parts')
    assert set(whole) == set(parts)
    for name, value in whole.items():
        np.testing.assert_array_equal(value, parts[name], err_msg=name)
    last = lines(tmp_path / 'whole')[-1]
    assert last['overflow_steps'] == int(whole['training/overflow_steps']) > 3
    assert last['overflow_steps'] == lines(tmp_path / 'parts')[-1]['overflow_steps']
    assert last['loss_scale'] > 1 and np.log2(last['loss_scale']) % 1 == 0
    assert np.isfinite([line['gradient_norm'] for line in lines(tmp_path / 'whole') if 'gradient_norm' in line]).all()


def test_a_loss_that_is_not_finite_ends_the_run_at_once(tmp_path, without_gpu):
    def poisoned(*args, **kwargs):
        return build_dataset(*args, poison_step=2, **kwargs)

    with pytest.raises(NotFiniteError, match='step 3: not finite'):
        run(tmp_path, FLOAT16.format(''), dataset=poisoned)


def test_without_a_gpu_it_is_refused_in_one_line(tmp_path):
    with pytest.raises(UsageError) as caught:
        run(tmp_path, FLOAT16.format(''))
    assert str(caught.value) == (
        'train_config.mixed_precision: got FLOAT16, for which a GPU is needed, and there is none; choose FLOAT32, '
        'or BFLOAT16 on a CPU that has it'
    )


class Convolution(FeatureExtractor):
    """One convolution in a number format of its own, gradients included; its kernel is a float32 variable."""

    scope = 'tiny'
    channel_means = (128.0, 128.0, 128.0)
    channel_scale = 64.0
    number_format = tf.float32

    def __call__(self, images):
        draw = tf.compat.v1.random_normal_initializer(0, 0.2, seed=1)
        with tf.compat.v1.variable_scope(self.scope):
            kernel = tf.compat.v1.get_variable('weights', [3, 3, 3, 4], initializer=draw)
        given, kernel = (tf.cast(tensor, self.number_format) for tensor in (images, kernel))
        return {'c5': tf.cast(tf.nn.conv2d(given, kernel, 1, 'SAME'), tf.float32)}


class HalfConvolution(Convolution):
    """As a GPU computes it."""

    number_format = tf.float16


class Faint(tiny_training.TinyModel):
    """Its loss is so small that gradients of single pixels are below what float16 can hold."""

    @property
    def loss_terms(self):
        return (LossTerm(name='loss', head='logits', weight=1e-6),)


def kernel_gradient(initial_scale, extractor):
    """What the first step would move the kernel by."""
    strategy = devices.make_strategy()
    optimizer = Momentum(learning_rate=schedules.constant(learning_rate=1.0), momentum=0.0)
    tf.random.set_seed(1)
    with strategy.scope():
        model = test_not_finite.tiny_model(Faint, extractor)
        model.build()
        state = TrainState(model, optimizer, loss_scale=LossScale(initial_scale=initial_scale))
    step = make_train_step(
        model=model, optimizer=optimizer, state=state, strategy=strategy, add_regularization_loss=False
    )
    assert float(step(batches(1)[0])['overflow']) == 0
    return values(state)['SharedFeatureExtractor/tiny/weights/Momentum']


def test_float16_gradients_that_would_vanish_are_kept():
    exact = kernel_gradient(1.0, Convolution())
    scaled, plain = kernel_gradient(2.0**15, HalfConvolution()), kernel_gradient(1.0, HalfConvolution())
    size = np.abs(exact).max()
    assert size > 0
    assert np.abs(scaled - exact).max() < 0.01 * size
    assert np.abs(plain - exact).max() > 0.5 * size


def overflow_on_two_devices():
    """In a process of its own, whose CPU is made two devices."""
    tf.random.set_seed(1)
    two = devices.make_strategy(num_clones=2, clone_on_cpu=True)
    devices.make_strategy = lambda: two
    step, state = make(2.0**127, build_model=build_steep)
    assert state.loss_scale
    seen = [float(step(test_not_finite.split(two, batch))['overflow']) for batch in batches(20)]
    scales = [float(copy) for copy in two.experimental_local_results(state.loss_scale.scale)]
    assert seen[0] == 1 and set(seen) == {0.0, 1.0}, seen
    assert scales == [2.0 ** (127 - sum(seen))] * 2, scales
    print('both copies fell alike')


def test_two_devices_scale_alike():
    assert 'both copies fell alike' in forked.run(overflow_on_two_devices)
