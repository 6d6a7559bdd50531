"""The rows of benchmarks.export_formats: of a manifest, and of an export that was refused."""

from __future__ import annotations

import json

import pytest

from benchmarks import export_formats
from core.errors import UsageError


def _flags(tmp_path, *more):
    return ['--config_path', str(tmp_path / 'no.config'), '--checkpoint', 'x', '--work_dir', str(tmp_path), *more]


def test_an_export_that_is_there_is_read_and_not_made_again(tmp_path, capsys):
    agreement = {
        'equal_pixels': 0.99951,
        'largest_logit_difference': None,
        'mean_iou': 0.5012,
        'mean_iou_difference': -0.0004,
    }
    folder = tmp_path / 'frozen_graph__mixed'
    folder.mkdir()
    about = {'forms': {'frozen_graph': {'bytes': 3 * 2**20, 'agreement': agreement}}}
    (folder / 'manifest.json').write_text(json.dumps(about))
    (folder / 'seconds.json').write_text('12.3')
    output = tmp_path / 'out.json'
    flags = _flags(tmp_path, '--only', 'frozen_graph, mixed', '--output', str(output))
    assert export_formats.main(flags) == 0
    (row,) = json.loads(output.read_text())['rows']
    assert row == {'form': 'frozen_graph, mixed', 'bytes': 3 * 2**20, 'seconds': 12.3, **agreement}
    assert '| frozen_graph, mixed | 3.0 | 99.951 % |  | 50.12 | -0.040 | 12 |' in capsys.readouterr().err


def test_a_refused_export_is_a_row_with_the_reason(tmp_path, capsys):
    assert export_formats.main(_flags(tmp_path, '--only', 'onnx')) == 0
    printed = capsys.readouterr()
    (row,) = json.loads(printed.out)['rows']
    assert row['form'] == 'onnx' and 'no.config' in row['refused'] and 'error:' not in row['refused']
    lines = [line for line in printed.err.splitlines() if line.startswith('|')]
    assert len({line.count('|') for line in lines}) == 1  # of one width
    assert not (tmp_path / 'onnx').exists()


def test_an_unknown_variant_is_said(tmp_path):
    with pytest.raises(UsageError, match=r"--only: got 'tensorrt', choose from frozen_graph; "):
        export_formats.main(_flags(tmp_path, '--only', 'onnx;tensorrt'))
