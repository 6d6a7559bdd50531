"""Predictions on disk: what is in the files, what they are called, and what happens when they cannot be written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import DataError, UsageError
from dataset_tools import cityscapes_labels
from engine import painting, saved_predictions
from engine.saved_predictions import SavedPredictions
from inputs.label_map import LabelMap
from reports import pictures
from tests import commands

COLORS = ((10, 20, 30), (40, 50, 60), (70, 80, 90))
LABEL_MAP = LabelMap(names=('road', 'sky', 'car'), colors=COLORS, label_ids=(7, 23, 26))
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (9, 13, 3)).astype(np.float32)
CLASS_IDS = RNG.integers(0, 3, (9, 13)).astype(np.uint8)


def _saved(folder, *kinds, **options):
    return SavedPredictions(str(folder), label_map=options.pop('label_map', LABEL_MAP), kinds=kinds, **options)


def _pixels(path):
    return np.asarray(Image.open(path))


def _names(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob('*') if path.is_file())


def test_every_kind_holds_what_it_says(tmp_path):
    saved = _saved(tmp_path, 'ids', 'label_ids', 'color', 'overlay')
    saved.begin(40)
    saved.add('seq/a.png', IMAGE, CLASS_IDS, (0, 0))
    folder = tmp_path / 'predictions-40' / 'seq'
    assert _names(folder) == ['a_color.png', 'a_ids.png', 'a_labelIds.png', 'a_overlay.png']
    np.testing.assert_array_equal(_pixels(folder / 'a_ids.png'), CLASS_IDS)
    np.testing.assert_array_equal(_pixels(folder / 'a_labelIds.png'), np.array([7, 23, 26])[CLASS_IDS])
    np.testing.assert_array_equal(_pixels(folder / 'a_color.png'), np.array(COLORS)[CLASS_IDS])
    blend = pictures.overlay(IMAGE.astype(np.uint8), CLASS_IDS, COLORS)
    np.testing.assert_array_equal(_pixels(folder / 'a_overlay.png'), blend)
    assert saved.describe() == f'predictions of 1 images in {tmp_path}/predictions-40'


@pytest.mark.parametrize('padded', [None, (12, 15)])
def test_a_crop_at_both_sizes(tmp_path, padded):
    """The evaluated part is rows 2 to 6, columns 3 to 10 of the image."""
    part = CLASS_IDS[2:7, 3:11]
    for size in saved_predictions.SIZES:
        saved = _saved(tmp_path / size, 'ids', 'label_ids', 'color', 'overlay', size=size, padded_size=padded)
        saved.add('a.png', IMAGE, part, (2, 3))
        folder = tmp_path / size / 'predictions-0'
        expected = np.full((9, 13) if size == 'original' else padded or (5, 8), 255)
        top, left = (2, 3) if size == 'original' else (0, 0)
        place = np.s_[top : top + 5, left : left + 8]
        expected[place] = part
        np.testing.assert_array_equal(_pixels(folder / 'a_ids.png'), expected)
        np.testing.assert_array_equal(
            _pixels(folder / 'a_labelIds.png'), np.where(expected == 255, 0, np.array([7, 23, 26])[expected % 255 % 3])
        )
        np.testing.assert_array_equal(_pixels(folder / 'a_color.png')[place], np.array(COLORS)[part])
        assert (_pixels(folder / 'a_color.png')[expected == 255] == 0).all()
        overlay = _pixels(folder / 'a_overlay.png')
        if size == 'original':
            np.testing.assert_array_equal(overlay[expected == 255], IMAGE[expected == 255])


def test_a_label_id_0_leaves_the_ignore_label(tmp_path):
    label_map = LabelMap(names=('road', 'sky'), colors=COLORS[:2], label_ids=(0, 9))
    painted = painting.paint('ids', IMAGE, np.array([[0, 1, 255]]), label_map, id_table=label_map.label_ids)
    np.testing.assert_array_equal(painted, [[0, 9, 255]])


def test_equal_names_are_numbered_and_said(tmp_path):
    saved = _saved(tmp_path, 'ids', 'color')
    for name in ('a.png', 'a.jpg', 'b.png', 'a.png', ''):
        saved.add(name, IMAGE, CLASS_IDS, (0, 0))
    folder = tmp_path / 'predictions-0'
    assert [name for name in _names(folder) if 'ids' in name] == [
        *('a-2_ids.png', 'a-3_ids.png', 'a_ids.png', 'b_ids.png', 'image_ids.png')
    ]
    assert len(_names(folder)) == 10
    assert saved.describe().endswith('predictions-0; 2 of them share a name and are numbered')


@pytest.mark.parametrize(
    ('name', 'stem'),
    [
        ('a.png', 'a'),
        ('/data/a.b.png', 'data/a.b'),
        ('../../etc/a.png', 'etc/a'),
        (r'C:\pictures\a.png', 'pictures/a'),
        ('a//./b.jpg', 'a/b'),
        ('..', ''),
    ],
)
def test_names_stay_inside_the_folder(name, stem):
    assert saved_predictions.safe_stem(name) == stem


FRAMES = ('leftImg8bit/val/lindau/lindau_000003_000019_leftImg8bit.png', 'frankfurt_000000_000294.png')


def test_the_benchmarks_script_finds_and_scores_the_server_form(tmp_path, monkeypatch):
    pytest.importorskip('cityscapesscripts')
    if not hasattr(np, 'in1d'):  # the script calls it, numpy 2.4 no longer has it
        monkeypatch.setattr(np, 'in1d', np.isin, raising=False)
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as script

    label_map = cityscapes_labels.label_map()
    saved = _saved(tmp_path, 'cityscapes', 'ids', 'color', label_map=label_map)
    truth, predicted = RNG.integers(0, 19, (2, 2, 9, 13)).astype(np.uint8)
    label_ids = np.array(label_map.label_ids)
    files = []
    for name, label, class_ids in zip(FRAMES, truth, predicted, strict=True):
        saved.add(name, IMAGE, class_ids, (0, 0))
        frame = '_'.join(Path(name).stem.split('_')[:3])
        files.append(str(tmp_path / f'{frame}_gtFine_labelIds.png'))
        Image.fromarray(label_ids[label].astype(np.uint8)).save(files[-1])
    args = script.args
    monkeypatch.setattr(args, 'predictionPath', str(tmp_path / 'predictions-0' / 'cityscapes'))
    monkeypatch.setattr(args, 'predictionWalk', None)
    monkeypatch.setattr(args, 'JSONOutput', False)
    monkeypatch.setattr(args, 'quiet', True)
    monkeypatch.setattr(args, 'evalInstLevelScore', False)
    found = [str(script.getPrediction(args, path)) for path in files]
    assert [Path(path).name for path in found] == [
        'lindau_000003_000019_pred_labelIds.png',
        'frankfurt_000000_000294_pred_labelIds.png',
    ]
    scores = script.evaluateImgLists(found, files, args)
    hits = [((truth == i) & (predicted == i)).sum() / ((truth == i) | (predicted == i)).sum() for i in range(19)]
    assert scores['averageScoreClasses'] == pytest.approx(np.mean(hits))


def test_names_that_the_server_would_not_understand(tmp_path):
    saved = _saved(tmp_path, 'cityscapes')
    with pytest.raises(DataError, match=r'cityscapes: street\.png: the server wants names <city>_<sequence>_<frame>'):
        saved.add('street.png', IMAGE, CLASS_IDS, (0, 0))
    saved.add(FRAMES[1], IMAGE, CLASS_IDS, (0, 0))
    with pytest.raises(DataError, match='a second record of the frame frankfurt_000000_000294'):
        saved.add('b/frankfurt_000000_000294_leftImg8bit.png', IMAGE, CLASS_IDS, (0, 0))


def test_what_cannot_be_saved_is_told_at_once(tmp_path):
    with pytest.raises(UsageError, match='--prediction_size: the Cityscapes server takes the original size'):
        _saved(tmp_path, 'cityscapes', size='network')
    for kind in ('label_ids', 'cityscapes'):
        with pytest.raises(UsageError, match=f'--save_predictions {kind}: the label map has no label_id'):
            _saved(tmp_path, kind, label_map=LabelMap.default(3))


def test_a_file_in_the_way_ends_the_saving_in_one_line(tmp_path):
    (tmp_path / 'predictions-0').mkdir()
    (tmp_path / 'predictions-0' / 'b').write_text('a file where a folder is needed')
    saved = _saved(tmp_path, 'ids')
    for name in ('a.png', 'b/c.png', 'd.png'):
        saved.add(name, IMAGE, CLASS_IDS, (0, 0))
    assert saved.problem and '\n' not in saved.problem
    assert saved.problem.startswith(f'--save_predictions: {tmp_path}/predictions-0/b/c_ids.png: cannot be written')
    assert saved.problem.endswith(f'no more are saved, 1 images in {tmp_path}/predictions-0 are whole')
    assert _names(tmp_path) == ['predictions-0/a_ids.png', 'predictions-0/b']


def test_a_full_disk_keeps_what_is_whole(tmp_path):
    saved = _saved(tmp_path, 'overlay')
    noise = RNG.integers(0, 256, (64, 64, 3))
    with commands.full_disk(2000):
        saved.add('small.png', IMAGE, CLASS_IDS, (0, 0))
        saved.add('large.png', noise, np.zeros((64, 64), np.uint8), (0, 0))
        saved.add('small2.png', IMAGE, CLASS_IDS, (0, 0))
    assert 'large_overlay.png: cannot be written' in str(saved.problem) and saved.num_images == 1
    assert _names(tmp_path) == ['predictions-0/small_overlay.png']
    assert _pixels(tmp_path / 'predictions-0' / 'small_overlay.png').shape == (9, 13, 3)
