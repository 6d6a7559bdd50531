"""Two folders on disk -> comparison.json, or one line that says why not."""

from __future__ import annotations

import json
import shutil

import pytest

from core.errors import DataError, UsageError
from engine import compare_lib
from tests.reports import synthetic_evaluation


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs')
    synthetic_evaluation.make(folder / 'a', num_images=6, shift=6)
    synthetic_evaluation.make(folder / 'b', num_images=6, shift=1, step=200)
    return folder


@pytest.fixture
def runs(folders, tmp_path):
    shutil.copytree(folders, tmp_path / 'runs')
    return tmp_path / 'runs'


def _compare(runs):
    return compare_lib.compare(*(compare_lib.load(str(runs / side)) for side in 'ab'))


def _edit_records(path, edit):
    records = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(''.join(json.dumps(record) + '\n' for record in edit(records)))


def test_scores_are_those_of_both_evaluations(runs):
    result = _compare(runs)
    for side, step in (('a', 100), ('b', 200)):
        metrics = json.loads((runs / side / 'metrics.json').read_text())
        assert result['mean_iou'][side] == pytest.approx(metrics['mean_iou'], abs=1e-12)
        assert result['boundary_iou']['road'][side] == pytest.approx(metrics['boundary']['boundary_iou']['road'])
        assert result['mean_category_iou'][side] == pytest.approx(metrics['mean_category_iou'], abs=1e-12)
        assert result[side]['step'] == step
    assert result['mean_iou']['difference'] > 0
    path = compare_lib.write(result, str(runs / 'out'))
    assert json.loads((runs / 'out' / 'comparison.json').read_text()) == result
    assert path == str(runs / 'out' / 'comparison.json')
    assert compare_lib.describe(result).startswith(f'A: {runs}/a/metrics.json (runs/streets/model.ckpt-100, step 100)')


def test_the_order_of_the_records_does_not_matter(runs):
    expected = _compare(runs)
    _edit_records(runs / 'b' / 'images-200.jsonl', lambda records: records[::-1])
    assert _compare(runs) == expected


def test_a_metrics_file_will_do(runs):
    assert compare_lib.load(str(runs / 'b' / 'metrics-200.json')).metrics['step'] == 200


def test_other_images_are_refused(runs):
    _edit_records(runs / 'b' / 'images-200.jsonl', lambda records: records[:-1])
    with pytest.raises(DataError) as caught:
        _compare(runs)
    assert str(caught.value) == (
        f'--compare: the images differ: 6 and 5; 1 only in {runs}/a/metrics.json (first sequence_2/scene_005.png); '
        'evaluate both on the same eval_input_reader'
    )


def test_other_labels_are_refused(runs):
    def more(records):
        records[2]['labels'][0] += 1
        return records

    _edit_records(runs / 'b' / 'images-200.jsonl', more)
    with pytest.raises(DataError, match=r'--compare: sequence_2/scene_002\.png: the labels differ between'):
        _compare(runs)


def test_other_classes_are_refused(runs):
    path = runs / 'b' / 'metrics.json'
    path.write_text(path.read_text().replace('"road"', '"street"'))
    with pytest.raises(DataError, match='--compare: the classes differ'):
        _compare(runs)


def test_what_is_missing_is_named(runs, tmp_path):
    (runs / 'a' / 'images-100.jsonl').unlink()
    with pytest.raises(DataError, match=r'a/images-100\.jsonl: no such file, .*metrics\.json names it; evaluate again'):
        compare_lib.load(str(runs / 'a'))
    (runs / 'b' / 'metrics.json').write_text('{"mean_iou": 1}')
    with pytest.raises(DataError, match=r'b/metrics\.json: not what eval\.py writes'):
        compare_lib.load(str(runs / 'b'))
    (runs / 'b' / 'metrics.json').write_text('{')
    with pytest.raises(DataError, match=r'b/metrics\.json: not JSON'):
        compare_lib.load(str(runs / 'b'))
    with pytest.raises(UsageError, match=r'--compare: /nowhere: no metrics\.json there; give an eval_dir'):
        compare_lib.check_places(['/nowhere', str(runs / 'a')], has_config=False)
