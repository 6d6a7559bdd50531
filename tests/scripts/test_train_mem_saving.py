"""train_mem_saving.py as a user calls it, on a narrow VGG: its plans, its refusals, and runs shared with train.py."""

from __future__ import annotations

import itertools
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import train
import train_mem_saving
from core.errors import ConfigError, UsageError
from recompute.overhead import RUNTIME_BYTES
from tests import commands, tiny_run
from tests.conftest import ROOT

BATCH_SIZE, CROP = 2, 65
CHECKPOINTING = 'train_config.gradient_checkpointing'
BLOCK = 'SharedFeatureExtractor/vgg_16'
PLAN_FILE = 'recompute_plan.json'
_CONFIG = """
model {{
  fcn {{
    num_classes: 3
    stride: 16
    filter_scale: 0.125
    feature_extractor {{ type: 'vgg16' }}
    hyperparams {{ regularizer {{ l2_regularizer {{ weight: 0.001 }} }} }}
    loss {{ classification_loss {{ softmax {{}} }} }}
  }}
}}
train_config {{
  batch_size: {batch_size}
  num_steps: 2
  log_every_n_steps: 1
  random_seed: 3
  optimizer {{ momentum_optimizer {{ learning_rate {{ constant_learning_rate {{ learning_rate: 0.00001 }} }} }} }}
  preprocessor_step {{ random_image_crop {{ crop_height: {crop} crop_width: {crop} }} }}
}}
train_input_reader {{
  label_map_path: '{folder}/label_map.json'
  tf_record_input_reader {{ input_path: '{folder}/eval-*.tfrecord' }}
}}
"""


@pytest.fixture(scope='module')
def config_path(tmp_path_factory) -> str:
    """The tiny run's records under a config for training."""
    run = tiny_run.make(tmp_path_factory.mktemp('run'))
    path = run.folder / 'train.config'
    path.write_text(_CONFIG.format(folder=run.folder, batch_size=BATCH_SIZE, crop=CROP), encoding='utf-8')
    return str(path)


@pytest.fixture
def flags(config_path, tmp_path) -> list[str]:
    return [f'--config_path={config_path}', f'--logdir={tmp_path}/run']


@pytest.fixture
def plan(flags, capsys):
    """Calls the script with `--plan_only` and more flags; what it prints."""

    def call(*more: str) -> dict[str, Any]:
        capsys.readouterr()
        assert train_mem_saving.main([*flags, '--plan_only', *more]) == 0
        return json.loads(capsys.readouterr().out)

    return call


def set_field(name: str, value: str) -> str:
    return f'--set={CHECKPOINTING}.{name}={value}'


def lines(logdir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (logdir / 'metrics.jsonl').read_text().splitlines()]


def test_plan_only_prints_and_writes_one_object_and_trains_nothing(plan, tmp_path):
    printed = plan()
    assert [path.name for path in (tmp_path / 'run').iterdir()] == [PLAN_FILE]
    assert json.loads((tmp_path / 'run' / PLAN_FILE).read_text()) == printed
    assert (printed['mode'], printed['batch_size'], printed['replicas']) == ('auto', BATCH_SIZE, 1)
    assert 0 < printed['extra_work'] <= 1 / 3
    assert RUNTIME_BYTES < printed['peak_bytes'] < printed['plain_peak_bytes']
    assert sum(s['kept_bytes'] for s in printed['segments']) == printed['kept_activation_bytes']
    assert sum(s['extra_work'] for s in printed['segments']) == pytest.approx(printed['extra_work'])


def test_the_batch_is_shared_by_clones(plan, flags, tmp_path):
    printed = plan('--num_clones=2', '--clone_on_cpu')
    assert (printed['batch_size'], printed['replicas']) == (1, 2)
    odd = [*flags, '--plan_only', '--num_clones=2', '--set=train_config.batch_size=3']
    with pytest.raises(UsageError, match='batch_size: got 3, choose a multiple of the number of devices, 2'):
        train_mem_saving.main(odd)


