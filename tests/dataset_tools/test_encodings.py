"""`--encoding`: the same pixels in every exact form, through everything that reads records."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import DataError, UsageError
from dataset_tools import create_tf_record
from inputs import augmentations as aug
from inputs import class_histogram, pipeline, shard_manifest

EXACT = ('original', 'tiles', 'raw')


def convert(folders, encoding, *more):
    name = f'{encoding}.record'
    arguments = ['--images', f'{folders}/images', '--labels', f'{folders}/labels', '--output_dir', f'{folders}/out']
    create_tf_record.main([*arguments, '--num_classes', '3', '--name', name, '--encoding', encoding, *more])
    return f'{folders}/out/{name}-*'


@pytest.fixture
def mixed(folders):
    """The folders with pictures of other modes and sizes as well."""
    rng = np.random.default_rng(2)
    for name, mode, channels in (('10', 'RGBA', 4), ('11', 'L', 1), ('12', 'LA', 2)):
        size = (131, 260)
        array = rng.integers(0, 256, (*size, channels), np.uint8)
        Image.fromarray(array.squeeze()).save(folders / 'images' / f'{name}.png')
        assert Image.open(folders / 'images' / f'{name}.png').mode == mode
        Image.fromarray(rng.integers(0, 3, size, np.uint8)).save(folders / 'labels' / f'{name}.png')
    palette = Image.fromarray(rng.integers(0, 256, (9, 8, 3), np.uint8)).quantize(16)
    palette.save(folders / 'images' / '13.png')
    Image.fromarray(rng.integers(0, 3, (9, 8), np.uint8)).save(folders / 'labels' / '13.png')
    Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(folders / 'images' / '14.jpg')
    Image.fromarray(rng.integers(0, 3, (40, 50), np.uint8)).save(folders / 'labels' / '14.png')
    return folders


def test_exact_forms_give_the_same_examples_and_batches(mixed):
    patterns = {encoding: convert(mixed, encoding) for encoding in EXACT}
    evaluated = {e: list(pipeline.evaluation_dataset([p], num_classes=3)) for e, p in patterns.items()}
    steps = [
        functools.partial(aug.random_scale, min_ratio=0.5, max_ratio=2.0),
        functools.partial(aug.random_crop, height=33, width=41, max_class_share=0.6),
        aug.random_horizontal_flip,
    ]
    trained = {}
    for encoding, pattern in patterns.items():
        records = pipeline.TrainingRecords([pattern], augmentations=steps, num_classes=3, cache_limit_bytes=0)
        trained[encoding] = list(records.batches(batch_size=3, seed=4).take(12))
        kept = pipeline.TrainingRecords([pattern], augmentations=steps, num_classes=3)
        trained[f'{encoding} in memory'] = list(kept.batches(batch_size=3, seed=4).take(12))
    for found in [*evaluated.values(), *trained.values()]:
        expected = evaluated['original'] if len(found) == 12 and 'instances' in found[0] else trained['original']
        for a, b in zip(found, expected, strict=True):
            for key in ('image', 'label', 'filename'):
                np.testing.assert_array_equal(a[key], b[key])
    assert len(evaluated['original']) == 12


def test_counts_of_classes_do_not_depend_on_the_form(mixed):
    counts = [class_histogram.of_records([convert(mixed, encoding)], num_classes=3) for encoding in EXACT]
    assert counts[0] == counts[1] == counts[2] and counts[0].num_examples == 12


def test_manifests_say_how_and_where(folders):
    path = Path(convert(folders, 'tiles').removesuffix('-*') + '.manifest.json')
    manifest = json.loads(path.read_text())
    assert manifest['encoding'] == 'tiles'
    files = pipeline.record_files([f'{folders}/out/tiles.record-*'])
    for path, shard in shard_manifest.of_files(files).items():
        assert shard.crc32 == shard_manifest.checksum(path)
        assert shard.offsets is not None and len(shard.offsets) == shard.num_examples


def test_jpeg_loses_little_and_keeps_labels(mixed):
    for name in ('10', '12'):
        (mixed / 'images' / f'{name}.png').unlink()
    smooth = np.linspace(0, 255, 64 * 96 * 3).reshape(64, 96, 3).astype(np.uint8)
    Image.fromarray(smooth).save(mixed / 'images' / '15.png')
    Image.fromarray(np.ones((64, 96), np.uint8)).save(mixed / 'labels' / '15.png')
    found = {e['filename'].numpy(): e for e in pipeline.evaluation_dataset([convert(mixed, 'jpeg')], num_classes=3)}
    exact = {e['filename'].numpy(): e for e in pipeline.evaluation_dataset([convert(mixed, 'raw')], num_classes=3)}
    assert found.keys() == exact.keys()
    for name, example in exact.items():
        np.testing.assert_array_equal(found[name]['label'], example['label'])
    (name,) = [name for name in exact if b'15' in name]
    assert np.abs(found[name]['image'] - exact[name]['image']).max() < 6
    (name,) = [name for name in exact if b'14' in name]
    np.testing.assert_array_equal(found[name]['image'], exact[name]['image'])  # it was a JPEG, and is that one


def test_jpeg_of_a_fourth_channel_is_refused(mixed):
    with pytest.raises(DataError, match=r'10.png: JPEG has no fourth channel, this picture is RGBA'):
        convert(mixed, 'jpeg')


def test_another_encoding_is_another_conversion(folders):
    convert(folders, 'raw')
    again = ['--name', 'raw.record', '--encoding', 'tiles']
    with pytest.raises(DataError, match='records of other inputs are there'):
        convert(folders, 'raw', *again[2:])


@pytest.mark.parametrize(
    ('flags', 'said'),
    [
        (['--jpeg_quality', '0'], 'got 0, choose 1..100'),
        (['--jpeg_quality', '80', '--encoding', 'raw'], 'of --encoding jpeg alone, got --encoding raw'),
    ],
)
def test_wrong_flags_are_refused(folders, flags, said):
    with pytest.raises(UsageError, match=said):
        convert(folders, 'jpeg', *flags)
