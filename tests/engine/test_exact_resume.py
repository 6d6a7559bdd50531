"""A training that is killed, stopped, torn and starved at random moments ends with the weights of one that was not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def inject(folder, seed, num_faults):
    folder.mkdir()
    command = [sys.executable, '-m', 'tests.engine.fault_injector', str(folder), str(seed), str(num_faults)]
    environment = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2'}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert len(report['faults']) == num_faults
    assert report['same_weights'] and report['same_examples'] and report['each_step_once'], report
    return report


def test_10_faults(tmp_path):
    inject(tmp_path / 'run', seed=1, num_faults=10)


@pytest.mark.slow
def test_200_faults(tmp_path):
    happened = Counter()
    for seed in range(10):
        happened.update(fault.split()[0] for fault in inject(tmp_path / str(seed), 100 + seed, 20)['faults'])
    assert len(happened) == 5 and sum(happened.values()) == 200