def test_the_config_says_the_mode_and_a_flag_comes_before_it(plan):
    assert plan(set_field('mode', 'SPEED'))['mode'] == 'speed'
    assert plan(set_field('mode', 'SPEED'), '--mode=memory')['mode'] == 'memory'
    assert plan(set_field('memory_budget', '100%'))['mode'] == 'budget'


@pytest.mark.parametrize('budget', ['90MB', '1%'])
def test_the_least_that_a_refusal_names_is_enough(plan, flags, budget, tmp_path):
    with pytest.raises(UsageError) as refused:
        train_mem_saving.main([*flags, '--plan_only', f'--memory_budget={budget}'])
    said = re.fullmatch(
        r'--memory_budget: (.+) is less than a step of this model needs at this crop and batch; the least is (.+), '
        r'(.+) more\. Choose that, a smaller train_config\.batch_size, or a smaller crop',
        str(refused.value),
    )
    assert said, refused.value
    asked, least = (text.removesuffix(' of the activations').replace(' ', '') for text in said.groups()[:2])
    assert asked in (budget, f'{budget[:-2]}.0MB')
    assert not (tmp_path / 'run').exists()
    found = plan(f'--memory_budget={least}')
    assert found['mode'] == 'budget'
    if budget.endswith('%'):
        assert found['kept_activation_bytes'] <= float(least[:-1]) / 100 * found['plain_activation_bytes']
    else:
        assert found['peak_bytes'] <= 1e6 * float(least.removesuffix('MB'))


def test_too_small_a_budget_ends_with_2_and_one_line(flags, capfd):
    assert commands.exit_code(train_mem_saving.main, [*flags, '--memory_budget=1MB']) == 2
    printed = capfd.readouterr()
    (error,) = [line for line in printed.err.splitlines() if line.startswith('error: ')]
    assert re.match(
        r'error: --memory_budget: 1,000 kB is less than .*; the least is [\d.]+ MB, [\d.]+ MB more\. ', error
    )
    assert printed.out == ''


@pytest.mark.parametrize('text', ['lots', '-1GB', '0GB', '120%', ''])
def test_a_budget_that_cannot_be_read(flags, text):
    with pytest.raises(UsageError) as refused:
        train_mem_saving.main([*flags, f'--memory_budget={text}'])
    assert str(refused.value).startswith(f'--memory_budget: got {text!r}, choose bytes such as 6GB or 800MiB, or ')


def test_a_budget_of_the_config_that_cannot_be_read(flags):
    with pytest.raises(ConfigError, match=f"{CHECKPOINTING}.memory_budget: got 'lots', choose bytes such as 6GB"):
        train.main([*flags, set_field('memory_budget', 'lots')])


def test_a_budget_of_the_config_that_is_too_small_names_its_field(flags):
    with pytest.raises(UsageError, match=rf'^{CHECKPOINTING}\.memory_budget: 1,000 kB is less than a step'):
        train.main([*flags, set_field('memory_budget', '1MB')])


@pytest.mark.parametrize(
    'given', list(itertools.combinations(('--mode=auto', '--memory_budget=6GB', '--checkpoint_nodes=a'), 2))
)
def test_mode_budget_and_nodes_exclude_each_other(flags, given):
    first, second = (flag.partition('=')[0] for flag in given)
    with pytest.raises(UsageError, match=f'^{first} and {second}: choose one of them$'):
        train_mem_saving.main([*flags, *given])


def test_nodes_without_a_name(flags):
    with pytest.raises(UsageError, match=r"^--checkpoint_nodes: got ' ,', choose names of operations"):
        train_mem_saving.main([*flags, '--checkpoint_nodes= ,'])


