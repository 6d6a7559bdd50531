"""A tf.data service on loopback gives the batches that there are without it, also when a worker of it is lost."""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from builders import input_builder
from core.errors import DataError, UsageError
from engine import checkpoints, data_service
from engine.train_lib import TrainOptions, train
from inputs import pipeline
from inputs.pipeline import Share
from tests import forked, tiny_run, tiny_training

ROOT = Path(__file__).resolve().parents[2]
_CONFIG = """
train_config {{
  batch_size: 4 num_steps: 9
  preprocessor_step {{ random_image_scale {{ min_scale_ratio: 0.8 max_scale_ratio: 1.3 }} }}
  preprocessor_step {{ random_image_crop {{ crop_height: 33 crop_width: 41 }} }}
  preprocessor_step {{ random_horizontal_flip {{}} }}
}}
train_input_reader {{ tf_record_input_reader {{ input_path: "{folder}/x-*" }} {more} }}
"""


def make_config(folder, more='', *overrides):
    config = tiny_training.config(_CONFIG.format(folder=folder, more=more), *overrides)
    del config.train_input_reader.tf_record_input_reader.input_path[:-1]
    return config


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Eleven examples, so that no epoch ends with a batch."""
    folder = tmp_path_factory.mktemp('records')
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (36, 45, 3), np.uint8) for _ in range(11)]
    labels = [image.argmax(-1).astype(np.uint8) for image in images]
    tiny_run.write_records(folder / 'x-0', images[:4], labels[:4], [f'{i}.png' for i in range(4)])
    tiny_run.write_records(folder / 'x-1', images[4:], labels[4:], [f'{i}.png' for i in range(4, 11)])
    return folder


class Server:
    """`python -m inputs.data_service_server` in a process of its own."""

    def __init__(self, *flags):
        command = [sys.executable, '-m', 'inputs.data_service_server', *flags]
        environment = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr
        for line in self.process.stderr:
            if found := re.search(r' at (\S+:\d+)$', line.strip()):
                self.address = found[1]
                return
        raise AssertionError('it ended')

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope='module')
def dispatcher():
    server = Server()
    lost = Server('--dispatcher', server.address)
    service = tf.data.experimental.service
    stays = service.WorkerServer(service.WorkerConfig(dispatcher_address=server.address))
    yield server.address, lost
    del stays  # before the dispatcher, which it would wait for
    for process in (lost, server):
        process.kill()


def assert_same(found, expected):
    for name in ('image', 'label', 'filename'):
        np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(expected[name]), err_msg=name)


@pytest.mark.parametrize('shuffle', [True, False])
def test_any_position_is_reached_without_those_before(shuffle):
    """Epochs of seven: batches that span two of them, and one that spans four."""
    order = pipeline.Order(7, seed=5 if shuffle else None, left_out=[2])
    expected = [tuple(int(v) for v in place) for place in order.records(0).take(60)]
    for first, count in ((0, 7), (5, 4), (13, 2), (20, 1), (12, 23)):
        found = order.at(tf.range(first, first + count, dtype=tf.int64))
        assert [tuple(int(v) for v in place) for place in zip(*found, strict=True)] == expected[first : first + count]


@pytest.mark.parametrize(('of', 'number', 'batch_size'), [(1, 0, 4), (2, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_batches_by_number_are_those_of_their_place(folder, of, number, batch_size):
    records = input_builder.build_train_records(make_config(folder))
    share = Share(number=number, of=of, batch_size=4)
    per_step = 4 // of // batch_size
    in_order = records.batches(batch_size=batch_size, seed=3, first_example=8, share=share)
    by_number = records.numbered_batches(batch_size=batch_size, seed=3, first=2 * per_step, share=share)
    for i, (expected, (found_number, found)) in enumerate(zip(in_order.take(7), by_number.take(7), strict=True)):
        assert int(found_number) == 2 * per_step + i
        assert_same(found, expected)


def numbered(folder, more=''):
    records = input_builder.build_train_records(make_config(folder, more))
    return functools.partial(records.numbered_batches, batch_size=2, seed=3, share=Share(number=0, of=1, batch_size=2))


def test_two_workers_give_the_batches_of_none_in_order(folder, dispatcher):
    address, _ = dispatcher
    make = numbered(folder)
    served = list(itertools.islice(data_service.batches(make, address, first=3), 30))
    for found, (_, expected) in zip(served, make(first=3).take(30), strict=True):
        assert_same(found, expected)


def train_in_two_runs(folder, more, logdir):
    """In a process of its own: determinism, which other tests would meet, cannot be switched off again."""
    options = TrainOptions(logdir=logdir, log_examples=True)
    for limit in ('num_steps: 4', ''):
        own = make_config(folder, more, f'train_config {{ deterministic: true {limit} }}')
        train(own, options, build_model=tiny_training.build_model)


def test_a_training_with_the_service_is_bit_equal(folder, dispatcher, tmp_path):
    address, _ = dispatcher
    found = {}
    for name, more in (('without', ''), ('with', f'tf_data_service: "{address}"')):
        forked.run(train_in_two_runs, folder, more, str(tmp_path / name))
        reader = checkpoints.read(tmp_path / name)
        lines = (tmp_path / name / 'examples.jsonl').read_text().splitlines()
        found[name] = {key: reader.tensor(key).tobytes() for key in reader.shapes}, [json.loads(line) for line in lines]
    assert found['with'] == found['without']
    assert len(found['with'][1]) == 9


def test_a_damaged_record_is_found_in_its_place(folder, dispatcher, tmp_path):
    address, _ = dispatcher
    for path in folder.glob('x-*'):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = bytearray((tmp_path / 'x-1').read_bytes())
    content[-200] ^= 255
    (tmp_path / 'x-1').write_bytes(content)
    said = []
    for more in ('', f'tf_data_service: "{address}"'):
        with pytest.raises(DataError) as caught:
            options = TrainOptions(logdir=str(tmp_path / f'run{len(said)}'))
            train(make_config(tmp_path, more), options, build_model=tiny_training.build_model)
        said.append(str(caught.value))
    assert said[0] == said[1] and 'x-1: record 7 at byte' in said[0]


def test_a_lost_worker_takes_no_batch_with_it(folder, dispatcher):
    """The last test with the service: one of its two workers is killed while batches are under way."""
    address, lost = dispatcher
    make = numbered(folder)
    served = data_service.batches(make, address, first=0, patience_seconds=2)
    found = list(itertools.islice(served, 5))
    lost.kill()
    found += list(itertools.islice(served, 60))
    for batch, (_, expected) in zip(found, make(first=0).take(65), strict=True):
        assert_same(batch, expected)


@pytest.mark.parametrize(
    ('address', 'said'),
    [
        ('host', "train_input_reader.tf_data_service: got 'host', write host:port"),
        ('localhost:1', 'nobody answers at localhost:1 ('),
        ('localhost:99999999', 'nobody answers at localhost:99999999 ('),
    ],
)
def test_an_address_that_does_not_answer(folder, tmp_path, address, said):
    with pytest.raises(UsageError) as caught:
        train(make_config(folder, f'tf_data_service: "{address}"'), TrainOptions(logdir=str(tmp_path)))
    assert said in str(caught.value) and '\n' not in str(caught.value)
