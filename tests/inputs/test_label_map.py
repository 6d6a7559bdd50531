"""Label maps: the file form, the defaults, and every mistake in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import DataError
from dataset_tools import cityscapes_labels
from inputs.label_map import LabelMap

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'label_maps'


def make(**changes) -> LabelMap:
    fields = {'names': ('road', 'sky'), 'colors': ((1, 2, 3), (4, 5, 6)), 'ignore_label': 255}
    return LabelMap(**{**fields, **changes})


def write(path: Path, content) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_saved_and_loaded_maps_are_equal(tmp_path):
    label_map = make(names=('rue', 'trottoir mouillé'), ignore_label=7)
    label_map.save(tmp_path / 'map.json')
    assert LabelMap.load(tmp_path / 'map.json') == label_map
    assert [path.name for path in tmp_path.iterdir()] == ['map.json']


def test_classes_may_be_in_any_order(tmp_path):
    classes = [{'id': 1, 'name': 'b', 'color': [1, 1, 1]}, {'id': 0, 'name': 'a', 'color': [0, 0, 0]}]
    loaded = LabelMap.load(write(tmp_path / 'm.json', {'classes': classes}))
    assert loaded.names == ('a', 'b')
    assert loaded.ignore_label == 255


@pytest.mark.parametrize('num_classes', [1, 2, 11, 19, 255])
def test_default_has_distinct_names_and_colors_and_no_black(num_classes):
    label_map = LabelMap.default(num_classes)
    assert label_map.num_classes == num_classes == len(set(label_map.names)) == len(set(label_map.colors))
    assert (0, 0, 0) not in label_map.colors
    assert label_map == LabelMap.default(num_classes)


def test_default_follows_the_voc_scheme():
    assert LabelMap.default(3).colors == ((128, 0, 0), (0, 128, 0), (128, 128, 0))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'names': (), 'colors': ()}, 'at least one class'),
        ({'names': ('road',)}, '1 names but 2 colors'),
        ({'names': ('road', 'road')}, "'road' twice"),
        ({'names': ('road', ' ')}, 'class 1: the name must be a text'),
        ({'colors': ((1, 2, 3), (4, 5, 256))}, r'class 1 \(sky\): color must be three numbers in 0..255'),
        ({'colors': ((1, 2, 3), (4, 5))}, 'three numbers'),
        ({'ignore_label': 1}, 'choose 2..255'),
        ({'ignore_label': 256}, 'choose 2..255'),
    ],
)
def test_nonsense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'not JSON'),
        ([1], 'expected {"ignore_label"'),
        ({'classes': [{'id': 0, 'name': 'a'}]}, r'classes\[0\]: expected the keys'),
        ({'classes': [{'id': 0, 'name': 'a', 'color': 'red'}]}, r'classes\[0\].color: expected \[r, g, b\]'),
        ({'classes': [{'id': 3, 'name': 'a', 'color': [1, 2, 3]}]}, r'class ids must be 0..0, each once, got \[3\]'),
        ({'classes': []}, 'at least one class'),
    ],
)
def test_a_wrong_file_is_named_in_one_line(tmp_path, content, message):
    path = write(tmp_path / 'wrong.json', content)
    with pytest.raises(DataError, match=message) as caught:
        LabelMap.load(path)
    assert str(caught.value).startswith(str(path))
    assert '\n' not in str(caught.value)


def test_a_byte_order_mark_is_passed_over(tmp_path):
    path = tmp_path / 'map.json'
    path.write_bytes(b'\xef\xbb\xbf' + make().to_json().encode())
    assert LabelMap.load(path) == make()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r'nowhere.json: cannot read the label map: No such file'):
        LabelMap.load(tmp_path / 'nowhere.json')


@pytest.mark.parametrize(('name', 'num_classes'), [('cityscapes', 19), ('camvid', 11), ('streets', 8)])
def test_shipped_maps_load(name, num_classes):
    assert LabelMap.load(CONFIGS / f'{name}.json').num_classes == num_classes


def test_shipped_cityscapes_map_is_the_one_of_the_label_table():
    assert LabelMap.load(CONFIGS / 'cityscapes.json') == cityscapes_labels.label_map()


def test_categories_and_instance_sizes_survive_saving(tmp_path):
    colors = ((1, 2, 3), (4, 5, 6))
    label_map = LabelMap(
        names=('road', 'car'), colors=colors, categories=('flat', 'vehicle'), instance_sizes=(None, 12.5)
    )
    label_map.save(tmp_path / 'm.json')
    assert LabelMap.load(tmp_path / 'm.json') == label_map
    plain = LabelMap(names=('road', 'car'), colors=colors)
    plain.save(tmp_path / 'p.json')
    assert 'category' not in (tmp_path / 'p.json').read_text() and LabelMap.load(tmp_path / 'p.json') == plain


@pytest.mark.parametrize(
    ('extra', 'message'),
    [
        ({'category': 'flat'}, r"category: expected a text for every class or for none, got \['flat', None\]"),
        (
            {'instance_size': 0},
            r'instance_size: expected pixels above 0, left out where .*, got \[0, None',
        ),
        ({'instance_size': 'big'}, r"instance_size: expected pixels above 0.*\['big', None\]"),
    ],
)
def test_half_categories_and_wrong_sizes_are_named(tmp_path, extra, message):
    classes = [{'id': 0, 'name': 'a', 'color': [0, 0, 0], **extra}, {'id': 1, 'name': 'b', 'color': [1, 1, 1]}]
    (tmp_path / 'm.json').write_text(json.dumps({'classes': classes}))
    with pytest.raises(DataError, match=message):
        LabelMap.load(tmp_path / 'm.json')
