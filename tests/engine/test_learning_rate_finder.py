"""The sweep on a tiny training: its files, its end, and that it is a training like any other."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from core.errors import DataError
from engine.learning_rate_finder import Sweep, find
from engine.train_lib import TrainOptions
from tests.tiny_training import build_dataset, build_model, config


def run(folder, sweep, *overrides, dataset=build_dataset):
    return find(
        config(*overrides), TrainOptions(logdir=str(folder)), sweep, build_model=build_model, build_dataset=dataset
    )


@pytest.fixture(scope='module')
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp('swept')
    return folder, run(folder, Sweep(first=1e-5, last=1e4, num_steps=60, smoothing=0.8))


def test_it_ends_when_the_loss_explodes(swept):
    _, found = swept
    assert found.exploded and 20 < len(found.losses) < 60
    assert len(found.losses) == len(found.smoothed) == len(found.learning_rates)
    assert found.learning_rates == pytest.approx(np.geomspace(1e-5, 1e4, 60)[: len(found.losses)])


def test_the_suggestion_lies_below_the_minimum(swept):
    """It lies below the rate where the loss is lowest, and well above those at which nothing moves."""
    _, found = swept
    low, high = found.suggestion.range
    assert 1e-3 < low <= high <= found.suggestion.minimum < found.learning_rates[-1]


def test_it_writes_a_curve_and_no_checkpoint(swept):
    folder, found = swept
    assert sorted(path.name for path in folder.iterdir()) == ['learning_rates.json', 'learning_rates.png']
    written = json.loads((folder / 'learning_rates.json').read_text())
    assert written['optimizer'] == 'momentum_optimizer' and written['batch_size'] == 2
    assert written['suggestion']['range'] == list(found.suggestion.range)
    assert written['smoothed_losses'][:20] == found.smoothed[:20]
    with Image.open(folder / 'learning_rates.png') as picture:
        assert picture.size == (800, 500)


def test_any_optimizer_from_the_same_start(tmp_path, swept):
    """The loss before the first step does not depend on the optimiser; parts and averages of a config do no harm."""
    _, momentum = swept
    adam = 'optimizer { adam_optimizer { learning_rate { constant_learning_rate {} } } }'
    others = 'moving_average_decay: 0.9 gradient_accumulation_steps: 2'
    found = run(tmp_path, Sweep(first=1e-4, last=1.0, num_steps=20), f'train_config {{ {adam} {others} }}')
    assert len(found.losses) == 20 and not found.exploded
    assert found.losses[0] == pytest.approx(momentum.losses[0], rel=0.2) and found.losses[5] < found.losses[0]


def test_a_loss_that_is_not_finite_ends_the_sweep(tmp_path):
    def poisoned(config, **arguments):
        return build_dataset(config, poison_step=12, **arguments)

    found = run(tmp_path, Sweep(num_steps=20), dataset=poisoned)
    assert found.exploded and len(found.losses) == 13
    assert json.loads((tmp_path / 'learning_rates.json').read_text())['losses'][12] is None


def test_too_few_records(tmp_path):
    def three(config, **arguments):
        return build_dataset(config, **arguments).take(3)

    with pytest.raises(DataError, match='the records ended at step 3 of 20'):
        run(tmp_path, Sweep(num_steps=20), dataset=three)
