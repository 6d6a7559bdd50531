"""Signals as a wish to stop: the first is noted, the second acts, and an enclosing context is told as well."""

from __future__ import annotations

import os
import signal

import pytest

from core.errors import UserError
from engine import iterative_compression, retraining, train_lib
from engine.interruption import Interruption


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_handlers_come_back(number):
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert interruption.requested is None
        os.kill(os.getpid(), number)
        assert interruption.requested == number.name
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before


@pytest.fixture
def python_handles_ctrl_c():
    """Python's own handler: a process that was started in the background inherits that SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures('python_handles_ctrl_c')
def test_the_second_ctrl_c_acts():
    with pytest.raises(KeyboardInterrupt), Interruption():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures('python_handles_ctrl_c')
def test_the_second_ctrl_c_acts_through_two_contexts():
    with pytest.raises(KeyboardInterrupt), Interruption(), Interruption():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_the_outer_of_two_is_told():
    with Interruption() as outer:
        with Interruption() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
        assert (inner.requested, outer.requested) == ('SIGTERM', 'SIGTERM')
        with Interruption() as second:
            assert second.requested is None


def test_a_signal_in_the_last_evaluation_of_a_training_ends_the_iterations(tmp_path, monkeypatch):
    """Then the training has come to its last step, and would be gone on from with the next cut."""

    def train(config, options) -> int:
        with Interruption():
            os.kill(os.getpid(), signal.SIGTERM)
        return 3

    run = object.__new__(iterative_compression._Run)
    run._output_dir, run._evaluated = str(tmp_path), False
    run._iterations = iterative_compression.Iterations(number=2, retrain_steps=3)
    monkeypatch.setattr(run, '_cut_config', lambda number: None)
    monkeypatch.setattr(retraining, 'config_of', lambda config, **changes: None)
    monkeypatch.setattr(train_lib, 'train', train)
    with pytest.raises(UserError, match=r'^SIGTERM: stopped after iteration 1; the same command goes on from there'):
        run._retrain(1)
