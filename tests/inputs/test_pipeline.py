"""Datasets: each example once, the same batches whatever the threads, and every mistake named."""

from __future__ import annotations

import functools
import io
import json
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from core.errors import DataError, UsageError
from engine import memory
from inputs import augmentations as aug
from inputs import pipeline, serialized_example, tf_example
from inputs.record_index import Order
from tests import forked

CROP = functools.partial(aug.random_crop, height=4, width=6)
STEPS = [
    functools.partial(aug.random_scale, min_ratio=0.7, max_ratio=1.4),
    CROP,
    aug.random_horizontal_flip,
    functools.partial(aug.random_brightness, max_delta=30.0),
]


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, 'PNG')
    return buffer.getvalue()


def example(index: int, *, ids: np.ndarray | None = None, size: tuple[int, int] = (6, 8)) -> bytes:
    rng = np.random.default_rng(index)
    label = rng.integers(0, 3, size, np.uint8) if ids is None else ids
    return tf_example.encode(
        image_bytes=png(rng.integers(0, 256, (*size, 3), np.uint8)),
        image_format='png',
        label_bytes=png(label),
        filename=f'{index:02d}',
        height=size[0],
        width=size[1],
    ).SerializeToString()


def write(path: Path, examples: list[bytes]) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for serialized in examples:
            writer.write(serialized)


@pytest.fixture(scope='module')
def shards(tmp_path_factory) -> str:
    """17 examples named 00..16 in three shards of unequal length; a glob of them."""
    folder = tmp_path_factory.mktemp('records')
    for shard, indices in enumerate((range(0, 7), range(7, 9), range(9, 17))):
        write(folder / f'x-{shard:05d}-of-00003', [example(i) for i in indices])
    return str(folder / 'x-*')


def train(shards, **changes):
    arguments = {'augmentations': STEPS, 'batch_size': 2, 'num_classes': 3, 'seed': 1}
    return pipeline.training_dataset([shards], **{**arguments, **changes})


def names(dataset) -> list[str]:
    return [name.decode() for batch in dataset for name in np.atleast_1d(batch['filename'].numpy())]


