"""Which runs are done, what is made of their results, and two real runs that are not done twice."""

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

from benchmarks import camvid_comparison
from benchmarks.comparison import page, runs
from core.errors import ConfigError, UsageError, UserError
from tests.conftest import ROOT
from tests.tiny_run import write_records

CONFIG = str(ROOT / camvid_comparison.CONFIG)


def plan(folder: Path, **changes) -> list[runs.Run]:
    arguments = {'overrides': (), 'extractors': ['mobilenet_v1', 'resnet_v1_18'], 'seeds': [1, 2], 'output_dir': folder}
    return runs.plan(config_path=CONFIG, **{**arguments, **changes})


def finish(run: runs.Run, mean_iou: float) -> None:
    run.folder.mkdir(parents=True, exist_ok=True)
    result = {
        **{'extractor': run.extractor, 'seed': run.seed, 'step': run.num_steps, 'fingerprint': run.fingerprint},
        **{'mean_iou': mean_iou, 'pixel_accuracy': 0.8, 'class_iou': {'sky': mean_iou, 'pole': None}},
        **{'minutes': 2.0 * run.seed, 'cpus': 1},
    }
    run.piece.result_path.write_text(json.dumps(result), encoding='utf-8')


def test_runs_go_seed_by_seed_and_differ_in_extractor_and_seed_alone(tmp_path):
    planned = plan(tmp_path)
    assert [(run.seed, run.extractor) for run in planned] == [
        *((1, 'mobilenet_v1'), (1, 'resnet_v1_18')),
        *((2, 'mobilenet_v1'), (2, 'resnet_v1_18')),
    ]
    assert planned[1].overrides == (
        'model.fcn.feature_extractor.type=resnet_v1_18',
        'train_config.random_seed=1',
    )
    assert len({run.fingerprint for run in planned}) == len({run.folder for run in planned}) == 4


def test_a_mistake_is_told_before_the_first_run(tmp_path):
    with pytest.raises(ConfigError, match=r'train_config\.batch_size: got 0'):
        plan(tmp_path, overrides=['train_config.batch_size=0'])
    for flags, said in (
        (['--extractors', 'mobilenet_v3'], "--extractors: got 'mobilenet_v3', did you mean"),
        (['--seeds', '1,two'], "--seeds: got '1,two', choose whole numbers"),
        (['--seeds', '1,1'], '--seeds: got .*, name each once'),
    ):
        with pytest.raises(UsageError, match=said):
            camvid_comparison.main(['--output_dir', str(tmp_path), *flags])
    with pytest.raises(UserError, match='no run is finished yet'):
        camvid_comparison.main(['--output_dir', str(tmp_path), '--report_only'])


def test_a_result_of_another_config_is_not_taken(tmp_path):
    finish(plan(tmp_path)[0], 0.5)
    assert len(runs.finished(plan(tmp_path))) == 1
    with pytest.raises(UserError, match='is the result of another config'):
        runs.finished(plan(tmp_path, overrides=['train_config.num_steps=7']))


def test_the_page_has_mean_range_and_deviation_over_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(page, '_figures', lambda run: {'million_parameters': 3.25, 'gflops': 5.9})
    planned = plan(tmp_path)
    for run, mean_iou in zip(planned[:3], (0.30, 0.45, 0.34), strict=True):
        finish(run, mean_iou)
    report = page.summarise(runs.finished(planned), planned)
    assert (report['num_runs'], report['num_finished']) == (4, 3)
    first, second = report['models']
    assert first['mean_iou_mean'] == pytest.approx(0.32)
    assert first['mean_iou_std'] == pytest.approx(np.std([0.30, 0.34], ddof=1))
    assert second['mean_iou_std'] is None and second['class_iou_mean'] == {'sky': 0.45, 'pole': None}
    text = page.page(report, runs=planned, command='python x.py')
    assert '| mobilenet_v1 | 3.25 | 5.9 | **32.0** | 30.0..34.0 | 2.8 | 2 | 80.0 | 2.0 |' in text
    assert '| resnet_v1_18 | 3.25 | 5.9 | **45.0** | 45.0..45.0 | - | 1 | 80.0 | 2.0 |' in text
    assert '| resnet_v1_18 | 45.0 | - |' in text
    assert 'python x.py' in text and 'one CPU core' in text and '3 of 4 runs' in text


@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_a_finished_one_is_not_done_again(tmp_path):
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (120, 160, 3), np.uint8) for _ in range(4)]
    labels = [rng.integers(0, 11, (120, 160)).astype(np.uint8) for _ in range(4)]
    write_records(tmp_path / 'a.record', pictures, labels, [f'{i}.png' for i in range(4)])
    reader = 'tf_record_input_reader.input_path=["{}"]'.format(tmp_path / 'a.record')
    fields = (
        *(f'train_input_reader.{reader}', f'eval_input_reader.{reader}', 'train_config.num_steps=600'),
        *('model.fcn.filter_scale=0.125', 'train_config.log_every_n_steps=1', 'train_config.batch_size=1'),
    )
    command = [sys.executable, '-m', 'benchmarks.camvid_comparison', '--output_dir', str(tmp_path / 'runs')]
    command += ['--extractors', 'mobilenet_v1', '--seeds', '1']
    command += [word for field in fields for word in ('--set', field)]
    metrics = tmp_path / 'runs' / 'mobilenet_v1' / 'seed_1' / 'metrics.jsonl'

    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while not metrics.exists():
            assert process.poll() is None, process.stderr.read() if process.stderr else ''
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGTERM)
        said = process.communicate()[1]
    assert process.returncode == 130 and 'saved as' in said

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and 'resumed from' in done.stderr, done.stderr
    report = json.loads(done.stdout)
    assert report['models'][0]['seeds'] == [1] and report['models'][0]['million_parameters'] > 0

    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert '1 of 1 runs are finished' in again.stderr and 'step' not in again.stderr
    assert json.loads(again.stdout) == report
