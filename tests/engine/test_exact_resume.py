"""A training that is killed, stopped, torn and starved at random moments ends with the weights of one that was not."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests import forked
from tests.engine import fault_injector


def inject(folder, seed, num_faults):
    folder.mkdir()
    said = forked.run(fault_injector.main, [str(folder), str(seed), str(num_faults)], patience_seconds=3600)
    report = json.loads(said.splitlines()[-1])
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
