"""What follows a loss or gradient that is not finite: stop, skip or roll back, on one device and on two."""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from builders import optimizer_builder
from core import layers
from core.feature_extractor import FeatureExtractor
from core.losses import SoftmaxCrossEntropy
from core.model import LossTerm
from engine import checkpoints, devices
from engine.step_records import NotFiniteError
from engine.train_lib import TrainOptions, train
from engine.train_state import TrainState
from engine.train_step import make_train_step
from recompute.plan import Planner, Request
from tests import forked, tiny_training
from tests.tiny_training import build_dataset, build_model, config
from third_party import slim

SKIP = 'train_config { non_finite_policy: SKIP }'
ROLLBACK = 'train_config { non_finite_policy: ROLLBACK save_checkpoint_every_n_steps: 2 }'
ADAM = (
    'train_config { optimizer { adam_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.01 } } } } }'
)


def run(logdir, *overrides, dataset=build_dataset, model=build_model):
    options = TrainOptions(logdir=str(logdir))
    return train(config(*overrides), options, build_model=model, build_dataset=dataset)


def lines(logdir):
    return [json.loads(line) for line in Path(logdir, 'metrics.jsonl').read_text().splitlines()]


def tensors(path):
    reader = checkpoints.read(path)
    return {name: reader.tensor(name) for name in reader.shapes}


def batches(count, *, poison=()):
    """[{image, label}], of which those numbered in `poison` are NaN in one pixel."""
    made = list(build_dataset(None, batch_size=2, seed=3).take(count))
    for number in poison:
        image = made[number]['image'].numpy()
        image[1, 4, 5, 0] = np.nan
        made[number]['image'] = tf.constant(image)
    return [{name: batch[name] for name in ('image', 'label')} for batch in made]


class DeepExtractor(FeatureExtractor):
    """Enough layers that a plan has something to compute twice."""

    scope = 'tiny'
    channel_means = (128.0, 128.0, 128.0)
    channel_scale = 64.0

    def __call__(self, images):
        with tf.compat.v1.variable_scope(self.scope):
            for number in range(6):
                images = slim.conv2d(images, 4, 3, scope=f'conv{number}')
            return {'c5': images}


def tiny_model(kind, extractor, norm=layers.BatchNorm(decay=0.9)):
    return kind(
        num_classes=3,
        feature_extractor=extractor,
        hyperparams=layers.Hyperparams(initializer=slim.variance_scaling_initializer(), batch_norm=norm),
        pixel_loss=SoftmaxCrossEntropy(),
    )


def make_step(strategy, *overrides, request=None):
    train_config = config(*overrides).train_config
    optimizer = optimizer_builder.build(train_config.optimizer)
    tf.random.set_seed(1)
    with strategy.scope():
        model = tiny_model(tiny_training.TinyModel, DeepExtractor() if request else tiny_training.TinyExtractor())
        model.build()
        state = TrainState(model, optimizer)
    step = make_train_step(
        model=model,
        optimizer=optimizer,
        state=state,
        strategy=strategy,
        add_regularization_loss=True,
        planner=Planner(request) if request else None,
        skip_not_finite=train_config.non_finite_policy == train_config.SKIP,
    )
    return step, state


def values(state):
    return {name: np.asarray(tf.convert_to_tensor(tensor)) for name, tensor in state.tensors().items()}


@pytest.mark.parametrize('optimizer', ['', ADAM], ids=['momentum', 'adam'])
@pytest.mark.parametrize('nodes', [(), ('SharedFeatureExtractor/tiny/conv2',)], ids=['plain', 'recomputed'])
def test_a_skipped_step_moves_nothing_but_the_step(optimizer, nodes):
    request = Request(nodes=nodes) if nodes else None
    step, state = make_step(devices.make_strategy(num_clones=1, clone_on_cpu=True), SKIP, optimizer, request=request)
    good, bad, after = batches(3, poison=[1])
    assert float(step(good)['skipped']) == 0
    before = values(state)
    scalars = step(bad)
    assert float(scalars['skipped']) == 1 and np.isnan(float(scalars['loss']))
    skipped = values(state)
    for name, value in before.items():
        expected = value + 1 if name == 'global_step' else value
        np.testing.assert_array_equal(skipped[name], expected, err_msg=name)
    assert float(step(after)['skipped']) == 0
    moved = [name for name, value in values(state).items() if (value != before[name]).any()]
    assert any(name.endswith('moving_mean') for name in moved) and any('/Momentum' in n or '/Adam' in n for n in moved)


def test_steps_that_are_finite_are_those_of_a_run_that_skips_nothing():
    strategy = devices.make_strategy(num_clones=1, clone_on_cpu=True)
    results = []
    for policy in ('', SKIP):
        step, state = make_step(strategy, policy)
        for batch in batches(5):
            step(batch)
        results.append(values(state))
    for name, value in results[0].items():
        np.testing.assert_array_equal(value, results[1][name], err_msg=name)


def test_skipped_steps_are_counted_across_restarts_and_left_out_of_means(tmp_path, caplog):
    poisoned = functools.partial(build_dataset, poison_step=2)
    many = 'train_config { num_steps: 5 log_every_n_steps: 3 }'
    with caplog.at_level(logging.WARNING):
        assert run(tmp_path, SKIP, many, dataset=poisoned) == 5
    assert 'step 3: not finite: loss nan' in caplog.text
    assert 'files of that batch: street_4.png, street_5.png; the step is skipped' in caplog.text
    written = lines(tmp_path)
    assert [line['skipped_steps'] for line in written] == [1, 1]
    assert all(np.isfinite(list(line.values())).all() for line in written)
    later = functools.partial(build_dataset, poison_step=6)
    run(tmp_path, SKIP, 'train_config { num_steps: 8 }', dataset=later)
    assert lines(tmp_path)[-1]['skipped_steps'] == 2
    assert all(np.isfinite(value).all() for value in tensors(tmp_path).values())


