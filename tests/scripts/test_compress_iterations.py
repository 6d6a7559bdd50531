"""compress.py --iterations: a narrow PSPNet cut twice with training after each, in processes of which one is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import compress
from builders import config_loader
from core.errors import UsageError
from engine import checkpoints, inference
from engine.checkpoint_reader import Reader
from tests.conftest import ROOT


@pytest.fixture
def flags(folder: Path, tmp_path: Path) -> list[str]:
    return [
        *('--config_path', str(folder / 'train.config'), '--input_checkpoint', str(folder / 'train')),
        *('--output_dir', str(tmp_path / 'out'), '--latency_size', '33,49', '--latency_images', '0'),
        *(
            '--recalibrate_batches',
            '1',
            '--refit_batches',
            '1',
            '--iterations',
            '2',
            '--retrain_steps',
            '3',
            '--distill',
        ),
    ]


def start(flags: list[str]) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / 'compress.py'), *flags]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def times_of(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob('*') if path.is_file()}


@pytest.mark.slow
def test_killed_while_it_trains_it_goes_on_and_ends_as_the_half_network(flags, folder, tmp_path):
    out, second = tmp_path / 'out', tmp_path / 'out' / 'iteration-2'
    killed = start(flags)
    deadline = time.monotonic() + 300
    while not (second / 'model.ckpt-4.index').exists():
        assert killed.poll() is None and time.monotonic() < deadline, killed.communicate()
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not (out / 'compression.json').exists()
    done_before = {**times_of(out / 'iteration-1'), **times_of(second / 'cut')}
    if (second / 'model.ckpt-6.index').exists():
        pytest.fail('the kill came too late to interrupt anything')

    again = start(flags)
    printed, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert 'resumed from ' + str(second / 'model.ckpt-') in said and 'iteration 1 of 2: ' not in said
    assert {path: time for path, time in times_of(out).items() if path in done_before} == done_before

    config = config_loader.load(str(folder / 'train.config'), ['model.pspnet.filter_scale=0.125'])
    half = {n: v.shape.as_list() for n, v in inference.build_model(config).variables_by_name().items()}
    final = checkpoints.read(out)
    assert final.path == str(out / 'model.ckpt-6')
    assert {name: final.shapes[name] for name in half} == half
    written = config_loader.load(str(out / 'pipeline.config'), purpose='train')
    assert written.model == config.model
    last = checkpoints.read(second)
    assert all(np.array_equal(final.tensor(name), last.tensor(name)) for name in last.shapes)

    _assert_averages_are_those_of_the_data(checkpoints.read(out / 'iteration-1'), checkpoints.read(second / 'averages'))
    assert json.loads((second / 'cut' / 'compression.json').read_text())['checkpoint'].startswith(
        str(second / 'averages')
    )

    report = json.loads((out / 'compression.json').read_text())
    rows = report['iterations']
    assert [row['share'] for row in rows] == [pytest.approx(0.5**0.5), 0.5]
    assert [row['step'] for row in rows] == [3, 6]
    assert rows[0]['mean_iou_before_training'] is None and rows[1]['mean_iou_before_training'] is not None
    for number, row in enumerate(rows, 1):
        metrics = out / f'iteration-{number}' / 'evaluation' / f'metrics-{row["step"]}.json'
        assert row['mean_iou'] == json.loads(metrics.read_text())['mean_iou']
    assert report['before']['parameters'] > rows[0]['parameters'] > rows[1]['parameters']
    assert report['after']['parameters'] == rows[1]['parameters'] and report['step'] == 2
    widths = {(layer['before'], layer['after']) for layer in report['layers']}
    assert (16, 8) in widths and 'mIoU cut' in printed
    assert json.loads((out / 'best' / 'best.json').read_text())['step'] in (3, 6)

    rate = written.train_config.optimizer.momentum_optimizer.learning_rate
    assert (rate.cosine_decay_learning_rate.decay_steps, rate.warmup.num_steps) == (6, 3)
    assert written.train_config.distillation.checkpoint == str(folder / 'train' / 'model.ckpt-2')

    unchanged = times_of(out)
    assert compress.main(flags) == 0 and times_of(out) == unchanged
    with pytest.raises(UsageError, match="was begun with retrain_steps=3, criterion='l1'; give the same choices"):
        compress.main([*flags, '--retrain_steps', '4', '--criterion', 'l2'])


def _assert_averages_are_those_of_the_data(trained: Reader, again: Reader):
    """After three steps of decay 0.9997 averages are hardly moved from those of the cut; all else stays."""
    assert all(name.startswith('training/') for name in trained.shapes.keys() - again.shapes.keys())
    moving = {name for name in again.shapes if 'moving_' in name}
    changed = {name for name in again.shapes if not np.array_equal(trained.tensor(name), again.tensor(name))}
    assert changed == moving


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        (['--iterations=2'], '--iterations and --retrain_steps go together'),
        (['--retrain_steps=2'], '--iterations and --retrain_steps go together'),
        (['--iterations=0', '--retrain_steps=2'], '--iterations: got 0, choose 1 or more'),
        (['--iterations=2', '--retrain_steps=2', '--soft_apply'], '--soft_apply: zeros do not last in training'),
        (['--distill'], '--distill: is for the training of --iterations'),
    ],
)
def test_flags_that_do_not_go_together(more, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        compress.main(['--config_path=x', '--input_checkpoint=x', f'--output_dir={tmp_path}', *more])
