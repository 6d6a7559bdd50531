"""Training in processes of its own: killed and resumed, asked to stop, and on two devices."""

from __future__ import annotations

import json
import logging
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from engine import checkpoints, eval_results
from engine.eval_lib import Evaluator
from engine.train_lib import TrainOptions, train
from tests import forked, tiny_run, tiny_training

ENDLESS = 'train_config { num_steps: 0 log_every_n_steps: 5 save_checkpoint_every_n_steps: 10 }'


def start(logdir, override, num_clones=1):
    return forked.Process(tiny_training.main, str(logdir), override, str(num_clones))


def wait_for(process, condition):
    """Polls until `condition()`; fails if the process ends before."""
    deadline = time.monotonic() + forked.PATIENCE_SECONDS
    while not condition():
        if process.code is not None or time.monotonic() > deadline:
            process.send_signal(signal.SIGKILL)
            pytest.fail(f'ended with {process.code} before it happened: {process.errors}')
        time.sleep(0.02)


def go_on(logdir, *overrides):
    """The same command again, in this process."""
    return train(
        tiny_training.config(*overrides),
        TrainOptions(logdir=str(logdir)),
        build_model=tiny_training.build_model,
        build_dataset=tiny_training.build_dataset,
    )


def finish(process):
    return process.finish(), process.errors


def lines(logdir):
    return [json.loads(line) for line in Path(logdir, 'metrics.jsonl').read_text().splitlines()]


def test_killed_in_the_middle_and_resumed(tmp_path, caplog):
    process = start(tmp_path, ENDLESS)
    wait_for(process, lambda: len(checkpoints.all_checkpoints(tmp_path)) >= 2)
    process.send_signal(signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL

    newest = checkpoints.latest(tmp_path)
    assert newest
    step = checkpoints.step_of(newest)
    assert step is not None
    checkpoints.read(newest).verify()
    last = step + 10
    with caplog.at_level(logging.INFO):
        assert go_on(tmp_path, f'train_config {{ num_steps: {last} log_every_n_steps: 5 }}') == last
    assert f'resumed from {newest}' in caplog.text
    assert [line['step'] for line in lines(tmp_path)] == list(range(5, last + 1, 5))
    assert checkpoints.read(tmp_path).tensor('global_step') == last
    assert not list(tmp_path.glob('unfinished*'))


def test_killed_between_evaluations_and_resumed(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (tiny_training.HEIGHT, tiny_training.WIDTH, 3), np.uint8)
    tiny_run.write_records(tmp_path / 'eval.tfrecord', [image], [image.argmax(-1).astype(np.uint8)], ['a.png'])
    reader = f'eval_input_reader {{ tf_record_input_reader {{ input_path: "{tmp_path}/eval.tfrecord" }} }}'
    logdir = tmp_path / 'run'

    def evaluated():
        return eval_results.evaluated_steps(str(logdir / 'evaluation'))

    process = start(logdir, f'train_config {{ num_steps: 0 log_every_n_steps: 5 eval_interval: 3 }} {reader}')
    wait_for(process, lambda: len(evaluated()) >= 2)
    process.send_signal(signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL

    before = {step: (logdir / 'evaluation' / f'metrics-{step}.json').read_text() for step in evaluated()}
    last = max(before) + 5
    assert go_on(logdir, f'train_config {{ num_steps: {last} eval_interval: 3 }} {reader}') == last
    assert evaluated() == sorted({*range(3, last + 1, 3), last})
    for step, text in before.items():
        assert (logdir / 'evaluation' / f'metrics-{step}.json').read_text() == text
    scored = [line['step'] for line in lines(logdir) if 'eval/mean_iou' in line]
    assert scored == evaluated()
    kept = json.loads((logdir / 'best' / 'best.json').read_text())
    checkpoints.read(logdir / 'best' / kept['checkpoint']).verify()


# `test_cluster_process.py` sends the other one.
@pytest.mark.parametrize('number', [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGINT])
def test_asked_to_stop(tmp_path, number):
    process = start(tmp_path, ENDLESS)
    wait_for(process, lambda: checkpoints.latest(tmp_path))
    process.send_signal(number)
    code, errors = finish(process)
    assert code == 0, errors
    step = int(checkpoints.read(tmp_path).tensor('global_step'))
    assert lines(tmp_path)[-1]['step'] == step
    assert f'{number.name}: stopped after step {step}, saved as' in errors
    assert 'the same command goes on from there' in errors


def test_two_replicas_train_as_one(tmp_path):
    """Without batch statistics, halves of a batch add up to the whole."""
    override = 'train_config { freeze_fine_tune_backbone: true num_steps: 8 }'
    code, errors = finish(start(tmp_path / 'two', override, num_clones=2))
    assert code == 0, errors
    go_on(tmp_path / 'one', override)
    for two, one in zip(lines(tmp_path / 'two'), lines(tmp_path / 'one'), strict=True):
        for name in ('loss', 'regularization_loss', 'total_loss', 'gradient_norm', 'learning_rate'):
            assert two[name] == pytest.approx(one[name], rel=1e-4), name


def test_two_replicas_move_the_averages_and_are_evaluated_as_saved(tmp_path):
    """What is scored during training is the checkpoint's weights: both replicas' variables, once each."""
    rng = np.random.default_rng(5)
    images = [rng.integers(0, 256, (tiny_training.HEIGHT, tiny_training.WIDTH, 3), np.uint8) for _ in range(3)]
    records = tmp_path / 'eval.tfrecord'
    tiny_run.write_records(records, images, [image.argmax(-1).astype(np.uint8) for image in images], ['a', 'b', 'c'])
    override = (
        'train_config { num_steps: 30 eval_interval: 15 } '
        f'eval_input_reader {{ tf_record_input_reader {{ input_path: "{records}" }} }}'
    )
    logdir = tmp_path / 'two'
    code, errors = finish(start(logdir, override, num_clones=2))
    assert code == 0, errors
    assert '2 x CPU' in errors
    losses = [line['loss'] for line in lines(logdir)]
    assert losses[-1] < 0.8 * losses[0]
    moving = checkpoints.read(logdir).tensor('SharedFeatureExtractor/tiny/conv1/BatchNorm/moving_mean')
    assert np.abs(moving).max() > 0.01
    assert eval_results.evaluated_steps(str(logdir / 'evaluation')) == [15, 30]
    config = tiny_training.config(override)
    model = tiny_training.build_model(config.model)
    model.build()
    again = Evaluator(config, model).evaluate(str(logdir / 'model.ckpt-30')).metrics
    during = json.loads((logdir / 'evaluation' / 'metrics-30.json').read_text())
    assert during['confusion_matrix'] == again['confusion_matrix']
    assert during['num_examples'] == 3