def test_wrong_flags_never_load_tensorflow(flags):
    code = (
        'import sys, train_mem_saving\n'
        'wrong = ["--memory_budget=lots"], ["--checkpoint_nodes="], ["--memory_budget=1GB", "--checkpoint_nodes=a"]\n'
        'for flags in wrong:\n'
        '    try:\n'
        f'        train_mem_saving.main({flags} + flags)\n'
        '    except Exception as error:\n'
        '        print(error)\n'
        'assert "tensorflow" not in sys.modules\n'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_nodes_to_keep(plan):
    """A tensor of 2 x 33 x 33 pixels and 16 channels is what crosses the cut behind it."""
    first, rest = plan(f'--checkpoint_nodes={BLOCK}/conv2/conv2_1/BiasAdd:0')['segments']
    assert first['last_operation'] == f'{BLOCK}/conv2/conv2_1/BiasAdd'
    assert first['kept_bytes'] == BATCH_SIZE * 33 * 33 * 16 * 4
    assert first['extra_work'] > 0 == rest['extra_work']
    # A scope ends with its last operation. One whose outputs are all small is a scope all the same.
    *segments, rest = plan(f'--checkpoint_nodes={BLOCK}/conv1, {BLOCK}/conv5')['segments']
    assert [s['last_operation'].split('/')[2] for s in segments] == ['conv1', 'conv5']
    assert rest['extra_work'] == 0


def test_an_unknown_node_is_answered_with_the_nearest_names(flags, tmp_path):
    with pytest.raises(UsageError) as refused:
        train_mem_saving.main([*flags, f'--checkpoint_nodes={BLOCK}/conv1,{BLOCK}/convv2'])
    said, _, near = str(refused.value).partition('; near: ')
    assert said == f"--checkpoint_nodes: '{BLOCK}/convv2' is no operation, tensor or scope of this model"
    assert f'{BLOCK}/conv2' in near.split(', ') and len(near.split(', ')) == 5


def test_runs_of_either_script_go_on_with_the_other(flags, config_path, tmp_path, caplog, monkeypatch):
    """train.py to step 2, this script to step 4; and train.py by the config's plan to step 4 at once: the same."""
    from engine import checkpoints, memory

    monkeypatch.setattr(memory, 'available_bytes', lambda: 4_000_000_000)
    caplog.set_level(logging.INFO)
    logdir, other = tmp_path / 'run', tmp_path / 'other'

    train.main(flags)
    assert not (logdir / PLAN_FILE).exists() and 'recompute plan' not in caplog.text
    assert re.search(
        r'predicted peak: 0\.\d GB for a step .*; 4\.0 GB are free, enough for a batch of \d+', caplog.text
    )
    assert all('peak_memory_mb' not in line for line in lines(logdir))

    caplog.clear()
    train_mem_saving.main([*flags, '--set=train_config.num_steps=4', '--log_memory', '--mode=memory'])
    assert 'resumed from' in caplog.text and 'recompute plan:\n' in caplog.text
    logged = lines(logdir)
    assert [line['step'] for line in logged] == [1, 2, 3, 4]
    assert ['peak_memory_mb' in line for line in logged] == [False, False, True, True]
    peaks = [line['peak_memory_mb'] for line in logged[2:]]
    assert 100 < peaks[0] <= peaks[1] <= memory.peak_bytes() / 1e6 + 0.1

    caplog.clear()
    by_config = [f'--config_path={config_path}', f'--logdir={other}', '--set=train_config.num_steps=4']
    train.main([*by_config, set_field('mode', 'MEMORY')])
    written = json.loads((other / PLAN_FILE).read_text())
    assert written['mode'] == 'memory' and written['extra_work'] > 0
    fixed = written['peak_bytes'] - written['bytes_per_image'] * BATCH_SIZE
    fits = int((0.9 * 4e9 - fixed) / written['bytes_per_image'])
    assert written['largest_batch_that_fits'] == fits
    assert f'enough for a batch of {fits}' in caplog.text

    one, two = (checkpoints.read(folder / 'model.ckpt-4') for folder in (logdir, other))
    assert one.shapes == two.shapes and one.tensor('global_step') == 4
    for name in one.shapes:  # threads may add in another order
        np.testing.assert_allclose(one.tensor(name), two.tensor(name), rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_step_too_large_for_the_machine_is_told_before_it_runs(plan, caplog, monkeypatch):
    from engine import memory

    monkeypatch.setattr(memory, 'available_bytes', lambda: 50_000_000)
    printed = plan()
    assert printed['largest_batch_that_fits'] == 0
    assert 'this step may not fit into memory: choose a train_config.batch_size of at most 0, or' in caplog.text
