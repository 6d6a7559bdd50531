"""Training in this process, with a tiny network: what is trained, written, restored and refused."""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from core import processor
from core.errors import CheckpointError, DataError, UsageError
from engine import checkpoints, devices
from engine.step_records import NotFiniteError
from engine.train_lib import TrainOptions, train
from tests import tiny_training
from tests.tiny_training import build_dataset, build_model, config

BACKBONE = 'SharedFeatureExtractor/'


def run(logdir, *overrides, dataset=build_dataset, **options):
    return train(
        config(*overrides),
        TrainOptions(logdir=str(logdir), **options),
        build_model=build_model,
        build_dataset=dataset,
    )


def lines(logdir):
    return [json.loads(line) for line in Path(logdir, 'metrics.jsonl').read_text().splitlines()]


def tensors(logdir):
    reader = checkpoints.read(logdir)
    return {name: reader.tensor(name) for name in reader.shapes}


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """60 steps, saved every 20."""
    logdir = tmp_path_factory.mktemp('trained')
    step = run(logdir, 'train_config { num_steps: 60 save_checkpoint_every_n_steps: 20 summary_every_n_steps: 30 }')
    assert step == 60
    return logdir


def test_it_learns(trained):
    losses = [line['loss'] for line in lines(trained)]
    assert losses[-1] < 0.6 * losses[0]


def test_metrics_hold_every_loss_by_name(trained):
    written = lines(trained)
    assert [line['step'] for line in written] == list(range(2, 61, 2))
    assert set(written[0]) == {
        *('step', 'loss', 'regularization_loss', 'total_loss'),
        *('gradient_norm', 'learning_rate', 'images_per_second'),
    }
    for line in written:
        assert line['total_loss'] == pytest.approx(line['loss'] + line['regularization_loss'], rel=1e-5)
        assert line['learning_rate'] == pytest.approx(0.05) and line['images_per_second'] > 0


def test_the_step_that_is_compiled_has_no_speed(tmp_path, caplog):
    caplog.set_level('INFO')
    run(tmp_path, 'train_config { num_steps: 3 log_every_n_steps: 1 }')
    assert ['images_per_second' in line for line in lines(tmp_path)] == [False, True, True]
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith('step ')]
    assert ['images/s' in line for line in said] == [False, True, True]
    assert said[0].startswith('step 1/3: loss ') and 'learning rate 0.05' in said[0]
    run(tmp_path, 'train_config { num_steps: 5 log_every_n_steps: 1 }')  # another process compiles again
    assert ['images_per_second' in line for line in lines(tmp_path)] == [False, True, True, False, True]


def test_a_checkpoint_holds_variables_slots_and_step(trained):
    stored = tensors(trained)
    assert stored['global_step'] == 60 and stored['global_step'].dtype == np.int64
    assert stored['Predictions/Conv/weights/Momentum'].shape == stored['Predictions/Conv/weights'].shape
    moving = f'{BACKBONE}tiny/conv1/BatchNorm/moving_mean'
    assert moving in stored and f'{moving}/Momentum' not in stored
    assert stored[moving].any()


def test_the_log_directory_is_complete(trained):
    assert [checkpoints.step_of(p) for p in checkpoints.all_checkpoints(trained)] == [20, 40, 60]
    assert 'num_steps: 60' in (trained / 'pipeline.config').read_text()
    assert list(trained.glob('events.out.tfevents.*')) and not list(trained.glob('unfinished*'))


