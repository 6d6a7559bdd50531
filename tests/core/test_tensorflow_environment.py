"""TensorFlow's environment is set by importing any module of core, before TensorFlow; what the user has set wins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import tensorflow_environment

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = ('TF_USE_LEGACY_KERAS', 'TF_ENABLE_ONEDNN_OPTS', 'TF_CPP_MIN_LOG_LEVEL')


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    monkeypatch.delenv('TF_CONFIG', raising=False)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    'machine, given, want',
    [('x86_64', None, '1'), ('AMD64', None, '1'), ('x86_64', '0', '0'), ('aarch64', None, None), ('arm64', None, None)],
)
def test_onednn_is_asked_for_on_x86_unless_the_environment_has_decided(machine, given, want, monkeypatch):
    monkeypatch.setattr(tensorflow_environment.platform, 'machine', lambda: machine)
    if given is not None:
        monkeypatch.setenv('TF_ENABLE_ONEDNN_OPTS', given)
    tensorflow_environment.set_defaults()
    assert os.environ.get('TF_ENABLE_ONEDNN_OPTS') == want


def test_the_users_environment_wins(monkeypatch):
    for name in NAMES:
        monkeypatch.setenv(name, 'own')
    tensorflow_environment.set_defaults()
    assert [os.environ[name] for name in NAMES] == ['own'] * 3


def test_lost_workers_are_not_reported_many_times(monkeypatch):
    monkeypatch.setenv('TF_CONFIG', '{}')
    tensorflow_environment.set_defaults()
    assert os.environ['TF_CPP_MIN_LOG_LEVEL'] == '3'


@pytest.mark.parametrize('module', ['core', 'core.command_line', 'train', 'predict'])
def test_importing_core_sets_it_and_loads_no_tensorflow(module):
    code = f'import {module}, os, sys\nprint([os.environ[n] for n in {NAMES}], "tensorflow" in sys.modules)'
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    environment['TF_ENABLE_ONEDNN_OPTS'] = '0'
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout == "['1', '0', '2'] False\n", done.stderr


def test_importing_core_leaves_the_name_third_party_to_others():
    """The benchmark of training steps runs the reference's files, which have a package of that name."""
    code = "import core, sys; sys.exit('third_party' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT).returncode == 0
