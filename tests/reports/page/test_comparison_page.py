"""The page of two evaluations, from the files that `eval.py --compare` leaves."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from engine import compare_lib
from reports.page import comparison, render
from tests.reports.page import evaluation


@pytest.fixture(scope='module')
def compared(tmp_path_factory) -> Path:
    return evaluation.make_comparison(tmp_path_factory.mktemp('two'))


def _json(folder: Path, name: str = 'metrics.json') -> dict:
    return json.loads((folder / name).read_text(encoding='utf-8'))


def _text(folder: Path) -> str:
    return (folder / 'report' / 'index.html').read_text(encoding='utf-8')


def test_every_difference_is_shown_with_its_interval(compared):
    found, text = _json(compared / 'ab', 'comparison.json'), _text(compared / 'ab')
    table = text[text.index('id="comparison-classes"') :]
    for name, entry in found['class_iou'].items():
        row = table[table.index(f'data-value="{name}"') :].partition('</tr>')[0]
        low, high = entry['interval']
        for shown in (f'{100 * entry["a"]:.2f}', f'{100 * entry["b"]:.2f}', f'{100 * entry["difference"]:+.2f}'):
            assert f'>{shown}' in row
        assert f'{100 * low:+.2f} to {100 * high:+.2f}' in row
        assert ('B is better' in row) == (low > 0) and ('B is worse' in row) == (high < 0)
    low, high = found['mean_iou']['interval']
    assert low > 0
    assert f'B is better than A in mean IoU: {100 * found["mean_iou"]["difference"]:+.2f} points' in text
    assert f'sign test p = {found["sign_test"]["p_value"]:.3g}' in text


def test_pictures_are_of_images_that_both_kept_and_lie_beside_the_page(compared):
    of_a, of_b = ({e['filename']: e for e in _json(compared / side)['gallery']} for side in 'ab')
    data = json.loads(re.findall(r'id="data">(.*?)</script>', _text(compared / 'ab'), re.DOTALL)[0])
    gallery = data['gallery']
    assert {entry['filename'] for entry in gallery} == set(of_a) & set(of_b) != set()
    changes = [entry['mean_iou'] - entry['a']['mean_iou'] for entry in gallery]
    assert changes == sorted(changes)
    for entry in gallery:
        name = entry['filename']
        assert entry['mean_iou'] == of_b[name]['mean_iou'] and entry['a']['mean_iou'] == of_a[name]['mean_iou']
        for view, path in entry['files'].items():
            side, original = (of_a, view[:-2]) if view.endswith('-a') else (of_b, view)
            folder = compared / ('a' if side is of_a else 'b') / 'report'
            copied = (compared / 'ab' / 'report' / path).read_bytes()
            assert copied == (folder / side[name]['files'][original]).read_bytes()


def test_without_the_two_evaluations_there_are_no_pictures(compared, tmp_path):
    folder = tmp_path / 'ab'
    folder.mkdir()
    moved = _json(compared / 'ab', 'comparison.json')
    for side in 'ab':
        moved[side]['metrics'] = f'/nowhere/{side}/metrics.json'
    (folder / 'comparison.json').write_text(json.dumps(moved))
    render.write(str(folder))
    assert 'id="comparison-classes"' in _text(folder) and 'id="gallery"' not in _text(folder)


def test_a_comparison_beside_an_evaluation_is_a_section_of_its_page(compared, tmp_path):
    folder = tmp_path / 'b'
    shutil.copytree(compared / 'b', folder)
    shutil.copy(compared / 'ab' / 'comparison.json', folder)
    render.write(str(folder))
    text = _text(folder)
    for section in ('summary', 'comparison', 'classes', 'confusion', 'failures', 'images', 'run'):
        assert text.count(f'<section id="{section}"') == 1
    assert f'A: {compared / "a"}, step 700' in text


def test_equal_evaluations_cannot_be_told_apart(compared, tmp_path):
    one = compare_lib.load(str(compared / 'a'))
    compare_lib.write(compare_lib.compare(one, one), str(tmp_path))
    render.write(str(tmp_path))
    assert 'A and B cannot be told apart in mean IoU: +0.00 points' in _text(tmp_path)
    assert 'class="better"' not in _text(tmp_path) and 'class="worse"' not in _text(tmp_path)


def test_a_class_without_a_difference_has_dashes():
    found = {
        'class_iou': {'road': {'a': 0.5, 'b': 0.25, 'difference': -0.25, 'interval': [-0.5, -0.1]}, 'train': None},
    }
    road, train = comparison.class_rows(found, {'road': '#808080'})
    assert road['verdict'] == 'worse' and road['at'] == 0.25 and road['span'] == [0.0, 0.4]
    assert train['entry'] is None and train['at'] is None and not train['span']
