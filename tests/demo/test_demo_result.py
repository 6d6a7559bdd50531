"""The demo's promise, kept by running all of it: minutes, so `make test-slow` runs it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_the_whole_demo_reaches_its_mean_iou(tmp_path):
    command = [sys.executable, '-m', 'demo.run_demo', '--output_dir', str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = json.loads((tmp_path / 'eval' / 'metrics.json').read_text())
    assert metrics['mean_iou'] >= 0.60
    assert (tmp_path / 'demo.png').is_file() and (tmp_path / 'export' / 'frozen_inference_graph.pb').is_file()
