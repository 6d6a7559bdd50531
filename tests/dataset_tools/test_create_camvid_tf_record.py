"""CamVid: the lists of its tutorial, and the real frames where they are at hand."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PIL import Image

from core.errors import UsageError
from dataset_tools import create_camvid_tf_record
from dataset_tools.pairs import Pair
from inputs import pipeline


def convert(folder, out, split='train'):
    arguments = ['--camvid_dir', str(folder), '--split', split, '--output_dir', str(out), '--num_shards', '2']
    create_camvid_tf_record.main(arguments)
    manifest = json.loads((out / f'camvid_{split}.record.manifest.json').read_text())
    return manifest, list(pipeline.evaluation_dataset([f'{out}/camvid_{split}.record-*'], num_classes=11))


def test_lists_of_the_tutorial_are_read_from_any_place(tmp_path):
    (tmp_path / 'val.txt').write_text('/SegNet/CamVid/val/a.png /SegNet/CamVid/valannot/a.png\n')
    pairs = create_camvid_tf_record.find_pairs(str(tmp_path), 'val')
    assert pairs == [Pair(f'{tmp_path}/val/a.png', f'{tmp_path}/valannot/a.png')]


def test_folders_without_a_list_and_void(tmp_path):
    for folder, array in (('val', np.zeros((4, 5, 3), np.uint8)), ('valannot', np.array([[0, 10, 11]] * 3, np.uint8))):
        (tmp_path / folder).mkdir()
        for name in ('a', 'b'):
            Image.fromarray(array[:3, :3]).save(tmp_path / folder / f'{name}.png')
    _, examples = convert(tmp_path, tmp_path / 'out', 'val')
    assert len(examples) == 2
    np.testing.assert_array_equal(examples[0]['label'], [[0, 10, 255]] * 3)


def test_a_missing_split_is_named(tmp_path):
    with pytest.raises(UsageError, match=r'--split: neither .*test.txt nor the folder .*test exists'):
        create_camvid_tf_record.find_pairs(str(tmp_path), 'test')


def test_real_frames(shared_dir, tmp_path):
    """Six frames of the training split: sizes, classes, and pixels equal to the files."""
    camvid = shared_dir / 'data' / 'camvid'
    lines = (camvid / 'train.txt').read_text().splitlines()[::60][:6]
    for folder in ('train', 'trainannot'):
        os.symlink(camvid / folder, tmp_path / folder)
    (tmp_path / 'train.txt').write_text('\n'.join(lines))
    manifest, examples = convert(tmp_path, tmp_path / 'out')
    assert manifest['sizes'] == {'360x480': len(lines)} and manifest['num_examples'] == len(lines)
    assert manifest['class_pixels']['road'] > manifest['class_pixels']['pole'] > 0
    for example in examples:
        name = os.path.basename(example['filename'].numpy().decode())
        label = np.asarray(Image.open(camvid / 'trainannot' / name))
        np.testing.assert_array_equal(example['label'], np.where(label == 11, 255, label))
        np.testing.assert_array_equal(example['image'], np.asarray(Image.open(camvid / 'train' / name)))
