"""Flags, exits and the quiet start, in real processes where file descriptors are concerned."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from core import command_line
from core.errors import ConfigError, UserError
from tests import commands
from tests.conftest import ROOT


def _run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ('arguments', 'want'),
    [
        ([], False),
        (['--x'], True),
        (['--x=true'], True),
        (['--x', 'false'], False),
        (['--nox'], False),
        (['--x=0'], False),
    ],
)
def test_boolean_flags_in_every_spelling(arguments, want):
    parser = argparse.ArgumentParser()
    command_line.add_boolean(parser, 'x', default=False, help='x')
    assert parser.parse_args(arguments).x is want


def test_a_wrong_boolean_names_the_value_and_the_choice(capsys):
    parser = command_line.make_parser('test')
    command_line.add_boolean(parser, 'x', default=False, help='x')
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(['--x=maybe'])
    assert stop.value.code == 2
    assert "got 'maybe', choose true or false" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--log_dir=x'], 'unknown flag --log_dir, did you mean --logdir?'),
        (['-logdir', 'x'], 'unknown flag -logdir, did you mean --logdir?'),
        (['--logdir', 'x', '--num_clone', '2'], 'unknown flag --num_clone, did you mean --num_clones?'),
        (['--logdir', 'x', '--zzz'], 'unknown flag --zzz\n'),
        (['--logdir', 'x', 'more'], 'unrecognized arguments: more'),
        ([], 'the following arguments are required: --logdir'),
    ],
)
def test_an_unknown_flag_is_answered_with_the_nearest(arguments, said, capsys):
    parser = _parser_of_two_flags()
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(arguments)
    assert stop.value.code == 2 and said in capsys.readouterr().err


def test_what_is_no_number_is_answered_with_what_is_one(capsys):
    with pytest.raises(SystemExit) as stop:
        _parser_of_two_flags().parse_args(['--logdir=a', '--num_clones=2.5'])
    said = "error: argument --num_clones: got '2.5', choose a whole number\n"
    assert stop.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize('value', ['-3', '-0.5', '-', 'a=-b'])
def test_a_value_that_begins_like_a_flag_is_none(value):
    assert _parser_of_two_flags().parse_args(['--logdir', value]).logdir == value


@pytest.mark.parametrize('flag', ['-h', '--help', '--helpfull', '--helpshort'])
def test_help_by_every_name(flag, capsys):
    with pytest.raises(SystemExit) as stop:
        _parser_of_two_flags().parse_args([flag])
    assert stop.value.code == 0 and '--num_clones' in capsys.readouterr().out


def _parser_of_two_flags():
    parser = command_line.make_parser('test')
    parser.add_argument('--logdir', required=True)
    parser.add_argument('--num_clones', type=int)
    return parser


@pytest.mark.parametrize(
    ('error', 'code', 'text'),
    [(UserError('no space'), 1, 'error: no space\n'), (ConfigError(['a: x', 'b: y']), 2, 'error: a: x\nerror: b: y\n')],
)
def test_user_errors_are_lines_and_exit_codes(error, code, text, capsys):
    def main(_):
        raise error

    with pytest.raises(SystemExit) as stop:
        command_line.run(main)
    assert stop.value.code == code and capsys.readouterr().err == text


def test_what_the_system_refuses_is_one_line(tmp_path):
    (tmp_path / 'file').write_text('x')
    done = _run(f'from core import command_line\ncommand_line.run(lambda _: open({str(tmp_path / "file" / "x")!r}))\n')
    assert (done.returncode, done.stderr) == (1, f'error: {tmp_path}/file/x: Not a directory\n')


def test_what_tensorflow_is_refused_is_one_line(tmp_path, capsys):
    import tensorflow as tf

    (tmp_path / 'file').write_text('x')
    refusals = {
        f'{tmp_path}/file is not a directory': lambda _: tf.io.gfile.makedirs(str(tmp_path / 'file' / 'x')),
        f'{tmp_path}/none; No such file': lambda _: tf.io.gfile.listdir(str(tmp_path / 'none' / 'x')),
        'out of memory: while allocating; choose a smaller train_config.batch_size': _exhausted,
    }
    for said, main in refusals.items():
        with pytest.raises(SystemExit) as stop:
            command_line.run(main)
        printed = capsys.readouterr().err
        assert stop.value.code == 1 and printed.startswith('error: ') and printed.count('\n') == 1
        assert said.partition(';')[0] in printed


def test_a_full_disk_is_one_line(tmp_path, capfd):
    import tensorflow as tf

    def main(_):
        with tf.io.gfile.GFile(str(tmp_path / 'x.json'), 'w') as file:
            file.write('x' * 99999)

    with commands.full_disk(999):
        assert commands.exit_code(main, []) == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith('error: ')]
    assert 'x.json' in line and line.endswith('; make room and run the same command again, what is finished is kept')


def test_what_an_operation_cannot_write_is_told_without_its_names(tmp_path, capfd):
    import tensorflow as tf

    def main(_):
        values = [tf.zeros([9999])]
        tf.raw_ops.SaveV2(prefix=f'{tmp_path}/x', tensor_names=['a'], shape_and_slices=[''], tensors=values)

    with commands.full_disk(999):
        assert commands.exit_code(main, []) == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith('error: ')]
    assert line.startswith(f'error: {tmp_path}/x.data-00000-of-00001') and 'File too large; make room' in line


def _exhausted(_):
    import tensorflow as tf

    raise tf.errors.ResourceExhaustedError(None, None, 'while allocating\nmore')


def test_a_defect_keeps_its_traceback():
    def main(_):
        raise ZeroDivisionError('defect')

    with pytest.raises(ZeroDivisionError):
        command_line.run(main)


def test_a_reader_that_leaves_early_is_no_error():
    code = 'from core import command_line\ncommand_line.run(lambda _: print("x" * 10**6))\n'
    done = subprocess.run(
        f"{sys.executable} -c '{code}' | head -c 1", shell=True, cwd=ROOT, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ('x', '')


def test_quiet_start_holds_back_noise_only():
    done = _run(
        'import os\n'
        'from core import command_line\n'
        'with command_line.quiet_start():\n'
        "    os.write(2, b'I0000 port.cc:153] oneDNN\\nreal trouble\\n')\n"
        "os.write(2, b'after\\n')\n"
    )
    assert done.stderr == 'real trouble\nafter\n' and done.returncode == 0


def test_quiet_start_shows_what_a_failed_import_said():
    done = _run('from core import command_line\nwith command_line.quiet_start():\n    import no_such_module\n')
    assert 'No module named' in done.stderr and done.returncode == 1
