"""Every smoke config trains its twenty steps, here on noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from builders import config_loader
from engine import train_lib
from tests.conftest import ROOT
from tests.tiny_run import write_records

SMOKE = sorted((ROOT / 'configs' / 'smoke').glob('*.config'))


@pytest.mark.slow
@pytest.mark.parametrize('path', SMOKE, ids=lambda path: path.stem)
def test_trains(path: Path, tmp_path: Path):
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (120, 180, 3), np.uint8) for _ in range(4)]
    labels = [rng.integers(0, 8, (120, 180)).astype(np.uint8) for _ in range(4)]
    write_records(tmp_path / 'train.record', images, labels, [f'{i}.png' for i in range(4)])
    overrides = [f'train_input_reader.tf_record_input_reader.input_path=["{tmp_path}/train.record"]']
    config = config_loader.load(str(path), overrides, purpose='train')

    last = train_lib.train(config, train_lib.TrainOptions(logdir=str(tmp_path / 'run')))

    assert last == 20
    lines = [json.loads(line) for line in (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()]
    assert lines[-1]['step'] == 20
