"""The table of classes and weights."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dataset_tools import class_histogram
from tests import tiny_run


@pytest.fixture
def run(tmp_path, capsys):
    made = tiny_run.make(tmp_path)

    def call(*flags):
        assert class_histogram.main(['--config_path', made.config_path, '--split', 'eval', *flags]) == 0
        return made, capsys.readouterr().out

    return call


def test_json(run):
    made, printed = run('--json')
    content = json.loads(printed)
    pixels = np.bincount(np.concatenate([label.ravel() for label in made.labels]), minlength=256)
    assert content['num_examples'] == 4 and content['ignored_pixels'] == pixels[255]
    assert [row['pixels'] for row in content['classes'].values()] == pixels[:3].tolist()
    assert list(content['classes']) == ['road', 'sky', 'car']
    assert content['classes']['car']['ENET'] == pytest.approx(1 / np.log(1.02 + pixels[2] / pixels[:3].sum()))


def test_table(run):
    _, printed = run()
    lines = printed.splitlines()
    assert lines[0].split() == ['class', 'images', 'pixels', 'share', 'INVERSE_FREQUENCY', 'MEDIAN_FREQUENCY', 'ENET']
    assert lines[1].startswith('road') and len(lines) == 5 and lines[4].startswith('4 labels, ')
