"""Configs against the records they name: what fails, what is worth a warning, and the exit codes of the command."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image

from builders import check_config, config_overrides, config_records
from inputs import shard_manifest, tf_example
from inputs.label_map import LabelMap
from protos.pipeline_pb2 import PipelineConfig

CROP = 'train_config.preprocessor_step[1].random_image_crop'
TRAIN_PATH = 'train_input_reader.tf_record_input_reader.input_path'


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array.astype(np.uint8)).save(buffer, 'PNG')
    return buffer.getvalue()


def example(filename: str, *, ids=(0, 1, 2, 255), size=(40, 70), label_size=None, **changes) -> bytes:
    """One serialized example whose label holds each of `ids`."""
    label = np.resize(np.asarray(ids), label_size or size)
    arguments = {
        'image_bytes': png(np.full((*size, 3), 99)),
        'image_format': 'png',
        'label_bytes': png(label),
        'filename': filename,
        'height': size[0],
        'width': size[1],
    }
    return tf_example.encode(**(arguments | changes)).SerializeToString()


def write(path, examples: list[bytes]) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for serialized in examples:
            writer.write(serialized)


@pytest.fixture
def data(tmp_path, config_text):
    """A folder with a.config, three training examples in two shards and two evaluation examples."""
    write(tmp_path / 'train.record-00000-of-00002', [example('a.png'), example('b.png')])
    write(tmp_path / 'train.record-00001-of-00002', [example('c.png')])
    write(tmp_path / 'val.record', [example('d.png'), example('e.png')])
    text = config_text.replace("'train.record'", f"'{tmp_path}/train.record-*'").replace(
        "'val.record'", f"'{tmp_path}/val.record'"
    )
    (tmp_path / 'a.config').write_text(text)
    return tmp_path


def report(data, *overrides: str, **options) -> config_records.Report:
    config = text_format.Parse((data / 'a.config').read_text(), PipelineConfig())
    config_overrides.apply(config, overrides)
    return config_records.check(config, **options)


def test_good_records(data):
    found = report(data)
    assert (found.problems, found.warnings) == ([], [])
    assert found.summaries == ['train 3 examples in 2 files', 'eval 2 examples in 1 file']


def test_class_ids(data):
    write(data / 'val.record', [example('d.png'), example('e.png', ids=(0, 3, 7, 255))])
    assert report(data).problems == [
        'eval_input_reader: label ids [3, 7] in 1 or more examples, first in e.png: neither a class (0..2) nor the '
        'ignore label 255'
    ]


def test_classes_that_do_not_occur(data):
    assert report(data, 'model.icnet.num_classes=5').warnings == ['train_input_reader: classes [3, 4] do not occur']


def test_no_file_matches_and_empty_file(data):
    (data / 'val.record').write_bytes(b'')
    found = report(data, f'{TRAIN_PATH}={data}/nothing-*')
    assert found.problems == [
        f'train_input_reader: {data}/nothing-*: no file matches',
        f'eval_input_reader: {data}/val.record: the file is empty',
    ]


def test_missing_shard(data):
    (data / 'train.record-00000-of-00002').unlink()
    assert report(data).problems == [
        f'train_input_reader: {data}/train.record-00000-of-00002 missing, 1 of 2 shards are there; '
        'convert or copy again'
    ]


def test_a_pattern_may_name_some_of_the_shards(data):
    assert report(data, f'{TRAIN_PATH}={data}/train.record-00001-of-00002').problems == []


def test_a_shard_that_is_another_than_its_manifest_describes(data):
    """As long as it, of whole records, and yet not the file that was converted."""
    path = data / 'train.record-00001-of-00002'
    entry = {'file': path.name, 'num_examples': 1, 'bytes': path.stat().st_size}
    manifest = data / 'train.record.manifest.json'
    manifest.write_text(json.dumps({'shards': [{**entry, 'crc32': shard_manifest.checksum(str(path))}]}))
    assert report(data).problems == []
    write(path, [example('x.png')])
    assert path.stat().st_size == entry['bytes']
    assert report(data).problems == [
        f'train_input_reader: {path}: not the file that its manifest describes; convert or copy again'
    ]


@pytest.mark.parametrize('damage', ['cut', 'flipped'])
def test_damaged_shard(data, damage):
    path = data / 'train.record-00000-of-00002'
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content if damage == 'flipped' else content[:-9])
    found = report(data)
    assert found.problems == [f'train_input_reader: {path}: damaged or cut off after record 1; convert or copy again']
    assert found.summaries[0] == 'train 2 examples in 2 files'


def test_examples_that_cannot_be_decoded(data):
    write(
        data / 'val.record',
        [
            example('d.png'),
            example('e.png', label_bytes=None),
            example('f.png', label_size=(40, 69)),
            example('g.png', image_bytes=png(np.zeros((40, 70, 3)))[:-30]),
        ],
    )
    problems = report(data).problems
    assert len(problems) == 3
    place = f'eval_input_reader: {data}/val.record, record'
    assert problems[0].startswith(f'{place} 2: e.png: the record has no image/segmentation/class/encoded; training and')
    assert problems[1] == f'{place} 3: f.png: the image has size [40 70] and its label [40 69]'
    assert problems[2].startswith(f'{place} 4: ')


def test_many_damaged_examples_are_counted(data):
    write(data / 'val.record', [example(f'{i}.png', label_bytes=None) for i in range(40)])
    problems = report(data).problems
    assert len(problems) == 11
    assert problems[-1] == 'eval_input_reader: and 30 more like these'


def test_image_sizes_against_the_crop(data):
    assert report(data, f'{CROP}.crop_width=140').warnings == []  # random_image_scale doubles 70 now and then
    assert report(data, f'{CROP}.crop_width=141').warnings == [
        'train_config.preprocessor_step[1].random_image_crop: always padded, smaller than 33x141: 3 images, '
        'the first is a.png, 40x70 (height x width)'
    ]


def test_image_sizes_against_a_fixed_size(data):
    write(data / 'train.record-00001-of-00002', [example('c.png', size=(41, 70))])
    steps = 'train_config.preprocessor_step=[{set_fixed_image_size {fixed_height: 40 fixed_width: 70}}]'
    assert report(data, steps).problems == [
        'train_config.preprocessor_step[0].set_fixed_image_size: not of the size 40x70: 1 image, '
        'the first is c.png, 41x70 (height x width)'
    ]


def test_image_sizes_against_evaluation_sizes(data):
    found = report(data, 'eval_config.eval_input_type.padded_eval_input={height: 40 width: 69}')
    assert found.problems == [
        'eval_config.eval_input_type.padded_eval_input: larger than 40x69: 2 images, the first is d.png, 40x70 '
        '(height x width)'
    ]
    found = report(data, 'eval_config.eval_input_type.cropped_eval_input={height: 41 width: 70}')
    assert found.problems == []
    assert found.warnings == [
        'eval_config.eval_input_type.cropped_eval_input: smaller than 41x70: 2 images, the first is d.png, 40x70 '
        '(height x width)'
    ]


def test_counts_are_informational(data):
    found = report(data, 'train_input_reader.num_examples=4', 'eval_config.num_examples=500')
    assert found.problems == []
    assert found.warnings == [
        'train_input_reader.num_examples: says 4, the records hold 3; all of them are used',
        'eval_config.num_examples: says 500, the records hold 2; all of them are used',
    ]


def test_evaluation_on_training_records(data):
    found = report(data, f'{TRAIN_PATH}={data}/val.record')
    assert found.problems == []
    assert found.warnings == [f'eval_input_reader: evaluates on training records, {data}/val.record']


def test_label_maps(data):
    LabelMap.default(4).save(data / 'four.json')
    found = report(
        data, 'eval_input_reader.label_map_path=no.json', f'train_input_reader.label_map_path={data}/four.json'
    )
    assert found.problems == [
        f'train_input_reader: label_map_path: {data}/four.json has 4 classes, the model 3; '
        'set num_classes of the model to that, or name the label map of its classes',
        'eval_input_reader: no.json: cannot read the label map: No such file or directory',
    ]


def test_a_sample_decodes_some_and_counts_all(data):
    write(data / 'val.record', [example('d.png'), example('e.png', label_bytes=None)])
    counted = []
    found = report(data, sample=1, progress=counted.append)
    assert found.problems == []
    assert found.summaries == ['train 3 examples in 2 files', 'eval 2 examples in 1 file']
    assert sum(counted) == 5
    assert len(report(data, sample=2).problems) == 1


def test_command(data, capsys):
    path = str(data / 'a.config')
    assert check_config.main([path]) == 0
    assert capsys.readouterr().out == (
        f'{path}: ok (icnet dilated_resnet50, 3 classes; train 3 examples in 2 files; eval 2 examples in 1 file)\n'
    )


def test_command_with_wrong_records_and_wrong_config(data, capsys):
    path = str(data / 'a.config')
    assert check_config.main([path, '--set', 'model.icnet.num_classes=2']) == 1
    said = capsys.readouterr()
    assert said.out == ''
    assert said.err.splitlines()[0].startswith(f'error: {path}: train_input_reader: label ids [2] in 3 or more')
    assert check_config.main([path, '--set', 'model.icnet.num_classes=2', '--norecords']) == 0
    assert check_config.main([path, '--set', 'train_config.batch_size=0']) == 2
    assert capsys.readouterr().err == f'error: {path}: train_config.batch_size: got 0, choose 1 or more\n'


def test_command_takes_many_files_and_returns_the_worst(data, capsys):
    broken = data / 'b.config'
    broken.write_text('model { icnet { num_classes: x } }')
    assert check_config.main([str(broken), str(data / 'a.config'), '--norecords']) == 2
    said = capsys.readouterr()
    assert said.err == f"error: {broken}:1:30: num_classes: expected a whole number, got 'x'\n"
    assert said.out == f'{data}/a.config: ok (icnet dilated_resnet50, 3 classes)\n'


def test_command_refuses_a_sample_of_none(data, capsys):
    with pytest.raises(SystemExit) as stop:
        check_config.main([str(data / 'a.config'), '--sample', '0'])
    assert stop.value.code == 2
    assert '--sample: got 0, choose 1 or more' in capsys.readouterr().err


def test_extractor_names_are_those_the_builder_knows():
    from builders import model_builder, names

    assert set(names.FEATURE_EXTRACTORS) == set(model_builder.FEATURE_EXTRACTORS)