@pytest.mark.parametrize('cache_limit_bytes', [0, 1 << 30])
def test_every_epoch_holds_every_example_once(shards, cache_limit_bytes):
    order = names(train(shards, batch_size=1, num_epochs=3, cache_limit_bytes=cache_limit_bytes))
    epochs = [order[i : i + 17] for i in (0, 17, 34)]
    assert len(order) == 51
    for epoch in epochs:
        assert sorted(epoch) == [f'{i:02d}' for i in range(17)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert epochs[0] != sorted(epochs[0])


def test_batches_go_on_over_the_end_of_an_epoch(shards):
    order = names(train(shards, batch_size=5, num_epochs=5))
    assert len(order) == 85 and set(Counter(order).values()) == {5}


def test_unshuffled_order_is_that_of_the_files(shards):
    order = names(train(shards, batch_size=1, shuffle=False, num_epochs=1))
    assert order == [f'{i:02d}' for i in range(17)]


@pytest.mark.parametrize('cache_limit_bytes', [0, 1 << 30])
def test_batches_do_not_depend_on_the_number_of_threads(shards, cache_limit_bytes):
    one, many = (
        list(train(shards, num_parallel_calls=n, cache_limit_bytes=cache_limit_bytes).take(20)) for n in (1, 7)
    )
    for a, b in zip(one, many, strict=True):
        for key in ('image', 'label', 'filename'):
            np.testing.assert_array_equal(a[key], b[key])


def test_another_seed_is_another_order(shards):
    assert names(train(shards).take(8)) != names(train(shards, seed=2).take(8))


def test_the_same_example_is_augmented_anew_in_every_epoch(shards):
    seen = {}
    for batch in train(shards, batch_size=1, num_epochs=4):
        seen.setdefault(batch['filename'].numpy()[0], set()).add(batch['image'].numpy().tobytes())
    assert all(len(pictures) == 4 for pictures in seen.values())


@pytest.mark.parametrize('cache_limit_bytes', [0, 1 << 30])
def test_a_resumed_run_goes_on_where_it_was(shards, cache_limit_bytes):
    whole = list(train(shards, cache_limit_bytes=cache_limit_bytes).take(14))
    rest = list(train(shards, cache_limit_bytes=cache_limit_bytes, first_example=2 * 10).take(4))
    for a, b in zip(whole[10:], rest, strict=True):
        np.testing.assert_array_equal(a['image'], b['image'])


def test_any_position_is_reached_at_once(shards):
    """10^15 examples on: passing over them would take for ever."""
    start = 17 * 10**14 + 3
    order = names(train(shards, batch_size=1, first_example=start).take(14 + 17))
    assert sorted(order[14:]) == [f'{i:02d}' for i in range(17)]
    assert order[:14] == names(train(shards, batch_size=7, first_example=start).take(2))


def test_orders_of_epochs_are_spread_evenly():
    """Each record comes at each place of an epoch about equally often, and behind each other one."""
    order, epochs, size = Order(5, seed=7), 2000, 5
    (batch,) = order.records().map(lambda epoch, turn, number: turn).batch(epochs * size).take(1)
    turns = batch.numpy().reshape(epochs, size)
    assert (np.sort(turns, axis=1) == np.arange(size)).all()
    places = np.stack([np.bincount(column, minlength=size) for column in turns.T])
    assert abs(places / epochs - 1 / size).max() < 0.04
    orders = Counter(map(tuple, turns.tolist()))
    assert len(orders) == 120 and max(orders.values()) < 45


def test_a_record_left_out_changes_no_other_position(shards):
    records = pipeline.TrainingRecords([shards], augmentations=STEPS, num_classes=3)
    before = list(records.batches(batch_size=1, seed=1).take(51))
    records.leave_out([6, 7])
    after = list(records.batches(batch_size=1, seed=1).take(51))
    for a, b in zip(before, after, strict=True):
        name = a['filename'].numpy()[0]
        if name in (b'06', b'07'):
            assert b['filename'].numpy()[0] == b'08'
        else:
            np.testing.assert_array_equal(a['image'], b['image'])


def test_batches_have_static_shapes_and_types(shards):
    spec = train(shards, batch_size=3).element_spec
    assert spec['image'] == tf.TensorSpec((3, 4, 6, 3), tf.float32)
    assert spec['label'] == tf.TensorSpec((3, 4, 6), tf.int32)
    assert spec['filename'] == tf.TensorSpec((3,), tf.string)


def test_no_fixed_size_is_refused_with_advice(shards):
    with pytest.raises(UsageError, match='add random_image_crop, resize_image or set_fixed_image_size'):
        train(shards, augmentations=[aug.random_horizontal_flip])


def test_evaluation_yields_every_example_once_as_it_is(shards):
    examples = list(pipeline.evaluation_dataset([shards, shards], num_classes=3))
    assert [e['filename'].numpy().decode() for e in examples] == [f'{i:02d}' for i in range(17)]
    rng = np.random.default_rng(4)
    np.testing.assert_array_equal(examples[4]['label'], rng.integers(0, 3, (6, 8), np.uint8))
    np.testing.assert_array_equal(examples[4]['image'], rng.integers(0, 256, (6, 8, 3), np.uint8))


def test_patterns_without_a_file_are_all_named(tmp_path):
    with pytest.raises(DataError) as caught:
        pipeline.record_files([f'{tmp_path}/a-*', f'{tmp_path}/b.record'])
    assert str(caught.value).splitlines() == [
        f'{tmp_path}/a-*: no file matches',
        f'{tmp_path}/b.record: no file matches',
    ]
    with pytest.raises(DataError, match='no pattern given'):
        pipeline.record_files([])


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / 'x').touch()
    with pytest.raises(DataError, match='x: the file is empty'):
        pipeline.record_files([f'{tmp_path}/x'])
    with pytest.raises(DataError, match=f'^no/such-.: no file matches .seen from {os.getcwd()}.$'):
        pipeline.record_files(['no/such-*'])
    (tmp_path / '[1].record').write_bytes(b'x')
    assert pipeline.record_files([f'{tmp_path}/[1].record']) == [f'{tmp_path}/[1].record']
    with pytest.raises(DataError, match=f'^{tmp_path}: is a folder; name its record files, for example {tmp_path}/'):
        pipeline.record_files([str(tmp_path)])


def test_a_file_cut_between_records_is_found_by_its_manifest(tmp_path):
    shard = tmp_path / 'x.record-00000-of-00001'
    write(shard, [example(0), example(1)])
    length = shard.stat().st_size
    manifest = {'shards': [{'file': shard.name, 'num_examples': 2, 'bytes': length}]}
    (tmp_path / 'x.record.manifest.json').write_text(json.dumps(manifest))
    assert pipeline.record_files([str(shard)]) == [str(shard)]
    write(shard, [example(0)])
    said = rf'x.record-00000-of-00001: damaged or cut off: it has \d+ bytes, its manifest says {length} with 2 examples'
    with pytest.raises(DataError, match=said):
        pipeline.record_files([str(shard)])


def test_a_missing_shard_is_named_where_a_pattern_asks_for_it(tmp_path):
    for number in (0, 2):
        write(tmp_path / f'x.record-{number:05d}-of-00004', [example(number)])
    with pytest.raises(DataError) as caught:
        pipeline.record_files([f'{tmp_path}/x.record-*'])
    assert str(caught.value) == (
        f'{tmp_path}/x.record-00001-of-00004 and 1 more missing, 2 of 4 shards are there; convert or copy again'
    )
    chosen = f'{tmp_path}/x.record-0000[02]-of-00004'
    assert len(pipeline.record_files([chosen])) == 2


