"""Training on damaged records: told by default, left out where that is asked for, with the same batches either way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import DataError
from engine import checkpoints
from engine.train_lib import TrainOptions, train
from tests.inputs import record_faults
from tests.tiny_training import build_model, config

SKIP = 'train_config { skip_damaged_records: true }'


@pytest.fixture
def records(tmp_path):
    folder = tmp_path / 'records'
    folder.mkdir()
    return record_faults.Records(folder)


@pytest.fixture
def read_each_time(monkeypatch):
    """As if the records were too many to be kept decoded."""
    monkeypatch.setattr('inputs.pipeline.decoded_bytes', lambda *_: float('inf'))


@pytest.fixture
def run(records):
    """Trains on the eight records, two a step."""

    def train_on_them(logdir, *overrides):
        override = (
            'train_config { preprocessor_step { random_image_crop { crop_height: 5 crop_width: 7 } } } '
            f'train_input_reader {{ tf_record_input_reader {{ input_path: "{records.folder}/x.record-*" }} }}'
        )
        message = config(override, *overrides)
        del message.train_input_reader.tf_record_input_reader.input_path[:-1]
        return train(message, TrainOptions(logdir=str(logdir), log_examples=True), build_model=build_model)

    return train_on_them


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def tensors(logdir):
    reader = checkpoints.read(logdir)
    return {name: reader.tensor(name) for name in reader.shapes}


def damage_two(records):
    """A wrong checksum in one file and a picture that is none in the other."""
    records.replace((0, 2), record_faults.example(2, image_bytes=b'no picture at all, only words'))
    content = bytearray(records.contents[1])
    # Within a picture: elsewhere it may be the name that is damaged.
    content[content.index(b'IDAT', records.ends[1][0]) + 8] ^= 8
    records.shards[1].write_bytes(content)
    # The manifest knows nothing of the first change.
    (records.folder / 'x.record.manifest.json').unlink()


def test_the_first_damaged_record_ends_the_run_in_one_line(tmp_path, run, records):
    damage_two(records)
    with pytest.raises(DataError) as caught:
        run(tmp_path / 'run')
    said = str(caught.value)
    assert '\n' not in said and 'train_config.skip_damaged_records' in said
    first = f'{records.shards[0]}: record 3 at byte {records.ends[0][1]}: street/2.png: a record cannot be decoded'
    second = f'{records.shards[1]}: record 2 at byte {records.ends[1][0]}: street/5.png: '
    assert said.startswith((first, second))
    assert 'Unknown image file format' in said or 'corrupted record' in said


@pytest.mark.usefixtures('read_each_time')
def test_the_first_one_that_is_met_while_training_ends_it_the_same_way(tmp_path, run, records):
    test_the_first_damaged_record_ends_the_run_in_one_line(tmp_path, run, records)
    done = len(lines(tmp_path / 'run' / 'examples.jsonl'))
    assert done < 4 and (checkpoints.step_of(checkpoints.latest(tmp_path / 'run') or '') or 0) == done


@pytest.mark.usefixtures('read_each_time')
def test_damaged_records_are_left_out_listed_and_counted(tmp_path, run, records):
    damage_two(records)
    assert run(tmp_path / 'run', SKIP, 'train_config { num_steps: 12 log_every_n_steps: 1 }') == 12
    assert lines(tmp_path / 'run' / 'metrics.jsonl')[-1]['damaged_records'] == 2
    listed = lines(tmp_path / 'run' / 'damaged_records.jsonl')
    assert [(line['record'], line['byte'], line['filename']) for line in listed] == [
        (3, records.ends[0][1], 'street/2.png'),
        (2, records.ends[1][0], 'street/5.png'),
    ]
    seen = [name for line in lines(tmp_path / 'run' / 'examples.jsonl') for name in line['files']]
    assert len(seen) == 24
    for epoch in range(3):
        # In place of each damaged record comes the next one.
        expected = ['0', '1', '3', '3', '4', '6', '6', '7']
        assert sorted(seen[8 * epoch : 8 * epoch + 8]) == [f'street/{number}.png' for number in expected]


def test_when_damage_is_found_changes_no_weight(tmp_path, run, records, monkeypatch):
    damage_two(records)
    run(tmp_path / 'kept_decoded', SKIP, 'train_config { num_steps: 9 }')
    monkeypatch.setattr('inputs.pipeline.decoded_bytes', lambda *_: float('inf'))
    run(tmp_path / 'resumed', SKIP, 'train_config { num_steps: 3 }')
    run(tmp_path / 'resumed', SKIP, 'train_config { num_steps: 5 }')
    (tmp_path / 'resumed' / 'damaged_records.jsonl').unlink()
    run(tmp_path / 'resumed', SKIP, 'train_config { num_steps: 9 }')
    whole = tensors(tmp_path / 'kept_decoded')
    for name, value in tensors(tmp_path / 'resumed').items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)


def test_a_repaired_record_is_used_again(tmp_path, run, records):
    records.replace((1, 1), record_faults.example(5, label_bytes=record_faults.bomb()))
    (records.folder / 'x.record.manifest.json').unlink()
    run(tmp_path, SKIP, 'train_config { num_steps: 8 }')
    assert len(lines(tmp_path / 'damaged_records.jsonl')) == 1
    records.restore()
    run(tmp_path, SKIP, 'train_config { num_steps: 12 }')
    assert not lines(tmp_path / 'damaged_records.jsonl')
    seen = [name for line in lines(tmp_path / 'examples.jsonl') if line['step'] > 8 for name in line['files']]
    assert 'street/5.png' in seen


def test_a_shard_that_is_cut_off_counts_as_many_as_its_manifest_lists(tmp_path, run, records):
    records.shards[0].write_bytes(records.contents[0][: records.ends[0][0]])
    with pytest.raises(DataError, match=r'x.record-00000-of-00002: damaged or cut off: it has'):
        run(tmp_path / 'a')
    run(tmp_path / 'b', SKIP)
    assert lines(tmp_path / 'b' / 'metrics.jsonl')[-1]['damaged_records'] == 3
    (line,) = lines(tmp_path / 'b' / 'damaged_records.jsonl')
    assert line['records'] == 3 and 'between two records: 1 of 4 are there' in line['reason']


def test_more_damage_than_allowed_ends_the_run(tmp_path, run, records):
    damage_two(records)
    with pytest.raises(DataError, match=r'2 damaged records, more than train_config.max_damaged_records = 1'):
        run(tmp_path, SKIP, 'train_config { num_steps: 12 max_damaged_records: 1 }')
