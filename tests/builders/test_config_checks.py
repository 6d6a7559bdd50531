"""Which configs are refused, for which purpose, with which words."""

from __future__ import annotations

import math

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor

from builders import config_checks, config_overrides, config_ranges
from protos.compressor_pb2 import CommpressionConfig
from protos.pipeline_pb2 import PipelineConfig
from tests.builders import config_problems
from tests.builders.config_problems import LOSS, STEPS


def messages() -> dict[str, Descriptor]:
    files = [PipelineConfig.DESCRIPTOR.file, CommpressionConfig.DESCRIPTOR.file]
    found = {}
    while files:
        file = files.pop()
        found.update(file.message_types_by_name)
        files += file.dependencies
    return found


def problems(config_text: str, overrides: list[str], purpose: str | None = None) -> list[str]:
    config = text_format.Parse(config_text, PipelineConfig())
    config_overrides.apply(config, overrides)
    return config_checks.pipeline_problems(config, purpose)


@pytest.mark.parametrize('purpose', [None, 'train', 'eval', 'export', 'predict'])
def test_a_good_config_has_no_problems(config_text, purpose):
    assert problems(config_text, [], purpose) == []


@pytest.mark.parametrize(
    ('purpose', 'expected'),
    [
        (None, ['model: not set; choose pspnet, icnet or fcn']),
        (
            'train',
            [
                'model: not set; choose pspnet, icnet or fcn',
                'train_config: not set; write train_config { ... }',
                'train_input_reader: not set; write train_input_reader { ... }',
            ],
        ),
        (
            'eval',
            [
                'model: not set; choose pspnet, icnet or fcn',
                'eval_input_reader: not set; write eval_input_reader { ... }',
            ],
        ),
        ('export', ['model: not set; choose pspnet, icnet or fcn']),
        ('predict', ['model: not set; choose pspnet, icnet or fcn']),
    ],
)
def test_the_purpose_decides_which_blocks_must_be_there(purpose, expected):
    assert problems('', [], purpose) == expected


def test_evaluation_in_training_needs_its_records():
    text = 'model { icnet { num_classes: 3 } } train_config { eval_interval: 5 }'
    said = 'eval_input_reader: not set, needed with train_config.eval_interval; write eval_input_reader { ... }'
    assert said in problems(text, [], 'train')


CASES = config_problems.MODEL | config_problems.TRAINING | config_problems.DATA_AND_EVALUATION


@pytest.mark.parametrize('case', CASES)
def test_one_problem(config_text, case):
    overrides, expected = CASES[case]
    assert problems(config_text, overrides) == [expected]


def test_all_problems_at_once_in_the_order_of_the_fields(config_text):
    found = problems(
        config_text,
        ['train_config.batch_size=0', 'model.icnet.num_classes=0', 'eval_config.ignore_label=300'],
    )
    assert [line.split(':')[0] for line in found] == [
        'model.icnet.num_classes',
        'train_config.batch_size',
        'eval_config.ignore_label',
        'eval_config.ignore_label',
    ]


def test_unset_filter_scale_is_full_width(config_text):
    assert problems(config_text.replace('filter_scale: 0.5', ''), []) == []


def test_the_ignore_label_of_evaluation_counts_even_unwritten(config_text):
    text = config_text.replace('eval_config { ignore_label: 255 }', '')
    overrides = [f'{LOSS}.ignore_label=3']
    assert problems(text, overrides, 'train') == []
    assert problems(text, overrides, 'eval') == [
        f'eval_config.ignore_label: got 255, but {LOSS}.ignore_label is 3; make them equal'
    ]


@pytest.mark.parametrize(
    'last', ['{resize_image {height: 3 width: 3}}', '{aspect_ratio_image_resize {pad_to_max_dimension: true}}']
)
def test_steps_that_end_with_one_size(config_text, last):
    assert problems(config_text, [f'{STEPS}=[{{random_image_scale {{}}}}, {last}]']) == []


def test_ranges():
    assert 0.5 in config_ranges.FRACTION
    assert 1 in config_ranges.FRACTION
    assert 0 not in config_ranges.FRACTION
    assert 1 not in config_ranges.BELOW_ONE
    assert math.inf not in config_ranges.POSITIVE


def test_tables_name_real_fields():
    known = messages()
    for table in (config_ranges.RANGES, config_ranges.CHOICES, config_ranges.FIXED, config_ranges.REQUIRED):
        for message, fields in table.items():
            assert set(fields) <= set(known[message].fields_by_name), message
    for message, pair in config_ranges.ORDERED.items():
        assert set(pair) <= set(known[message].fields_by_name), message


def test_compression_config():
    text = """
    compression_strategy {
      filter_pruner {
        input { name: 'Preprocessor/sub' }
        output { name: 'Predictions/Conv/Conv2D' }
        node_scope: 'SharedFeatureExtractor/resnet_v1_50'
        compression_factor: 0.25
        skip_node { name: 'a' }
        node { target { name: 'b' } source { name: 'c' } following { name: 'd' } following { name: 'e' } }
        node { node_scope: '' target { name: 'f' } }
      }
    }"""
    config = text_format.Parse(text, CommpressionConfig())
    assert list(config_checks.message_problems(config)) == []
    pruner = config.compression_strategy.filter_pruner
    pruner.compression_factor = 0
    pruner.node[1].ClearField('target')
    pruner.skip_node[0].name = ''
    assert list(config_checks.message_problems(config)) == [
        'compression_strategy.filter_pruner.compression_factor: got 0, choose above 0, up to 1',
        'compression_strategy.filter_pruner.skip_node[0].name: not set; must be written',
        'compression_strategy.filter_pruner.node[1].target: not set; write target { ... }',
    ]
