"""Cityscapes: the table, polygons, and a tiny copy of its folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import DataError, UsageError
from dataset_tools import cityscapes_labels, create_cityscapes_tf_record
from inputs import pipeline

SIZE = (6, 8)


def polygon(label: str, x0: int, y0: int, x1: int, y1: int, **more) -> dict:
    return {'label': label, 'polygon': [[x0, y0], [x1, y0], [x1, y1], [x0, y1]], **more}


def write_polygons(path: Path, *objects: dict) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({'imgHeight': SIZE[0], 'imgWidth': SIZE[1], 'objects': list(objects)}))
    return str(path)


@pytest.fixture
def cityscapes(tmp_path) -> Path:
    """Three images of two cities in train, without labels."""
    for name in ('aachen/aachen_0_1', 'aachen/aachen_0_2', 'bonn/bonn_0_1'):
        path = tmp_path / 'leftImg8bit' / 'train' / f'{name}_leftImg8bit.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*SIZE, 3), 7, np.uint8)).save(path)
    return tmp_path


def add_labels(root: Path, suffix: str, write, annotation: str = 'gtFine') -> None:
    for image in (root / 'leftImg8bit').rglob('*.png'):
        stem = image.name.removesuffix('_leftImg8bit.png')
        path = root / annotation / image.parts[-3] / image.parts[-2] / f'{stem}_{annotation}_{suffix}'
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)


def convert(root: Path, *extra: str, split: str = 'train') -> list[np.ndarray]:
    arguments = ['--cityscapes_dir', str(root), '--split_type', split, '--output_dir', str(root / 'out')]
    create_cityscapes_tf_record.main([*arguments, '--num_shards', '2', *extra])
    pattern = f'{root}/out/cityscapes_{split}.record-*-of-00002'
    return [e['label'].numpy() for e in pipeline.evaluation_dataset([pattern], num_classes=19)]


def test_the_table_has_the_published_shape():
    train_ids = [label.train_id for label in cityscapes_labels.LABELS if 0 <= label.train_id < 255]
    assert train_ids == list(range(19))
    assert [label.id for label in cityscapes_labels.LABELS] == [*range(34), -1]
    evaluated = [label.name for label in cityscapes_labels.LABELS if not label.ignore_in_eval]
    assert tuple(evaluated) == cityscapes_labels.label_map().names
    assert cityscapes_labels.label_map().label_ids == (
        7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33
    )  # fmt: skip


def test_polygons_are_drawn_in_order_with_groups_and_without_plates_and_deleted(tmp_path):
    path = write_polygons(
        tmp_path / 'p.json',
        polygon('road', 0, 0, 7, 5),
        polygon('cargroup', 0, 0, 3, 2),
        polygon('license plate', 1, 1, 2, 1),
        polygon('sky', 4, 0, 7, 1, deleted=1),
        polygon('ego vehicle', 0, 5, 7, 5),
    )
    ids = cityscapes_labels.draw_polygons(path, SIZE)
    expected = np.zeros(SIZE, np.uint8)
    expected[:3, :4] = 13
    expected[5] = 255
    np.testing.assert_array_equal(ids, expected)


def test_what_no_polygon_covers_is_ignored(tmp_path):
    assert (cityscapes_labels.draw_polygons(write_polygons(tmp_path / 'p.json'), SIZE) == 255).all()


@pytest.mark.parametrize('kind', ['labelTrainIds.png', 'labelIds.png', 'polygons.json'])
def test_all_three_kinds_of_labels_give_the_same(cityscapes, kind):
    writers = {
        'labelTrainIds.png': lambda path: Image.fromarray(np.full(SIZE, 13, np.uint8)).save(path),
        'labelIds.png': lambda path: Image.fromarray(np.full(SIZE, 26, np.uint8)).save(path),
        'polygons.json': lambda path: write_polygons(path, polygon('car', 0, 0, 7, 5)),
    }
    add_labels(cityscapes, kind, writers[kind])
    labels = convert(cityscapes)
    assert len(labels) == 3 and all((label == 13).all() for label in labels)


def test_every_id_of_labelids_is_mapped(cityscapes):
    ids = np.arange(48, dtype=np.uint8).reshape(SIZE) % 34
    add_labels(cityscapes, 'labelIds.png', lambda path: Image.fromarray(ids).save(path))
    table = {label.id: label.train_id for label in cityscapes_labels.LABELS}
    expected = np.vectorize(table.get)(ids)
    np.testing.assert_array_equal(convert(cityscapes)[0], expected)


def test_instance_ids_are_stored_when_asked_for(cityscapes):
    rng = np.random.default_rng(0)
    instances = rng.choice(np.array([7, 26, 26001, 33999], np.uint16), SIZE)
    add_labels(cityscapes, 'labelIds.png', lambda path: Image.fromarray(np.full(SIZE, 26, np.uint8)).save(path))
    with pytest.raises(DataError, match=r'aachen_0_1_gtFine_instanceIds\.png: no such picture of instance ids'):
        convert(cityscapes, '--instances')
    add_labels(cityscapes, 'instanceIds.png', lambda path: Image.fromarray(instances).save(path))
    convert(cityscapes, '--instances')
    pattern = f'{cityscapes}/out/cityscapes_train.record-*-of-00002'
    for example in pipeline.evaluation_dataset([pattern], num_classes=19):
        np.testing.assert_array_equal(example['instances'].numpy(), instances)
    with pytest.raises(DataError, match='records of other inputs are there; --overwrite replaces them'):
        convert(cityscapes)
    convert(cityscapes, '--overwrite')
    assert all(e['instances'].shape == [0, 0] for e in pipeline.evaluation_dataset([pattern], num_classes=19))


def test_instance_ids_of_another_size_are_named(cityscapes):
    add_labels(cityscapes, 'labelIds.png', lambda path: Image.fromarray(np.full(SIZE, 26, np.uint8)).save(path))
    add_labels(cityscapes, 'instanceIds.png', lambda path: Image.fromarray(np.ones((2, 3), np.uint16)).save(path))
    with pytest.raises(DataError, match=r'instanceIds\.png: the instance ids are 2x3, the image 6x8'):
        convert(cityscapes, '--instances')


def test_coarse_labels_are_taken_for_train_extra(cityscapes):
    (cityscapes / 'leftImg8bit' / 'train').rename(cityscapes / 'leftImg8bit' / 'train_extra')
    add_labels(cityscapes, 'labelIds.png', lambda p: Image.fromarray(np.full(SIZE, 7, np.uint8)).save(p), 'gtCoarse')
    assert all((label == 0).all() for label in convert(cityscapes, split='train_extra'))


def test_patterns_of_the_reference_are_accepted(cityscapes):
    add_labels(cityscapes, 'labelTrainIds.png', lambda path: Image.fromarray(np.full(SIZE, 2, np.uint8)).save(path))
    arguments = ['--input_pattern', f'{cityscapes}/leftImg8bit/train/*/*_leftImg8bit.png', '--num_shards', '1']
    arguments += ['--annot_pattern', f'{cityscapes}/gtFine/train/*/*_gtFine_labelTrainIds.png']
    create_cityscapes_tf_record.main([*arguments, '--split_type', 'val', '--output_dir', str(cityscapes / 'out')])
    pattern = f'{cityscapes}/out/cityscapes_val.record-00000-of-00001'
    assert len(list(pipeline.evaluation_dataset([pattern], num_classes=19))) == 3


def test_an_unknown_polygon_label_names_its_file(cityscapes):
    add_labels(cityscapes, 'polygons.json', lambda path: write_polygons(path, polygon('spaceship', 0, 0, 1, 1)))
    with pytest.raises(DataError, match=r'aachen_0_1_gtFine_polygons.json: cannot be read as a label: unknown label'):
        convert(cityscapes)


def test_mistakes_of_flags_are_named(cityscapes, tmp_path):
    with pytest.raises(DataError, match=r'no labels in .*gtFine/train'):
        convert(cityscapes)
    with pytest.raises(UsageError, match='--cityscapes_dir: no such folder: /nowhere'):
        convert(Path('/nowhere'))
    with pytest.raises(UsageError, match='--cityscapes_dir: not set; give it, or --input_pattern'):
        create_cityscapes_tf_record.main(['--split_type', 'val', '--output_dir', str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        create_cityscapes_tf_record.main(['--split_type', 'vla', '--output_dir', str(tmp_path)])
    assert caught.value.code == 2
