"""The comparison of gradients in two precisions."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from benchmarks import precision
from core import processor
from core.errors import UsageError, UserError
from tests import tiny_run
from tests.conftest import ROOT


def test_of_gradients_compares_direction_length_and_each_layer():
    exact = {'a': np.array([[3.0, 0.0]]), 'b': np.array([0.0, 4.0]), 'zero': np.zeros(2)}
    ours = {'a': np.array([[0.0, 3.0]]), 'b': np.array([0.0, 8.0]), 'zero': np.ones(2)}

    found = precision.compare(ours, exact)

    length = np.sqrt(9 + 64 + 2)
    assert found['cosine'] == pytest.approx(32 / (5 * length))
    assert found['relative_error'] == pytest.approx(np.sqrt(9 + 9 + 16 + 2) / 5)
    assert found['relative_length'] == pytest.approx(length / 5)
    assert found['least_cosine_of_a_layer'] == pytest.approx(0)  # of `a`, at a right angle; `zero` has no direction


def test_errors_that_are_chance_cancel_in_the_mean_over_batches(tmp_path):
    exact = [np.array([1.0, 0.0]), np.array([1.0, 0.0])]
    noisy = [np.array([1.0, 0.5]), np.array([1.0, -0.5])]
    for number in range(2):
        for kind, found in (
            (precision.FLOAT32, exact),
            (precision.ROUNDED_WEIGHTS, exact),
            (precision.BFLOAT16, noisy),
        ):
            arrays: dict[str, Any] = {'scope|weights': found[number]}
            np.savez(tmp_path / f'{kind}-{number}.npz', **arrays)

    report = precision._report(tmp_path, 2)

    assert report[precision.ROUNDED_WEIGHTS]['cosine'] == 1
    assert report[precision.BFLOAT16]['cosine'] == pytest.approx(1 / np.sqrt(1.25), abs=1e-4)
    assert report[precision.BFLOAT16]['cosine_of_mean'] == 1
    assert report['another_batch']['cosine'] == 1


def test_one_batch_and_a_processor_without_bfloat16_are_refused(tmp_path, monkeypatch):
    run = tiny_run.make(tmp_path)
    config = tmp_path / 'train.config'
    config.write_text(_training(run), encoding='utf-8')
    flags = ['--config_path', str(config), '--checkpoint', str(tmp_path)]
    with pytest.raises(UsageError, match=r'--worker: got .half., choose from'):
        precision.main([*flags, '--worker', 'half', str(tmp_path)])
    with pytest.raises(UsageError, match='--batches: got 1, choose 2 or more'):
        precision.main([*flags, '--batches', '1'])
    monkeypatch.setattr(processor, 'has_bfloat16', lambda: False)
    with pytest.raises(UserError, match='no bfloat16'):
        precision.main(flags)


@pytest.mark.slow
def test_bfloat16_of_a_network_moves_gradients_no_further_than_its_rounding(tmp_path):
    if not processor.has_bfloat16():
        pytest.skip('this processor has no bfloat16')
    run = tiny_run.make(tmp_path)
    config = tmp_path / 'train.config'
    config.write_text(_training(run), encoding='utf-8')
    logdir = tmp_path / 'run'
    train = [sys.executable, 'train.py', '--config_path', str(config), '--logdir', str(logdir)]
    subprocess.run(train, cwd=ROOT, check=True, capture_output=True, timeout=300)

    command = [sys.executable, '-m', 'benchmarks.precision', '--config_path', str(config), '--checkpoint', str(logdir)]
    done = subprocess.run([*command, '--batches', '2'], cwd=ROOT, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 0.9 < found['bfloat16']['cosine'] < 1
    assert found['bfloat16']['relative_error'] > 1e-4  # something was computed in bfloat16
    assert 0.9 < found['rounded_weights']['cosine'] < 1


def _training(run: tiny_run.TinyRun) -> str:
    """The config of the tiny network, with a training of a few steps on the records it is evaluated on."""
    with open(run.config_path, encoding='utf-8') as file:
        return f"""{file.read()}
train_config {{
  batch_size: 2 num_steps: 40 random_seed: 1
  preprocessor_step {{ random_image_crop {{ crop_height: 33 crop_width: 33 }} }}
  optimizer {{ adamw_optimizer {{ learning_rate {{ constant_learning_rate {{ learning_rate: 0.001 }} }} }} }}
}}
train_input_reader {{
  shuffle: true num_examples: 4 label_map_path: '{run.folder}/label_map.json'
  tf_record_input_reader {{ input_path: '{run.folder}/eval-*.tfrecord' }}
}}
"""
