"""Flags, exits and the quiet start, in real processes where file descriptors are concerned."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from core import command_line
from core.errors import ConfigError, UserError
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
    ('error', 'code', 'text'),
    [(UserError('no space'), 1, 'error: no space\n'), (ConfigError(['a: x', 'b: y']), 2, 'error: a: x\nerror: b: y\n')],
)
def test_user_errors_are_lines_and_exit_codes(error, code, text, capsys):
    def main(_):
        raise error

    with pytest.raises(SystemExit) as stop:
        command_line.run(main)
    assert stop.value.code == code and capsys.readouterr().err == text


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
