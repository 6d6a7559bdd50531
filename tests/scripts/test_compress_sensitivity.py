"""compress.py --sensitivity, killed once and gone on with, and the cut that it drives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import compress
from builders import config_loader
from core.errors import UsageError
from engine.eval_lib import Evaluator
from tests.conftest import ROOT

SKIPPED = 'resnet_v1_18/block2,resnet_v1_18/block3,resnet_v1_18/block4'  # fewer cells


@pytest.mark.slow
def test_killed_it_goes_on_and_its_report_drives_a_cut(folder, tmp_path):
    start = ['--config_path', str(folder / 'train.config'), '--input_checkpoint', str(folder / 'train')]
    start += ['--latency_size=33,49', '--latency_images=0', '--recalibrate_batches=0', '--refit_batches=0']
    out = tmp_path / 'worth'
    flags = [*start, f'--output_dir={out}', '--sensitivity', f'--skip_layers={SKIPPED}']
    flags += ['--sensitivity_shares=0.25,0.5', '--sensitivity_examples=1']
    cells = out / 'sensitivity.jsonl'
    killed = subprocess.Popen([sys.executable, str(ROOT / 'compress.py'), *flags], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not cells.exists() or cells.read_text().count('\n') < 4:
        assert killed.poll() is None and time.monotonic() < deadline, killed.communicate()
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    before = cells.read_text()
    assert not (out / 'sensitivity.json').exists()
    whole_lines = before[: before.rindex('\n') + 1]
    marked = whole_lines.splitlines()
    cell = json.loads(marked[2])
    marked[2] = json.dumps({**cell, 'mean_iou': 0.123})  # a value that nothing measures: it must be taken, not redone
    cells.write_text('\n'.join(marked) + '\n{"group": "half a li')

    assert compress.main(flags) == 0
    lines = cells.read_text().splitlines()
    assert lines[: len(marked)] == marked
    report = json.loads((out / 'sensitivity.json').read_text())
    assert len(lines) == 2 + 2 * len(report['groups'])
    assert report['groups'][0]['mean_iou'][0] == 0.123
    assert not any('block2' in scope for row in report['groups'] for scope in row['layers'])
    assert Image.open(out / 'sensitivity.png').height > 100

    check_a_cell(start, folder, tmp_path, report)
    with pytest.raises(UsageError, match='was begun with num_examples=1; give the same choices'):
        compress.main([*flags, '--sensitivity_examples=2'])
    check_a_cut(start, tmp_path, out)


def check_a_cell(start: list[str], folder: Path, tmp_path: Path, report: dict) -> None:
    """The mIoU of a checkpoint in which compress.py has set half of that one group to zero."""
    row = max(report['groups'], key=lambda row: abs(report['mean_iou'] - row['mean_iou'][1]))
    others = [scope for other in report['groups'] if other is not row for scope in other['layers']]
    soft = tmp_path / 'soft'
    skip = f'--skip_layers={SKIPPED},{",".join(others)}'
    assert compress.main([*start, f'--output_dir={soft}', '--soft_apply', skip, '--compression_factor=0.5']) == 0
    evaluator = Evaluator(config_loader.load(str(folder / 'train.config')))
    assert evaluator.evaluate(str(soft), max_examples=1).metrics['mean_iou'] == row['mean_iou'][1]
    assert evaluator.evaluate(str(folder / 'train'), max_examples=1).metrics['mean_iou'] == report['mean_iou']


def check_a_cut(start: list[str], tmp_path: Path, out: Path) -> None:
    cut = tmp_path / 'cut'
    by = ['--scope=sensitivity', f'--sensitivity_report={out}', '--target_parameters=0.9']
    assert compress.main([*start, f'--output_dir={cut}', *by, f'--skip_layers={SKIPPED}']) == 0
    written = json.loads((cut / 'compression.json').read_text())
    assert 0.7 < written['after']['parameters'] / written['before']['parameters'] <= 0.9
    with pytest.raises(UsageError, match=r'--sensitivity_report: says nothing of .*block2'):
        compress.main([*start, f'--output_dir={tmp_path / "all"}', *by])


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        (['--scope=sensitivity'], '--scope sensitivity and --sensitivity_report go together'),
        (['--sensitivity_report=x'], '--scope sensitivity and --sensitivity_report go together'),
        (['--sensitivity', '--iterations=2', '--retrain_steps=2'], '--sensitivity cuts nothing'),
        (['--sensitivity', '--sensitivity_examples=0'], '--sensitivity_examples: got 0, choose 1 or more'),
    ],
)
def test_flags_that_do_not_go_together(more, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        compress.main(['--config_path=x', '--input_checkpoint=x', f'--output_dir={tmp_path}', *more])