def consume(dataset) -> str:
    """What the user is told while the dataset is iterated."""
    with pytest.raises(DataError) as caught, pipeline.user_errors():
        for _ in dataset.take(20):
            pass
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('cache_limit_bytes', [0, 1 << 30])
def test_ids_outside_the_classes_name_the_example(tmp_path, cache_limit_bytes):
    ids = np.array([[0, 7], [255, 3]], np.uint8)
    write(tmp_path / 'x', [example(41, ids=ids, size=(2, 2))])
    said = '41: 2 pixels have label ids [3 7], neither a class (0..2) nor the ignore label 255'
    with pytest.raises(DataError, match=re.escape(said)), pipeline.user_errors():
        for _ in train(f'{tmp_path}/x', cache_limit_bytes=cache_limit_bytes).take(1):
            pass
    assert consume(pipeline.evaluation_dataset([f'{tmp_path}/x'], num_classes=3)) == said


def test_the_ignore_label_is_the_one_that_was_given(tmp_path):
    write(tmp_path / 'x', [example(1, ids=np.full((2, 2), 200, np.uint8), size=(2, 2))])
    batch = next(
        iter(
            train(
                f'{tmp_path}/x',
                batch_size=1,
                ignore_label=200,
                augmentations=[functools.partial(aug.random_crop, height=2, width=2, ignore_label=200)],
            )
        )
    )
    assert (batch['label'].numpy() == 200).all()


def test_a_flipped_bit_and_a_cut_record_are_said_in_one_line(tmp_path):
    write(tmp_path / 'x', [example(0), example(1), example(2)])
    content = bytearray((tmp_path / 'x').read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / 'x').write_bytes(content)
    assert 'a record file is damaged' in consume(pipeline.evaluation_dataset([f'{tmp_path}/x'], num_classes=3))
    (tmp_path / 'x').write_bytes(content[:-5][: len(content) // 4])
    assert 'a record file is damaged' in consume(pipeline.evaluation_dataset([f'{tmp_path}/x'], num_classes=3))


def test_a_damaged_file_is_named_with_what_can_be_read(tmp_path):
    write(tmp_path / 'x-0', [example(0), example(1)])
    write(tmp_path / 'x-1', [example(2), example(3), example(4)])
    (tmp_path / 'x-1').write_bytes((tmp_path / 'x-1').read_bytes()[:-5])
    dataset = pipeline.evaluation_dataset([f'{tmp_path}/x-*'], num_classes=3)
    said = rf'^{tmp_path}/x-1: record 3 at byte \d+: the file is cut off in this record, 5 bytes are missing$'
    with pytest.raises(DataError, match=said):
        with pipeline.user_errors(lambda: pipeline.first_damage([f'{tmp_path}/x-*'], num_classes=3)):
            for _ in dataset:
                pass
    (tmp_path / 'x-1').unlink()
    write(tmp_path / 'x-1', [example(2), example(3, ids=np.full((6, 8), 9, np.uint8))])
    dataset = pipeline.evaluation_dataset([f'{tmp_path}/x-*'], num_classes=3)
    with pytest.raises(DataError, match=rf'^{tmp_path}/x-1: record 2 at byte \d+: 03: 48 pixels have label ids \[9\]'):
        with pipeline.user_errors(lambda: pipeline.first_damage([f'{tmp_path}/x-*'], num_classes=3)):
            for _ in dataset:
                pass


def test_other_errors_pass_unchanged():
    with pytest.raises(tf.errors.NotFoundError), pipeline.user_errors():
        raise tf.errors.NotFoundError(None, None, 'x')
    with pytest.raises(tf.errors.InvalidArgumentError), pipeline.user_errors():
        raise tf.errors.InvalidArgumentError(None, None, 'shapes differ')


def test_decoded_records_are_in_memory_once(tmp_path):
    """With oneDNN, whose allocator keeps what it once had: a copy for a moment would be seen."""
    flat = example(0, ids=np.zeros((512, 1024), np.uint8), size=(512, 1024))
    write(tmp_path / 'x', [flat] * 200)
    growth = int(forked.run(_growth_of_decoded, str(tmp_path / 'x')))
    decoded = 4 * 512 * 1024 * 200
    assert decoded < growth < 1.5 * decoded


def _growth_of_decoded(path: str) -> int:
    os.environ['TF_ENABLE_ONEDNN_OPTS'] = '1'
    limit = 1 << 30
    records = {'augmentations': [CROP], 'num_classes': 3, 'cache_limit_bytes': limit}
    before = memory.resident_bytes()
    batches = pipeline.TrainingRecords([path], **records).batches(batch_size=2, seed=1)
    for _ in batches.take(5):
        pass
    print(memory.resident_bytes() - before)
    return 0


def test_decoded_size_is_judged_from_the_first_example():
    decoded_bytes = serialized_example.decoded_bytes
    assert decoded_bytes(example(0), 17, 3) == 17 * 4 * 48
    assert decoded_bytes(example(0), 17, 4) == 17 * 5 * 48
    assert decoded_bytes(b'', 17, 3) == decoded_bytes(b'\xff', 17, 3) == float('inf')
