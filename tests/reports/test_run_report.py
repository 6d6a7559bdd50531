"""The report of a run, as a process: table, picture, JSON on the last line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def _run(folder: Path) -> subprocess.CompletedProcess:
    arguments = ['--logdir', str(folder), '--eval_dir', str(folder / 'eval'), '--picture', str(folder / 'curve.png')]
    command = [sys.executable, '-m', 'reports.run_report', *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def _write(folder: Path, evaluations: dict[int, float]) -> None:
    lines = [
        {'step': step, 'loss': 4.0 / step, 'aux_loss': 1.0 / step, 'total_loss': 5.0 / step, **speed}
        for step, speed in (
            (1, {}),
            (10, {'images_per_second': 5.0}),
            (20, {'images_per_second': 7.0}),
            (30, {'images_per_second': 6.0}),
        )
    ]
    (folder / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    (folder / 'eval').mkdir()
    for step, score in evaluations.items():
        metrics = {
            'step': step,
            'mean_iou': score,
            'pixel_accuracy': 0.9,
            'class_iou': {'road': score, 'train': None},
            'num_examples': 3,
        }
        (folder / 'eval' / f'metrics-{step}.json').write_text(json.dumps(metrics))


def test_table_picture_and_json(tmp_path):
    _write(tmp_path, {10: 0.25, 30: 0.5, 20: 0.75})
    done = _run(tmp_path)
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.strip().splitlines()
    assert '| road | 50.0 |' in table and '| train | absent |' in table and '| **mean** | **50.0** |' in table
    assert json.loads(last) == {
        'steps': 30,
        'images_per_second_median': 6.0,
        'mean_iou': {'10': 0.25, '20': 0.75, '30': 0.5},
        'final_mean_iou': 0.5,
        'best_step': 20,
        'num_examples': 3,
    }
    assert (tmp_path / 'curve.png').stat().st_size > 1000


def test_nothing_evaluated_yet(tmp_path):
    _write(tmp_path, {})
    done = _run(tmp_path)
    assert done.returncode == 1 and done.stderr.startswith('error: nothing to report yet')