def test_an_interval_of_skipped_steps_has_a_line(tmp_path):
    poisoned = functools.partial(build_dataset, poison_step=0)
    run(tmp_path, SKIP, 'train_config { num_steps: 2 log_every_n_steps: 1 }', dataset=poisoned)
    first, second = lines(tmp_path)
    assert first['skipped_steps'] == second['skipped_steps'] == 1 and 'loss' not in first and 'loss' in second


def test_more_skipped_steps_than_allowed_end_the_run(tmp_path):
    poisoned = functools.partial(build_dataset, poison_step=2)
    with pytest.raises(NotFiniteError, match=r'1 steps were skipped .* more than train_config.max_skipped_steps = 0'):
        run(tmp_path, SKIP, 'train_config { max_skipped_steps: 0 }', dataset=poisoned)


def test_rolled_back_to_the_last_good_checkpoint_and_other_batches(tmp_path, caplog):
    """The poison is in one draw of the data only, as a rare combination of examples would be."""

    def poisoned(config, *, batch_size, seed, first_step=0):
        return build_dataset(
            config, batch_size=batch_size, seed=seed, first_step=first_step, poison_step=4 if seed == 3 else -1
        )

    with caplog.at_level(logging.WARNING):
        assert run(tmp_path, ROLLBACK, dataset=poisoned) == 6
    assert 'step 5: not finite' in caplog.text
    assert f'rolled back to {tmp_path / "model.ckpt-4"}, time 1 of at most 3' in caplog.text
    assert [(line['step'], line['rollbacks']) for line in lines(tmp_path)] == [(2, 0), (4, 0), (6, 1)]
    stored = tensors(tmp_path)
    assert stored['training/rollbacks'] == 1 and stored['global_step'] == 6
    before = tensors(tmp_path / 'model.ckpt-6')
    run(tmp_path, ROLLBACK, 'train_config { num_steps: 9 }', dataset=poisoned)
    assert lines(tmp_path)[-1]['rollbacks'] == 1
    assert (tensors(tmp_path)['Predictions/Conv/weights'] != before['Predictions/Conv/weights']).any()


def test_rolled_back_before_the_first_checkpoint(tmp_path):
    def poisoned(config, *, batch_size, seed, first_step=0):
        step = 0 if seed == 3 else -1
        return build_dataset(config, batch_size=batch_size, seed=seed, first_step=first_step, poison_step=step)

    run(tmp_path, 'train_config { non_finite_policy: ROLLBACK }', dataset=poisoned)
    assert lines(tmp_path)[-1]['rollbacks'] == 1


def test_more_rollbacks_than_allowed_end_the_run(tmp_path):
    poisoned = functools.partial(build_dataset, poison_step=4)
    with pytest.raises(NotFiniteError) as caught:
        run(tmp_path, ROLLBACK, 'train_config { max_rollbacks: 2 }', dataset=poisoned)
    assert 'rolled back 2 times before (train_config.max_rollbacks)' in str(caught.value)
    assert checkpoints.latest(tmp_path) == str(tmp_path / 'model.ckpt-4')


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """The last update may overflow although its loss and gradient are finite."""
    huge = (
        'train_config { num_steps: 1 optimizer { momentum_optimizer '
        '{ learning_rate { constant_learning_rate { learning_rate: 3e38 } } } } }'
    )

    class Steep(tiny_training.TinyModel):
        @property
        def loss_terms(self):
            return (LossTerm(name='loss', head='logits', weight=1000.0),)

    with pytest.raises(
        NotFiniteError, match=r'step 1: \d+ variables are not finite, .* last good checkpoint: none yet'
    ):
        run(tmp_path, huge, model=lambda config, **_: tiny_model(Steep, tiny_training.TinyExtractor()))
    assert checkpoints.latest(tmp_path) is None


def split(strategy, batch):
    """An image for each of the devices."""
    return {
        name: strategy.experimental_distribute_values_from_function(
            lambda context, value=value: value[context.replica_id_in_sync_group :][:1]
        )
        for name, value in batch.items()
    }


def skip_on_two_devices():
    """In a process of its own, whose CPU is made two devices."""
    strategy = devices.make_strategy(num_clones=2, clone_on_cpu=True)
    step, state = make_step(strategy, SKIP)
    good, bad, after = (split(strategy, batch) for batch in batches(3, poison=[1]))
    assert float(step(good)['skipped']) == 0

    def copies():
        named, local = {**state.variables, **state._named_slots()}, strategy.experimental_local_results
        return {(name, i): copy.numpy() for name, v in named.items() for i, copy in enumerate(local(v))}

    before = copies()
    assert len(before) == 2 * (len(state.variables) + len(state.trainable)), len(before)
    assert float(step(bad)['skipped']) == 1
    for key, value in copies().items():
        np.testing.assert_array_equal(value, before[key], err_msg=str(key))
    assert float(step(after)['skipped']) == 0
    assert sum((value != before[key]).any() for key, value in copies().items()) > 6
    print('both copies are as they were')


def test_a_pixel_on_one_of_two_devices_skips_the_step_on_both():
    assert 'both copies are as they were' in forked.run(skip_on_two_devices)
