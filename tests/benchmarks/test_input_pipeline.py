"""The input benchmark, small, as a process: it measures what it says it measures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_one_object_with_every_form(tmp_path):
    flags = ['--num_images', '3', '--size', '192x128', '--rounds', '1', '--seconds', '0.5', '--camvid', 'no/such']
    command = [sys.executable, '-m', 'benchmarks.input_pipeline', *flags, '--scenes_dir', str(tmp_path)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    forms = report['cases']['streets_192x128']
    assert list(forms) == ['original', 'jpeg', 'tiles', 'raw']
    for case in forms.values():
        assert case['images_per_second'] > 0 and case['decode_alone'] > 0
        assert case['share_of_decode'] == pytest.approx(case['images_per_second'] / case['decode_alone'], rel=0.01)
    assert forms['original']['over_png'] == {'images_per_second': 1.0, 'bytes_per_image': 1.0}
    pixels = 192 * 128
    assert forms['raw']['bytes_per_image'] > 3 * pixels > forms['original']['bytes_per_image']
    assert len(list((tmp_path / 'images').glob('*.png'))) == 3
