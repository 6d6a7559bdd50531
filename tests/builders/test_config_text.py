"""Where a config cannot be parsed, and what the error says."""

from __future__ import annotations

import pytest

from builders import config_text
from core.errors import ConfigError
from protos.pipeline_pb2 import PipelineConfig

_ICNET_FIELDS = [field.name for field in PipelineConfig().model.icnet.DESCRIPTOR.fields]

CASES = {
    'unknown field': (
        'model {\n  icnet {\n    num_clases: 3\n  }\n}',
        f"f:3:5: ICNet has no field 'num_clases', did you mean 'num_classes'? choose from {_ICNET_FIELDS}",
    ),
    'unknown block': (
        'modle {}',
        "f:1:1: PipelineConfig has no field 'modle', did you mean 'model'? choose from "
        "['model', 'train_config', 'train_input_reader', 'eval_config', 'eval_input_reader', 'export_config']",
    ),
    'nothing near': (
        'xyz {}',
        "f:1:1: PipelineConfig has no field 'xyz', choose from "
        "['model', 'train_config', 'train_input_reader', 'eval_config', 'eval_input_reader', 'export_config']",
    ),
    'enum value': (
        'train_config { mixed_precision: BFLOAT }',
        "f:1:33: mixed_precision: got 'BFLOAT', did you mean 'BFLOAT16'? "
        "choose from ['FLOAT32', 'BFLOAT16', 'FLOAT16']",
    ),
    'enum number': (
        'train_config { mixed_precision: 7 }',
        "f:1:33: mixed_precision: got '7', choose from ['FLOAT32', 'BFLOAT16', 'FLOAT16']",
    ),
    'whole number': (
        'train_config { batch_size: 1.5 }',
        "f:1:28: batch_size: expected a whole number, got '1.5'",
    ),
    'number': (
        'model { icnet { filter_scale: half } }',
        "f:1:31: filter_scale: expected a number, got 'half'",
    ),
    'truth value': (
        'train_config { freeze_fine_tune_backbone: yes }',
        "f:1:43: freeze_fine_tune_backbone: expected true or false, got 'yes'",
    ),
    'text': (
        'train_config { fine_tune_checkpoint: resnet }',
        "f:1:38: fine_tune_checkpoint: expected a text in quotes, got 'resnet'",
    ),
    'out of range': (
        'train_config { batch_size: -1 }',
        'f:1:28: batch_size: got -1, which is too small or too large for this field',
    ),
    'twice': (
        'model { icnet { num_classes: 3 num_classes: 4 } }',
        'f:1:45: num_classes is set twice in ICNet',
    ),
    'two of a oneof': (
        'train_config { optimizer { adam_optimizer {} momentum_optimizer {} } }',
        'f:1:46: adam_optimizer and momentum_optimizer exclude each other, keep one',
    ),
    'not closed': (
        'model {\n icnet { num_classes: 3 }\n',
        "f:2:25: the text ends before the last '{' is closed, add '}'",
    ),
    'no colon': ('model { icnet { num_classes 3 } }', 'f:1:29: expected ":"'),
    'no bracket': ('model = 3', 'f:1:7: expected "{"'),
    'closed twice': ('model {} }', 'f:1:10: expected identifier or number, got }'),
    'no quote': (
        'train_config { fine_tune_checkpoint: "a }',
        "f:1:38: string missing ending quote: '\"a }'",
    ),
    'list': ('model { icnet { pooling_factors: [1, 2 } }', 'f:1:40: expected ","'),
}


@pytest.mark.parametrize('case', CASES)
def test_says_where_and_what(case):
    text, message = CASES[case]
    with pytest.raises(ConfigError) as error:
        config_text.parse(text, PipelineConfig(), 'f')
    assert error.value.problems == [message]


def test_every_wrong_value_is_named_at_once():
    text = 'model { icnet { num_classes: MODIFY_ME } }\ntrain_config {\n  batch_size: ?\n}'
    with pytest.raises(ConfigError) as error:
        config_text.parse(text.replace('?', 'MODIFY_ME'), PipelineConfig(), 'f')
    assert error.value.problems == [
        "f:1:30: num_classes: expected a whole number, got 'MODIFY_ME'",
        "f:3:15: batch_size: expected a whole number, got 'MODIFY_ME'",
    ]


def test_wrong_values_and_the_first_error_of_structure_together():
    with pytest.raises(ConfigError) as error:
        config_text.parse('model { icnet { num_classes: x filter_scale: y\n zzz: 3 } }', PipelineConfig(), 'f')
    assert [problem.split(' ')[0] for problem in error.value.problems] == ['f:1:30:', 'f:1:46:', 'f:2:2:']


def test_parses_into_the_message_given():
    config = PipelineConfig()
    assert config_text.parse('model: { pspnet < num_classes: 0x3 > }, ', config, 'f') is config
    assert config.model.pspnet.num_classes == 3
