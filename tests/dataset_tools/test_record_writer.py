"""Conversion on generated folders: exact contents, every bad input by name, and continuing after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from core.errors import DataError, UserError
from dataset_tools import create_tf_record
from inputs import pipeline
from inputs.label_map import LabelMap

ROOT = Path(__file__).resolve().parents[2]


def convert(folders: Path, *extra: str, out: str = 'out', classes: str = '3') -> Path:
    create_tf_record.main(
        [
            *('--images', str(folders / 'images'), '--labels', str(folders / 'labels'), '--num_classes', classes),
            *('--name', 'x.record', '--output_dir', str(folders / out), '--num_shards', '3', *extra),
        ]
    )
    return folders / out


def records(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob('x.record-*'))}


def manifest(out: Path) -> dict:
    return json.loads((out / 'x.record.manifest.json').read_text())


def read(out: Path, key: str) -> dict[bytes, np.ndarray]:
    """{filename: image or label} of all records."""
    examples = pipeline.evaluation_dataset([f'{out}/x.record-*'], num_classes=3)
    return {example['filename'].numpy(): example[key].numpy() for example in examples}


def save(path: Path, array: np.ndarray, mode: str | None = None) -> None:
    Image.fromarray(array, mode).save(path)


def said(folders: Path, *extra: str) -> list[str]:
    """The lines of the error; whatever has a final name afterwards is no record."""
    with pytest.raises(DataError) as caught:
        convert(folders, *extra)
    assert not list((folders / 'out').glob('x.record-*'))
    assert not (folders / 'out' / 'x.record.manifest.json').exists()
    return str(caught.value).splitlines()


def test_records_hold_every_pair_exactly(folders):
    out = convert(folders)
    assert sorted(records(out)) == [f'x.record-{i:05d}-of-00003' for i in range(3)]
    examples = list(pipeline.evaluation_dataset([f'{out}/x.record-*'], num_classes=3))
    assert len(examples) == 7
    for example in examples:
        name = example['filename'].numpy().decode()
        assert name.startswith('images/')
        np.testing.assert_array_equal(example['image'], np.asarray(Image.open(folders / name)))
        label = np.asarray(Image.open(folders / 'labels' / Path(name).name))
        np.testing.assert_array_equal(example['label'], label)
    assert [e['filename'].numpy().decode() for e in examples] != [f'images/{i:02d}.png' for i in range(7)]


def test_manifest_counts_what_is_there(folders):
    out = convert(folders)
    content = manifest(out)
    labels = np.stack([np.asarray(Image.open(p)) for p in sorted((folders / 'labels').iterdir())])
    assert content['num_examples'] == 7 and content['sizes'] == {'5x6': 7}
    assert content['class_pixels'] == {f'class_{i}': int((labels == i).sum()) for i in range(3)}
    assert content['ignored_pixels'] == int((labels == 255).sum())
    assert [shard['bytes'] for shard in content['shards']] == [len(data) for data in records(out).values()]
    assert [shard['num_examples'] for shard in content['shards']] == [2, 2, 3]
    assert LabelMap.load(out / 'label_map.json') == LabelMap.default(3)


def test_bytes_do_not_depend_on_threads_nor_place(folders):
    one = records(convert(folders, '--num_threads', '1', out='a'))
    assert records(convert(folders, '--num_threads', '5', out='b')) == one
    assert records(convert(folders, '--shuffle_seed', '4', out='c')) != one


def test_a_finished_data_set_is_left_alone(folders, capsys):
    out = convert(folders)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    convert(folders)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert 'already there, made from the same files' in capsys.readouterr().out


def test_other_inputs_need_overwrite(folders):
    out = convert(folders)
    (folders / 'images' / '06.png').unlink()
    with pytest.raises(DataError, match='records of other inputs are there; --overwrite replaces them'):
        convert(folders)
    convert(folders, '--overwrite', '--num_shards', '2')
    assert sorted(records(out)) == ['x.record-00000-of-00002', 'x.record-00001-of-00002']
    assert manifest(out)['num_examples'] == 6


def test_another_label_map_is_not_replaced(folders):
    convert(folders)
    with pytest.raises(DataError, match=r'label_map.json: another label map is there'):
        convert(folders, '--overwrite', classes='4')


def test_palette_labels_give_their_indices(folders):
    path = folders / 'labels' / '03.png'
    ids = np.asarray(Image.open(path))
    picture = Image.fromarray(ids).convert('L')
    picture.putpalette([channel for i in range(256) for channel in (255 - i, i // 2, 77)])
    picture.save(path)
    assert Image.open(path).mode == 'P'
    out = convert(folders)
    stored = read(out, 'label')
    np.testing.assert_array_equal(stored[b'images/03.png'], ids)


def test_remap_and_sixteen_bit_labels(folders):
    save(folders / 'labels' / '00.png', np.full((5, 6), 2, np.uint16))
    out = convert(folders, '--remap', '2:255,0:1,1:0')
    assert manifest(out)['class_pixels']['class_2'] == 0
    stored = read(out, 'label')
    assert (stored[b'images/00.png'] == 255).all()


def test_other_image_kinds_are_stored_as_png(folders):
    picture = Image.open(folders / 'images' / '00.png')
    (folders / 'images' / '00.png').unlink()
    picture.save(folders / 'images' / '00.bmp')
    out = convert(folders)
    stored = read(out, 'image')
    np.testing.assert_array_equal(stored[b'images/00.bmp'], np.asarray(picture))


def test_every_bad_pair_is_named_and_nothing_looks_finished(folders):
    images, labels = folders / 'images', folders / 'labels'
    save(labels / '00.png', np.zeros((5, 7), np.uint8))
    save(labels / '01.png', np.full((5, 6), 9, np.uint8))
    save(labels / '02.png', np.zeros((5, 6, 3), np.uint8))
    (images / '03.png').write_bytes((images / '03.png').read_bytes()[:-40])
    (labels / '04.png').write_bytes(b'not a picture')
    save(images / '05.png', np.full((5, 6), 1000, np.uint16))
    lines = said(folders)
    assert lines[0].startswith('6 of 7 pairs are bad, no records were made')
    problems = {Path(line.split(': ')[0]).relative_to(folders).as_posix(): line for line in lines[1:]}
    assert 'the label is 5x7, its image 5x6 (height x width)' in problems['labels/00.png']
    assert 'ids [9] are neither a class (0..2) nor the ignore label 255' in problems['labels/01.png']
    assert 'one channel of class ids, this picture is RGB' in problems['labels/02.png']
    assert 'cannot be decoded as an image' in problems['images/03.png']
    assert 'cannot be read as a label' in problems['labels/04.png']
    assert '8 bits a channel are needed, this picture is I;16' in problems['images/05.png']


def test_bad_pairs_can_be_left_out(folders):
    save(folders / 'labels' / '01.png', np.full((5, 6), 9, np.uint8))
    said(folders)
    out = convert(folders, '--skip_bad')
    assert manifest(out)['num_examples'] == 6
    assert len(manifest(out)['skipped']) == 1 and '01.png' in manifest(out)['skipped'][0]
    with pytest.raises(DataError, match='1 of 7 pairs are bad'):
        convert(folders)


def test_repaired_pairs_are_converted_in_the_next_run(folders):
    good = (folders / 'labels' / '01.png').read_bytes()
    expected = records(convert(folders, out='expected'))
    (folders / 'labels' / '01.png').write_bytes(b'')
    said(folders)
    (folders / 'labels' / '01.png').write_bytes(good)
    assert records(convert(folders)) == expected


def test_missing_labels_are_all_named(folders):
    for name in ('02.png', '05.png'):
        (folders / 'labels' / name).unlink()
    with pytest.raises(DataError) as caught:
        convert(folders)
    assert [line.split(': ')[0][-6:] for line in str(caught.value).splitlines()] == ['02.png', '05.png']


_SLOWLY = """
import sys, time
from dataset_tools import conversion, create_tf_record
read = conversion.read_ids
def slow(path, size=None):
    time.sleep(0.25)
    return read(path, size)
