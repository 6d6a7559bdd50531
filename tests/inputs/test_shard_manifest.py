"""Manifests that give the records' places: used where they are the file's, and never believed otherwise."""

from __future__ import annotations

import json

import pytest

from core.errors import DataError
from inputs import pipeline, record_framing, shard_manifest
from inputs.record_index import RecordIndex
from tests.inputs.test_pipeline import STEPS, example, names, write


def write_with_manifest(folder, examples, **changes):
    """One shard of examples with its manifest; its path."""
    path = folder / 'x.record-00000-of-00001'
    write(path, examples)
    offsets = [sum(len(e) + 16 for e in examples[:i]) for i in range(len(examples))]
    entry = {'file': path.name, 'num_examples': len(examples), 'bytes': path.stat().st_size, 'offsets': offsets}
    (folder / 'x.record.manifest.json').write_text(json.dumps({'shards': [{**entry, **changes}]}))
    return str(path)


@pytest.fixture
def scans(monkeypatch) -> list[str]:
    """The files that are scanned."""
    scanned = []
    scan = record_framing.scan
    monkeypatch.setattr(record_framing, 'scan', lambda path: scanned.append(path) or scan(path))
    return scanned


def test_nothing_is_scanned_where_the_manifest_knows(tmp_path, scans):
    path = write_with_manifest(tmp_path, [example(i) for i in range(6)])
    records = pipeline.TrainingRecords([path], augmentations=STEPS, num_classes=3)
    assert sorted(names(records.batches(batch_size=1, seed=1, num_epochs=1))) == [f'{i:02d}' for i in range(6)]
    assert not scans
    assert records.number_at(path, len(example(0)) + 16) == 1
    index = RecordIndex([path], {})
    assert scans == [path] and index._offsets.tolist() == records._index._offsets.tolist()


@pytest.mark.parametrize(
    'changes',
    [
        {'offsets': None},
        {'offsets': []},
        {'offsets': [0, 5, 9]},
        {'offsets': [0, 9, 5, 20, 30, 40]},
        {'offsets': [3, 5, 9, 20, 30, 40]},
        {'num_examples': 5},
    ],
)
def test_a_manifest_that_is_not_the_files_is_not_believed(tmp_path, scans, changes):
    path = write_with_manifest(tmp_path, [example(i) for i in range(6)], **changes)
    index = RecordIndex([path], shard_manifest.of_files([path]))
    assert scans == [path] and len(index) == 6


def test_records_written_anew_behind_an_old_manifest(tmp_path, scans):
    """Of the same length in all, cut elsewhere: the last record tells. Of another length: said at the start."""
    path = write_with_manifest(tmp_path, [example(0), example(1)])
    old = (tmp_path / 'x.record.manifest.json').read_text()
    length = len(example(0)) + len(example(1))
    short, long = b'x' * (len(example(0)) - 7), b'y' * (length - len(example(0)) + 7)
    write(tmp_path / 'x.record-00000-of-00001', [short, long])
    assert (tmp_path / 'x.record.manifest.json').read_text() == old
    index = RecordIndex([path], shard_manifest.of_files([path]))
    assert scans == [path] and [index.read(0), index.read(1)] == [short, long]

    write(tmp_path / 'x.record-00000-of-00001', [example(0)])
    with pytest.raises(DataError, match='damaged or cut off: it has'):
        pipeline.TrainingRecords([path], augmentations=STEPS, num_classes=3)
    cut = pipeline.TrainingRecords([path], augmentations=STEPS, num_classes=3, allow_damaged_framing=True)
    assert 'ends here, between two records: 1 of 2 are there' in str(cut.framing_damages[0])


def test_a_damaged_length_is_found_when_it_is_read(tmp_path, scans):
    path = write_with_manifest(tmp_path, [example(i) for i in range(4)])
    content = bytearray((tmp_path / 'x.record-00000-of-00001').read_bytes())
    content[len(example(0)) + 16] ^= 1
    (tmp_path / 'x.record-00000-of-00001').write_bytes(content)
    records = pipeline.TrainingRecords([path], augmentations=STEPS, num_classes=3)
    found = records.find_damages(seed=1, first_example=0, count=4)
    assert not scans and list(found) == [1]
    assert str(found[1]).startswith(f'{path}: record 2 at byte {len(example(0)) + 16}: corrupted record')


def test_what_is_no_manifest_is_named(tmp_path):
    path = write_with_manifest(tmp_path, [example(0)])
    for text in ('{', '[]', '{"shards": [{"bytes": 3}]}', '{"shards": [{"file": "x", "bytes": "y"}]}'):
        (tmp_path / 'x.record.manifest.json').write_text(text)
        with pytest.raises(DataError, match=rf'^{tmp_path}/x.record.manifest.json: not a manifest of shards'):
            pipeline.record_files([path])


def test_text_has_a_line_for_each_shard():
    shards = [{'file': f'x-{i}', 'num_examples': 3, 'bytes': 9, 'crc32': 1, 'offsets': [0, 3, 6]} for i in range(2)]
    manifest = {'name': 'x', 'sizes': {'1x2': 3}, 'shards': shards, 'skipped': []}
    text = shard_manifest.to_text(manifest)
    assert json.loads(text) == manifest
    assert sum('offsets' in line for line in text.splitlines()) == 2


def test_the_checksum_is_that_of_all_bytes(tmp_path):
    (tmp_path / 'x').write_bytes(b'123456789')
    assert shard_manifest.checksum(str(tmp_path / 'x')) == 0xCBF43926  # the check value of CRC-32
