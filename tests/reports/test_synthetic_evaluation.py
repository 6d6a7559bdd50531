"""The fixture of the pages is what an evaluation writes: documented keys, consistent numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine import image_records
from tests.reports import synthetic_evaluation

DOCUMENT = Path(__file__).resolve().parents[2] / 'docs' / 'evaluation.md'


def test_every_key_is_documented_and_every_line_adds_up(tmp_path):
    metrics = synthetic_evaluation.make(tmp_path)
    text = DOCUMENT.read_text(encoding='utf-8')
    assert [key for key in metrics if f'`{key}`' not in text] == []
    assert json.loads((tmp_path / 'metrics.json').read_text()) == {**metrics, 'config': 'streets.config'}
    records = list(image_records.read(str(tmp_path / metrics['images'])))
    assert len(records) == metrics['num_examples'] == 12
    hits = [sum(column) for column in zip(*(record['hits'] for record in records), strict=True)]
    assert hits == [row[i] for i, row in enumerate(metrics['confusion_matrix'])]
    assert {key for record in records for key in record if key not in text} == set()


def test_a_file_that_is_no_record_is_named(tmp_path):
    path = tmp_path / 'images-1.jsonl'
    path.write_text('{"filename": "a"}\n')
    with pytest.raises(Exception, match=r'images-1\.jsonl:1: no record of an image; evaluate again'):
        list(image_records.read(str(path)))