conversion.read_ids = slow
create_tf_record.main(sys.argv[1:])
"""


def test_a_killed_run_is_continued_to_the_same_bytes(folders):
    expected = records(convert(folders, out='expected'))
    out = folders / 'out'
    arguments = ['--images', str(folders / 'images'), '--labels', str(folders / 'labels'), '--num_classes', '3']
    arguments += ['--name', 'x.record', '--output_dir', str(out), '--num_shards', '3', '--num_threads', '1']
    process = subprocess.Popen([sys.executable, '-c', _SLOWLY, *arguments], cwd=ROOT, stderr=subprocess.DEVNULL)
    first = out / 'x.record.partial' / 'x.record-00000-of-00003.json'
    deadline = time.time() + 120
    while not first.exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert first.exists() and not records(out)
    written = first.with_suffix('').stat().st_mtime_ns
    kept = first.with_suffix('')
    inode = kept.stat().st_ino
    convert(folders)
    assert records(out) == expected
    shard = out / kept.name
    assert (shard.stat().st_ino, shard.stat().st_mtime_ns) == (inode, written), 'the finished shard was made again'
    assert not (out / 'x.record.partial').exists()


def test_a_full_disk_is_said_in_one_line(folders, monkeypatch):
    class Full:
        def __init__(self, path):
            self.path = path

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def write(self, record):
            raise tf.errors.ResourceExhaustedError(None, None, f'{self.path}; No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(tf.io, 'TFRecordWriter', Full)
        with pytest.raises(UserError, match=r'cannot write: .*No space left on device; run again') as caught:
            convert(folders)
    assert '\n' not in str(caught.value) and not records(folders / 'out')
    assert len(records(convert(folders))) == 3


def test_images_alone_are_packed_for_prediction(folders):
    create_tf_record.main(
        [
            *('--images', str(folders / 'images'), '--num_classes', '3', '--name', 'x.record'),
            *('--output_dir', str(folders / 'out'), '--num_shards', '1'),
        ]
    )
    dataset = pipeline.evaluation_dataset([f'{folders}/out/x.record-*'], num_classes=3)
    with pytest.raises(DataError, match='the record has no image/segmentation/class/encoded'):
        with pipeline.user_errors():
            list(dataset)


def test_more_shards_than_pairs_are_not_made(folders):
    assert len(records(convert(folders, '--num_shards', '50'))) == 7


def test_a_folder_that_cannot_be_made_is_named(folders):
    with pytest.raises(UserError, match=r'images/00.png/out: cannot write'):
        convert(folders, out='images/00.png/out')


def test_a_pattern_that_also_matches_the_manifest_is_explained(folders):
    out = convert(folders)
    with pytest.raises(DataError, match=r'manifest.json: not a record file; end the pattern in -\*'):
        pipeline.record_files([f'{out}/x*'])
