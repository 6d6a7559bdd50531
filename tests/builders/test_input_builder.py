"""From messages to pipelines: every step, every default, and the wrong label map."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from builders import input_builder
from core.errors import ConfigError, DataError
from dataset_tools import browse_inputs
from inputs import augmentations as aug
from inputs.label_map import LabelMap
from protos import input_reader_pb2, pipeline_pb2, preprocessor_pb2
from tests.inputs.test_pipeline import example, write

STEPS = preprocessor_pb2.PreprocessingStep.DESCRIPTOR.oneofs_by_name['preprocessing_step'].fields


def step(text: str) -> preprocessor_pb2.PreprocessingStep:
    return text_format.Parse(text, preprocessor_pb2.PreprocessingStep())


def built(text: str, **arguments):
    return input_builder.build_augmentations([step(text)], **arguments)[0]


@pytest.fixture
def config(tmp_path) -> pipeline_pb2.PipelineConfig:
    for split, indices in (('train', range(6)), ('val', range(6, 9))):
        write(tmp_path / f'{split}.record', [example(i) for i in indices])
    return text_format.Parse(
        f"""
        model {{ pspnet {{ num_classes: 3 loss {{ ignore_label: 254 }} }} }}
        train_config {{
          batch_size: 2 random_seed: 3
          preprocessor_step {{ random_image_crop {{ crop_height: 9 crop_width: 5 }} }}
        }}
        train_input_reader {{ tf_record_input_reader {{ input_path: "{tmp_path}/train.record" }} }}
        eval_config {{ ignore_label: 254 }}
        eval_input_reader {{ tf_record_input_reader {{ input_path: "{tmp_path}/val.record" }} }}
        """,
        pipeline_pb2.PipelineConfig(),
    )


@pytest.mark.parametrize('kind', [field.name for field in STEPS])
def test_every_step_of_the_schema_is_built_and_runs(kind):
    message = preprocessor_pb2.PreprocessingStep()
    getattr(message, kind).SetInParent()
    sizes = {'height': 6, 'width': 8, 'crop_height': 6, 'crop_width': 8, 'fixed_height': 6, 'fixed_width': 8}
    for field in getattr(message, kind).DESCRIPTOR.fields:
        if field.name in sizes:
            setattr(getattr(message, kind), field.name, sizes[field.name])
    (augment,) = input_builder.build_augmentations([message])
    image, label = augment(tf.zeros([6, 8, 3]), tf.ones([6, 8], tf.int32), tf.constant([1, 2]))
    assert image.shape[:2] == label.shape and image.dtype == tf.float32 and label.dtype == tf.int32


def test_values_reach_their_functions():
    scale = built('random_image_scale { min_scale_ratio: 0.75 max_scale_ratio: 1.5 }')
    assert (scale.func, scale.keywords) == (aug.random_scale, {'min_ratio': 0.75, 'max_ratio': 1.5})
    crop = built('random_image_crop { crop_height: 3 crop_width: 4 max_class_share: 0.5 }', ignore_label=9)
    assert crop.keywords == {'height': 3, 'width': 4, 'max_class_share': 0.5, 'ignore_label': 9}
    resize = built('aspect_ratio_image_resize { resize_method: BICUBIC pad_to_max_dimension: true }')
    assert resize.keywords == {
        'min_dimension': 600,
        'max_dimension': 1024,
        'method': 'bicubic',
        'pad_to_max_dimension': True,
        'ignore_label': 255,
    }


def test_an_empty_step_is_named_by_its_position():
    with pytest.raises(ConfigError, match=r'preprocessor_step\[1\]: got nothing, choose from'):
        input_builder.build_augmentations([step('random_horizontal_flip {}'), step('')])


def test_training_batches_follow_the_config(config):
    dataset = input_builder.build_train(config)
    batch = next(iter(dataset))
    assert batch['image'].shape == (2, 9, 5, 3)
    assert set(np.unique(batch['label'][:, 6:])) == {254}, 'padding carries the ignore label of the model'
    again = next(iter(input_builder.build_train(config)))
    np.testing.assert_array_equal(batch['image'], again['image'])
    assert input_builder.build_train(config, batch_size=3).element_spec['image'].shape[0] == 3
    other = [tuple(b['filename'].numpy()) for b in input_builder.build_train(config, seed=4).take(6)]
    assert other != [tuple(b['filename'].numpy()) for b in dataset.take(6)]


def test_first_step_passes_over_earlier_batches(config):
    whole = list(input_builder.build_train(config).take(5))
    rest = next(iter(input_builder.build_train(config, first_step=4)))
    np.testing.assert_array_equal(whole[4]['image'], rest['image'])


def test_evaluation_ignores_augmentation_and_num_examples(config):
    config.eval_config.num_examples = 5000
    examples = list(input_builder.build_eval(config))
    assert [e['filename'].numpy() for e in examples] == [b'06', b'07', b'08']
    assert examples[0]['image'].shape == (6, 8, 3)


def test_label_map_by_path_or_numbered(tmp_path):
    LabelMap.default(4).save(tmp_path / 'm.json')
    reader = input_reader_pb2.InputReader(label_map_path=str(tmp_path / 'm.json'))
    assert input_builder.build_label_map(reader, 4) == LabelMap.default(4)
    assert input_builder.build_label_map(input_reader_pb2.InputReader(), 7) == LabelMap.default(7)
    with pytest.raises(ConfigError, match=r'm.json has 4 classes, the model 3'):
        input_builder.build_label_map(reader, 3)


@pytest.mark.parametrize('split', ['train', 'eval'])
def test_a_reader_is_checked_without_reading_records(config, tmp_path, split):
    input_builder.check_reader(config, split)
    reader = getattr(config, f'{split}_input_reader')
    LabelMap.default(7).save(tmp_path / 'seven.json')
    reader.label_map_path = str(tmp_path / 'seven.json')
    with pytest.raises(ConfigError, match=r'seven\.json has 7 classes, the model'):
        input_builder.check_reader(config, split)
    reader.tf_record_input_reader.input_path[:] = [f'{tmp_path}/none-*']
    with pytest.raises(DataError, match=r'none-\*: no file matches'):
        input_builder.check_reader(config, split)


def test_browsing_draws_image_classes_and_overlay():
    image, label = np.full((6, 40, 3), 90.4, np.float32), np.zeros((6, 40), np.int32)
    colors = ((200, 0, 0), (0, 200, 0))
    draw = functools.partial(browse_inputs.draw, names=('road', 'sky'), colors=colors)
    one, three = draw([(image, label)]), draw([(image, label)] * 3)
    assert three.width > one.width and three.height > one.height
    seen = {tuple(map(int, pixel)) for pixel in np.asarray(one).reshape(-1, 3)}
    assert {(90, 90, 90), (200, 0, 0), (145, 45, 45)} <= seen
