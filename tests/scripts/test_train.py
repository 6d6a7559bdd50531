"""train.py's flags; everything here is answered before TensorFlow is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import train
from core.errors import ConfigError, DataError, UsageError

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = ['--config_path=my.config', '--logdir=run']
REFERENCE_DEFAULTS = {
    'save_interval_secs': 600,
    'max_checkpoints_to_keep': 15,
    'image_summaries': False,
    'num_clones': 1,
    'clone_on_cpu': False,
    'num_replicas': 1,
    'num_ps_tasks': 0,
    'master': '',
    'task': 0,
    'startup_delay_steps': 15,
}


def parse(*arguments):
    return vars(train.make_parser().parse_args([*REQUIRED, *arguments]))


def test_the_references_flags_and_defaults():
    flags = parse()
    assert {name: flags[name] for name in REFERENCE_DEFAULTS} == REFERENCE_DEFAULTS
    assert (flags['config_path'], flags['logdir'], flags['overrides']) == ('my.config', 'run', [])


@pytest.mark.parametrize(
    'arguments', [['--num_clones=2', '--image_summaries=True'], ['--num_clones', '2', '--image_summaries']]
)
def test_values_with_and_without_an_equals_sign(arguments):
    flags = parse(*arguments, '--noclone_on_cpu')
    assert (flags['num_clones'], flags['image_summaries'], flags['clone_on_cpu']) == (2, True, False)


def test_overrides_repeat():
    assert parse('--set', 'a.b=1', '--set=c=2')['overrides'] == ['a.b=1', 'c=2']


def test_flags_of_evaluation_are_overrides_that_come_last():
    flags = train.make_parser().parse_args(
        [
            *REQUIRED,
            '--eval_interval=100',
            '--best_metric=class_iou.car',
            '--patience=0',
            '--set=train_config.patience=9',
        ]
    )
    assert train.overrides(flags) == [
        'train_config.patience=9',
        'train_config.eval_interval=100',
        'train_config.best_metric=class_iou.car',
        'train_config.patience=0',
    ]
    assert train.overrides(train.make_parser().parse_args(REQUIRED)) == []


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'the following arguments are required: --config_path, --logdir'),
        ([*REQUIRED, '--num_clones=two'], "argument --num_clones: got 'two', choose a whole number"),
        ([*REQUIRED, '--save_interval_secs=often'], "argument --save_interval_secs: got 'often', choose a number"),
        ([*REQUIRED, '--image_summaries=perhaps'], "argument --image_summaries: got 'perhaps', choose true or false"),
        ([*REQUIRED, '--log_dir=x'], 'unknown flag --log_dir, did you mean --logdir?'),
    ],
)
def test_a_flag_that_cannot_be_read(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        train.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('argument', 'message'),
    [
        ('--save_interval_secs=0', '--save_interval_secs: got 0, choose a number above 0'),
        ('--save_interval_secs=nan', '--save_interval_secs: got nan, choose a number above 0'),
        ('--max_checkpoints_to_keep=-1', '--max_checkpoints_to_keep: got -1, choose 0 or more'),
        ('--num_clones=0', '--num_clones: got 0, choose 1 or more'),
        ('--logdir=', '--logdir: is empty'),
        ('--eval_interval=-1', '--eval_interval: got -1, choose 0 or more'),
        ('--patience=-2', '--patience: got -2, choose 0 or more'),
    ],
)
def test_a_value_out_of_range(argument, message):
    with pytest.raises(UsageError, match=message):
        train.main([*REQUIRED, argument])


@pytest.mark.parametrize(
    'argument', ['--num_replicas=2', '--num_ps_tasks=1', '--master=grpc://host', '--task=1', '--startup_delay_steps=0']
)
def test_parameter_server_flags_are_answered_by_one_line(argument, capsys):
    train.check_flags(train.make_parser().parse_args([*REQUIRED, argument]))
    (line,) = capsys.readouterr().err.splitlines()
    assert argument.split('=')[0] in line and 'use --num_clones' in line


def test_a_wrong_tf_config_is_answered_before_anything_is_read(monkeypatch):
    monkeypatch.setenv('TF_CONFIG', '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 5}}')
    with pytest.raises(UsageError, match=r'^TF_CONFIG: task.index: got 5, choose from 0..1; an example: '):
        train.main(REQUIRED)


def test_defaults_say_nothing(capsys):
    train.check_flags(train.make_parser().parse_args(REQUIRED))
    assert capsys.readouterr().err == ''


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r'nowhere\.config'):
        train.main([f'--config_path={tmp_path}/nowhere.config', '--logdir=run'])


def test_missing_records_are_named_and_no_log_directory_is_made(tmp_path):
    config = f'--config_path={ROOT}/configs/icnet_0.5_193x321_resnet50_streets.config'
    records = f'train_input_reader.tf_record_input_reader.input_path={tmp_path}/train-*'
    with pytest.raises(DataError, match=f'^{tmp_path}/train-.: no file matches$'):
        train.main([config, f'--logdir={tmp_path}/run', '--set', records])
    assert not (tmp_path / 'run').exists()


def test_a_broken_config_never_loads_tensorflow(tmp_path):
    (tmp_path / 'broken.config').write_text('train_config { batch_sise: 2 }')
    code = (
        'import sys, train\n'
        'try:\n'
        f'    train.main(["--config_path={tmp_path}/broken.config", "--logdir=run"])\n'
        'except Exception as error:\n'
        '    print(error)\n'
        'assert "tensorflow" not in sys.modules\n'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert 'batch_sise' in done.stdout and 'batch_size' in done.stdout
