"""Street scenes: seeded, complete, and what a street looks like."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from dataset_tools import make_street_scenes, street_renderer
from dataset_tools.street_texture import BUILDING, CAR, PERSON, POLE, ROAD, SKY, borders
from inputs.label_map import LabelMap

SCENES = [street_renderer.render(np.random.default_rng([0, i]), height=96, width=144) for i in range(12)]


def test_a_scene_is_a_function_of_its_seed():
    image, class_ids = street_renderer.render(np.random.default_rng([0, 3]), height=96, width=144)
    np.testing.assert_array_equal(image, SCENES[3][0])
    np.testing.assert_array_equal(class_ids, SCENES[3][1])
    assert not np.array_equal(SCENES[3][0], SCENES[4][0])


def test_shapes_types_and_ids():
    for image, class_ids in SCENES:
        assert image.shape == (96, 144, 3) and image.dtype == np.uint8
        assert class_ids.shape == (96, 144) and class_ids.dtype == np.uint8
        assert set(np.unique(class_ids)) <= {*range(8), 255}


def test_every_class_occurs_and_none_fills_the_picture():
    shares = np.mean([np.bincount(ids.ravel(), minlength=256)[:8] / ids.size for _, ids in SCENES], 0)
    assert shares.min() > 0.004 and shares.max() < 0.6
    for class_id in (CAR, PERSON, POLE):
        assert sum((ids == class_id).any() for _, ids in SCENES) >= 8


def test_sky_is_above_the_road():
    for _, ids in SCENES:
        rows = np.arange(96)[:, np.newaxis] * np.ones((1, 144))
        assert rows[ids == SKY].max() < rows[ids == ROAD].mean()
        assert (ids[0] == SKY).any() or (ids[0] == BUILDING).any()
        assert (ids[-1] == ROAD).mean() > 0.3


def test_every_change_of_class_has_one_ignored_pixel():
    ids = np.array([[0, 0, 1], [0, 0, 1], [2, 2, 2]])
    np.testing.assert_array_equal(borders(ids), [[False, True, False], [True, True, True], [False, False, False]])


def test_small_pictures_are_refused():
    with pytest.raises(ValueError, match='64 pixels or more'):
        street_renderer.render(np.random.default_rng(0), height=63, width=100)


def test_files_of_both_splits(tmp_path):
    out = tmp_path / 'streets'
    arguments = ['--output_dir', str(out), '--num_train', '3', '--num_val', '2', '--size', '80x64', '--seed', '5']
    make_street_scenes.main([*arguments, '--num_processes', '2'])
    for kind in ('images', 'labels'):
        for split, count in (('train', 3), ('val', 2)):
            names = sorted(path.name for path in (out / kind / split).iterdir())
            assert names == [f'{i:05d}.png' for i in range(count)]
    assert LabelMap.load(out / 'label_map.json').num_classes == 8
    image, class_ids = street_renderer.render(np.random.default_rng([5, 1, 0]), height=64, width=80)
    np.testing.assert_array_equal(np.asarray(Image.open(out / 'images/val/00000.png')), image)
    np.testing.assert_array_equal(np.asarray(Image.open(out / 'labels/val/00000.png')), class_ids)
    with pytest.raises(UserError, match='is not empty; choose another folder'):
        make_street_scenes.main(arguments)


@pytest.mark.parametrize('size', ['80', '80x32', 'x', '80x64x3'])
def test_wrong_sizes_are_usage_errors(size, capsys):
    with pytest.raises(SystemExit) as caught:
        make_street_scenes.main(['--output_dir', 'x', '--size', size])
    assert caught.value.code == 2 and 'write WIDTHxHEIGHT' in capsys.readouterr().err
