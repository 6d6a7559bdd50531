"""`--set path.to.field=value`."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from builders import config_overrides
from core.errors import ConfigError
from protos import train_pb2
from protos.pipeline_pb2 import PipelineConfig


@pytest.fixture
def config(config_text) -> PipelineConfig:
    return text_format.Parse(config_text, PipelineConfig())


def test_values_of_each_type(config):
    config_overrides.apply(
        config,
        [
            'train_config.batch_size=4',
            'model.icnet.filter_scale=1e-1',
            'train_config.freeze_fine_tune_backbone=True',
            'train_config.fine_tune_checkpoint=a/b=c.ckpt',
            'train_config.fine_tune_checkpoint_type="segmentation"',
            'train_config.mixed_precision=BFLOAT16',
        ],
    )
    train = config.train_config
    assert (train.batch_size, train.freeze_fine_tune_backbone) == (4, True)
    assert config.model.icnet.filter_scale == pytest.approx(0.1)
    assert (train.fine_tune_checkpoint, train.fine_tune_checkpoint_type) == ('a/b=c.ckpt', 'segmentation')
    assert train.mixed_precision == train_pb2.TrainConfig.BFLOAT16


def test_lists(config):
    icnet = config.model.icnet
    config_overrides.apply(config, ['model.icnet.pooling_factors=[1, 2.5]'])
    assert list(icnet.pooling_factors) == [1, 2.5]
    config_overrides.apply(config, ['model.icnet.pooling_factors+=6', 'model.icnet.pooling_factors+=[7, 8]'])
    assert list(icnet.pooling_factors) == [1, 2.5, 6, 7, 8]
    config_overrides.apply(config, ['model.icnet.pooling_factors[1]=2'])
    assert list(icnet.pooling_factors) == [1, 2, 6, 7, 8]
    config_overrides.apply(config, ['model.icnet.pooling_factors=[]'])
    assert list(icnet.pooling_factors) == []


def test_lists_of_texts_need_no_quotes(config):
    path = 'eval_input_reader.tf_record_input_reader.input_path'
    config_overrides.apply(config, [f'{path}=[a-*, "b, c"]', f'{path}+=d'])
    assert list(config.eval_input_reader.tf_record_input_reader.input_path) == ['a-*', 'b, c', 'd']


def test_lists_of_blocks(config):
    steps = config.train_config.preprocessor_step
    config_overrides.apply(
        config,
        [
            'train_config.preprocessor_step[0].random_image_scale.max_scale_ratio=1.5',
            'train_config.preprocessor_step+={random_hue {}}',
            'train_config.preprocessor_step+=[{random_gamma {max_gamma: 2, min_gamma: 1}}, {random_rotation {}}]',
        ],
    )
    kinds = [step.WhichOneof('preprocessing_step') for step in steps]
    assert kinds[1:] == ['random_image_crop', 'random_hue', 'random_gamma', 'random_rotation']
    assert steps[0].random_image_scale.max_scale_ratio == 1.5
    config_overrides.apply(config, ['train_config.preprocessor_step[4]={random_vertical_flip {}}'])
    assert steps[4].WhichOneof('preprocessing_step') == 'random_vertical_flip'


def test_a_block_is_replaced_and_a_oneof_switches(config):
    config_overrides.apply(
        config,
        [
            'train_config.optimizer.adam_optimizer.beta_1=0.8',
            'train_config.optimizer.adam_optimizer.learning_rate={constant_learning_rate {learning_rate: 0.5}}',
            'eval_config.eval_input_type.padded_eval_input={height: 8 width: 9}',
        ],
    )
    optimizer = config.train_config.optimizer
    assert optimizer.WhichOneof('optimizer') == 'adam_optimizer'
    assert optimizer.adam_optimizer.learning_rate.constant_learning_rate.learning_rate == 0.5
    assert config.eval_config.eval_input_type.padded_eval_input.width == 9
    config_overrides.apply(config, ['eval_config.eval_input_type.cropped_eval_input={}'])
    assert config.eval_config.eval_input_type.WhichOneof('eval_input_type_oneof') == 'cropped_eval_input'


ERRORS = {
    'train_config': 'expected path.to.field=value',
    '=3': 'expected path.to.field=value',
    'train_config.batch_size=many': "expected a whole number, got 'many'",
    'train_config.batch_size=': "expected a whole number, got ''",
    'train_config.batch_size=-1': "expected a whole number 0..4294967295, got '-1'",
    'model.icnet.filter_scale=half': "expected a number, got 'half'",
    'model.icnet.mobile_ops_only=maybe': "expected true or false, got 'maybe'",
    'train_config.mixed_precision=BFLOAT': (
        "got 'BFLOAT', did you mean 'BFLOAT16'? choose from ['FLOAT32', 'BFLOAT16', 'FLOAT16']"
    ),
    'model.icnett.num_classes=3': (
        "FastSegmentationModel has no field 'icnett', did you mean 'icnet'? "
        "choose from ['pspnet', 'icnet', 'fcn', 'layer_width']"
    ),
    'model.icnet.num_classes.x=3': 'num_classes is a value and has no fields',
    'model.icnet=3': (
        'icnet is a block, write {...} or name a field inside: '
        f'{[field.name for field in PipelineConfig().model.icnet.DESCRIPTOR.fields]}'
    ),
    'model={pspnet {num_classes: x}}': "in the block:1:22: num_classes: expected a whole number, got 'x'",
    'train_config.preprocessor_step.random_hue={}': (
        'preprocessor_step is a list, write preprocessor_step[0] for its first element'
    ),
    'train_config.preprocessor_step[2].random_hue={}': (
        'preprocessor_step[2] does not exist: it has 2 elements, counted from 0; append with preprocessor_step+='
    ),
    'train_config.batch_size[0]=3': 'batch_size is not a list, leave out [0]',
    'train_config.batch_size+=3': 'batch_size is not a list, use = instead of +=',
    'model.icnet.pooling_factors[-1]=3': "cannot read 'pooling_factors[-1]', expected name or name[index]",
    'model.icnet.pooling_factors=[1, two]': "expected a number, got 'two'",
}


@pytest.mark.parametrize('override', ERRORS)
def test_errors(config, override):
    with pytest.raises(ConfigError) as error:
        config_overrides.apply(config, [override])
    assert error.value.problems == [f'--set {override}: {ERRORS[override]}']


def test_all_errors_at_once(config):
    with pytest.raises(ConfigError) as error:
        config_overrides.apply(config, ['a=1', 'train_config.batch_size=3', 'b=2'])
    assert [problem.split(':')[0] for problem in error.value.problems] == ['--set a=1', '--set b=2']