def test_tensorboard_shows_the_losses(trained):
    (events,) = trained.glob('events.out.tfevents.*')
    found = {
        (value.tag, event.step)
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    assert ('losses/total_loss', 60) in found and ('train/learning_rate', 60) in found


def test_two_runs_are_equal_and_another_seed_is_not(tmp_path, trained):
    run(tmp_path / 'again')
    run(tmp_path / 'other', 'train_config { random_seed: 4 }')
    again = [line['total_loss'] for line in lines(tmp_path / 'again')]
    assert again == [line['total_loss'] for line in lines(trained)][:3]
    assert again != [line['total_loss'] for line in lines(tmp_path / 'other')]


def test_a_resumed_run_ends_bit_equal(tmp_path, trained):
    run(tmp_path, 'train_config { num_steps: 33 }')
    run(tmp_path, 'train_config { num_steps: 60 }')
    straight = tensors(trained)
    for name, value in tensors(tmp_path).items():
        np.testing.assert_array_equal(value, straight[name], err_msg=name)
    steps = [line['step'] for line in lines(tmp_path)]
    assert steps == sorted(set(steps)) and steps[-1] == 60


def test_metrics_after_the_resumed_step_are_dropped(tmp_path):
    run(tmp_path, 'train_config { num_steps: 4 }')
    with open(tmp_path / 'metrics.jsonl', 'a') as file:
        file.write('{"step": 6, "total_loss": 99}\n{"step": 8, "tot')
    run(tmp_path, 'train_config { num_steps: 6 }')
    assert [line['step'] for line in lines(tmp_path)] == [2, 4, 6]
    assert lines(tmp_path)[-1]['total_loss'] < 99


def test_nothing_left_to_do(tmp_path):
    run(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert run(tmp_path) == 6
    assert sorted(tmp_path.iterdir()) == before


def test_rotation(tmp_path):
    run(tmp_path, 'train_config { save_checkpoint_every_n_steps: 1 }', max_checkpoints_to_keep=2)
    assert [checkpoints.step_of(p) for p in checkpoints.all_checkpoints(tmp_path)] == [5, 6]


def test_save_interval_secs(tmp_path):
    run(tmp_path, save_interval_secs=1e-9)
    assert [checkpoints.step_of(p) for p in checkpoints.all_checkpoints(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_damaged_newest_is_reported_and_the_one_before_used(tmp_path, caplog):
    run(tmp_path, 'train_config { save_checkpoint_every_n_steps: 2 }')
    data = tmp_path / 'model.ckpt-6.data-00000-of-00001'
    data.write_bytes(data.read_bytes()[:-9])
    with caplog.at_level(logging.INFO):
        run(tmp_path, 'train_config { num_steps: 8 }')
    assert 'model.ckpt-6: the checkpoint is damaged' in caplog.text
    assert 'resumed from' in caplog.text and 'model.ckpt-4' in caplog.text
    assert [line['step'] for line in lines(tmp_path)] == [2, 4, 6, 8]
    assert checkpoints.latest(tmp_path) == str(tmp_path / 'model.ckpt-8')
    assert (tmp_path / 'model.ckpt-6.damaged-index').exists()


def test_all_checkpoints_damaged_is_an_error_not_a_new_start(tmp_path):
    run(tmp_path)
    (tmp_path / 'model.ckpt-6.index').write_bytes(b'')
    with pytest.raises(CheckpointError, match='its only checkpoint is damaged; choose a new --logdir'):
        run(tmp_path)


def test_a_log_directory_of_another_model_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(CheckpointError, match=r'(?s)Predictions/Conv/biases: \[3\].*\[5\].*holds another training'):
        run(tmp_path, 'model { icnet { num_classes: 5 } } train_config { num_steps: 9 }')


def test_another_optimizer_resumes_with_fresh_slots(tmp_path, caplog):
    run(tmp_path)
    with caplog.at_level(logging.WARNING):
        run(
            tmp_path,
            'train_config { num_steps: 8 optimizer { adam_optimizer '
            '{ learning_rate { constant_learning_rate { learning_rate: 0.001 } } } } }',
        )
    assert 'optimiser slots are not in it' in caplog.text
    assert 'Predictions/Conv/weights/Adam_1' in tensors(tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    poisoned = functools.partial(build_dataset, poison_step=4)
    with pytest.raises(NotFiniteError) as caught:
        run(tmp_path, 'train_config { log_every_n_steps: 3 save_checkpoint_every_n_steps: 2 }', dataset=poisoned)
    message = str(caught.value)
    assert 'step 5: not finite' in message and 'total_loss nan' in message
    assert 'street_8.png, street_9.png' in message
    assert f'last good checkpoint: {tmp_path / "model.ckpt-4"}' in message
    assert checkpoints.latest(tmp_path) == str(tmp_path / 'model.ckpt-4')


def test_damaged_data_saves_what_was_learnt(tmp_path):
    def breaks(config, *, batch_size, seed, first_step=0):
        good = build_dataset(config, batch_size=batch_size, seed=seed).take(3)
        bad = good.take(1).map(lambda example: {**example, 'image': example['image'] + broken(example)})
        return good.concatenate(bad)

    def broken(example):
        with tf.control_dependencies([tf.debugging.Assert(False, ['cat.png: the label is missing'])]):
            return tf.zeros_like(example['image'])

    with pytest.raises(DataError, match=r'cat.png: the label is missing'):
        run(tmp_path, dataset=breaks)
    assert checkpoints.latest(tmp_path) == str(tmp_path / 'model.ckpt-3')


def test_the_end_of_the_records_ends_the_run(tmp_path, caplog):
    def three(config, **arguments):
        return build_dataset(config, **arguments).take(3)

    with caplog.at_level(logging.INFO):
        assert run(tmp_path, 'train_config { num_steps: 0 }', dataset=three) == 3
    assert 'the records ended' in caplog.text
    assert [line['step'] for line in lines(tmp_path)] == [2, 3]


def test_no_regularization_when_it_is_not_added(tmp_path):
    run(tmp_path, 'train_config { add_regularization_loss: false }')
    assert 'regularization_loss' not in lines(tmp_path)[0]
    assert lines(tmp_path)[0]['total_loss'] == lines(tmp_path)[0]['loss']


def test_clipping_bounds_the_first_step(tmp_path):
    """The first momentum accumulator is the gradient itself."""
    run(tmp_path, 'train_config { num_steps: 1 optimizer { gradient_clipping_norm: 0.01 } }')
    slots = [value for name, value in tensors(tmp_path).items() if name.endswith('/Momentum')]
    assert np.sqrt(sum((slot**2).sum() for slot in slots)) == pytest.approx(0.01, rel=1e-4)
    run_line = lines(tmp_path)[0]
    assert run_line['gradient_norm'] > 0.01


def fine_tune(kind, path):
    return f'train_config {{ fine_tune_checkpoint: "{path}" fine_tune_checkpoint_type: "{kind}" num_steps: 1 }}'


def test_a_frozen_backbone_is_bit_equal_after_training(tmp_path, trained):
    run(
        tmp_path,
        fine_tune('segmentation', trained),
        'train_config { freeze_fine_tune_backbone: true num_steps: 5 }',
    )
    before, after = tensors(trained), tensors(tmp_path)
    backbone = [name for name in after if name.startswith(BACKBONE)]
    assert len(backbone) == 5 and not [name for name in backbone if name.endswith('Momentum')]
    for name in backbone:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    assert (after['Predictions/Conv/weights'] != before['Predictions/Conv/weights']).any()


def test_from_a_segmentation_checkpoint_of_another_class_count(tmp_path, trained, caplog):
    with caplog.at_level(logging.INFO):
        run(
            tmp_path,
            fine_tune('segmentation', trained / 'model.ckpt-40'),
            'model { icnet { num_classes: 4 } } train_config { freeze_fine_tune_backbone: true }',
        )
    assert 'Predictions/Conv/biases: [3] in the checkpoint, [4] in the model' in caplog.text
    assert 'global_step' not in caplog.text
    name = f'{BACKBONE}tiny/conv1/weights'
    np.testing.assert_array_equal(tensors(tmp_path)[name], checkpoints.read(trained / 'model.ckpt-40').tensor(name))


def test_from_a_classification_checkpoint(tmp_path, trained):
    """Slim's ImageNet checkpoints name the backbone's variables without its scope."""
    stored = {n.removeprefix(BACKBONE): v for n, v in tensors(trained).items() if n.startswith(BACKBONE)}
    path = checkpoints.write(tmp_path / 'imagenet' / 'resnet.ckpt', stored)
    run(tmp_path / 'run', fine_tune('classification', path), 'train_config { freeze_fine_tune_backbone: true }')
    after = tensors(tmp_path / 'run')
    name = 'tiny/conv1/BatchNorm/moving_variance'
    np.testing.assert_array_equal(after[BACKBONE + name], stored[name])


def test_finetune_leaves_the_classifier_out(tmp_path, trained, caplog):
    with caplog.at_level(logging.INFO):
        run(tmp_path, fine_tune('segmentation-finetune', trained))
    assert '5 variables restored' in caplog.text


def test_a_checkpoint_with_nothing_in_common_is_refused(tmp_path):
    path = checkpoints.save(tmp_path / 'theirs', 1, {'vgg/conv1': np.zeros(3, np.float32)})
    with pytest.raises(CheckpointError, match='no variable of the model is in this checkpoint'):
        run(tmp_path / 'run', fine_tune('classification', path))


def test_a_checkpoint_of_the_other_kind_is_answered_with_that_kind(tmp_path, trained):
    stored = {n.removeprefix(BACKBONE): v for n, v in tensors(trained).items() if n.startswith(BACKBONE)}
    imagenet = checkpoints.write(tmp_path / 'imagenet' / 'resnet.ckpt', stored)
    cases = (('classification', trained, 'segmentation'), ('segmentation', imagenet, 'classification'))
    for kind, path, other in cases:
        with pytest.raises(CheckpointError, match=f"set train_config.fine_tune_checkpoint_type: '{other}'"):
            run(tmp_path / 'run', fine_tune(kind, path))


def test_a_strict_config_refuses_another_class_count_but_not_what_the_kind_leaves_out(tmp_path, trained):
    strict = 'model { icnet { num_classes: 4 } } train_config { fine_tune_checkpoint_strict: true }'
    with pytest.raises(CheckpointError, match=r'does not fit the model\n(.|\n)*biases: \[3\] in the checkpoint, \[4\]'):
        run(tmp_path / 'refused', fine_tune('segmentation', trained), strict)
    assert not checkpoints.all_checkpoints(tmp_path / 'refused')
    assert run(tmp_path / 'taken', fine_tune('segmentation-finetune', trained), strict) == 1


def test_a_missing_fine_tune_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match='no such checkpoint'):
        run(tmp_path / 'run', fine_tune('segmentation', tmp_path / 'model.ckpt-1'))


def test_image_summaries_show_image_label_and_prediction(tmp_path):
    run(tmp_path, 'train_config { summary_every_n_steps: 3 }', image_summaries=True)
    (events,) = tmp_path.glob('events.out.tfevents.*')
    shown = [
        tf.make_ndarray(value.tensor)
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
        if value.tag == 'training_examples'
    ]
    assert len(shown) == 2
    width, height, *encoded = shown[0]
    assert (int(width), int(height), len(encoded)) == (3 * tiny_training.WIDTH, tiny_training.HEIGHT, 2)


def test_bfloat16_gives_similar_losses_and_float32_variables(tmp_path, trained):
    run(tmp_path, 'train_config { mixed_precision: BFLOAT16 }')
    ours, exact = lines(tmp_path), lines(trained)
    for line, reference in zip(ours, exact, strict=False):
        assert line['total_loss'] == pytest.approx(reference['total_loss'], rel=0.02)
    assert tensors(tmp_path)['Predictions/Conv/weights'].dtype == np.float32


def test_bfloat16_is_left_where_the_processor_would_emulate_it(monkeypatch, caplog):
    monkeypatch.setattr(processor, 'has_bfloat16', lambda: False)
    with devices.graph_options_kept():
        assert not devices.use_bfloat16(True)
        assert not devices.computes_in_16_bits()
        (record,) = caplog.records
        assert 'this one lacks; computing in FLOAT32' in record.getMessage()
        monkeypatch.setattr(processor, 'has_bfloat16', lambda: True)
        assert devices.use_bfloat16(True)
        assert devices.computes_in_16_bits()
        assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ('override', 'options', 'message'),
    [
        ('train_config { batch_size: 3 }', {'num_clones': 1, 'max_checkpoints_to_keep': 1}, ''),
        ('', {'num_clones': 0}, '--num_clones: got 0, choose 1 or more'),
        ('', {'num_clones': 9}, '--num_clones: got 9, but there are'),
    ],
)
def test_options_that_do_not_fit(tmp_path, override, options, message):
    if not message:
        assert run(tmp_path, override, **options) == 6
        return
    with pytest.raises(UsageError, match=message):
        run(tmp_path, override, **options)
