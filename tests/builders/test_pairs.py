"""Pairs and strides that cannot be built are refused when the config is read, with the reason."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from builders import config_checks, config_overrides, pairs
from builders.names import FEATURE_EXTRACTORS
from protos.model_pb2 import FastSegmentationModel
from protos.pipeline_pb2 import PipelineConfig

_MODELS = {
    'pspnet': "pspnet { num_classes: 3 pooling_factors: [1] feature_extractor { type: 'resnet_v1_50' } }",
    'icnet': "icnet { num_classes: 3 pooling_factors: [1] feature_extractor { type: 'resnet_v1_50' } }",
    'fcn': "fcn { num_classes: 3 feature_extractor { type: 'vgg16_fc' } }",
}


def problems(architecture: str, *overrides: str) -> list[str]:
    config = text_format.Parse(f'model {{ {_MODELS[architecture]} }}', PipelineConfig())
    config_overrides.apply(config, overrides)
    return config_checks.pipeline_problems(config, 'export')


@pytest.mark.parametrize('architecture', _MODELS)
def test_a_plain_one_is_accepted(architecture: str):
    assert problems(architecture) == []


@pytest.mark.parametrize(
    ('architecture', 'overrides', 'want'),
    [
        (
            'pspnet',
            ['model.pspnet.feature_extractor.type=vgg16_fc'],
            "model.pspnet.feature_extractor.type: got 'vgg16_fc', which pspnet cannot use: fc6 and fc7 are a "
            "classifier's head, which pyramid pooling replaces; choose vgg16",
        ),
        (
            'icnet',
            ['model.icnet.feature_extractor.output_stride=16'],
            'model.icnet.feature_extractor.output_stride: got 16, but icnet halves features of stride 8 itself; choose '
            '8 or remove the field',
        ),
        (
            'pspnet',
            ['model.pspnet.feature_extractor={type: "dilated_mobilenet" output_stride: 32}'],
            'model.pspnet.feature_extractor.output_stride: got 32, but dilated_mobilenet has 8 alone; choose '
            'mobilenet_v2',
        ),
        (
            'fcn',
            ['model.fcn.feature_extractor.type=dilated_resnet50'],
            'model.fcn.stride: got 16, but dilated_resnet50 ends at stride 8; choose 8, or a larger '
            'feature_extractor.output_stride',
        ),
        (
            'fcn',
            ['model.fcn.loss.use_auxiliary_loss=true'],
            'model.fcn.loss.use_auxiliary_loss: fcn has no auxiliary head; remove the field',
        ),
        ('fcn', ['model.fcn.stride=12'], 'model.fcn.stride: got 12, choose 8, 16 or 32'),
        (
            'fcn',
            ['model.fcn.feature_extractor.output_stride=4', 'model.fcn.stride=8'],
            'model.fcn.feature_extractor.output_stride: got 4, choose 8, 16 or 32',
        ),
        (
            'fcn',
            ['model.fcn.feature_extractor.channel_mean=[1, 2]'],
            'model.fcn.feature_extractor.channel_mean: got 2 numbers for 3 input_channels; write one for each, red, '
            'green and blue first, or none',
        ),
        (
            'icnet',
            ['model.icnet.hyperparams={batch_norm {} group_norm {}}'],
            'model.icnet.hyperparams: batch_norm and group_norm are both set; keep one',
        ),
    ],
)
def test_refused(architecture: str, overrides: list[str], want: str):
    assert want in problems(architecture, *overrides)


def test_every_name_of_the_tables_exists():
    architectures = {field.name for field in FastSegmentationModel.DESCRIPTOR.oneofs_by_name['model'].fields}
    assert set(pairs._DEFAULT_STRIDE) == architectures
    assert {architecture for architecture, _ in pairs.UNSUPPORTED} <= architectures
    assert {extractor for _, extractor in pairs.UNSUPPORTED} <= set(FEATURE_EXTRACTORS)
    assert set(pairs.STRIDE_8_ONLY) | set(pairs.STRIDE_8_ONLY.values()) <= set(FEATURE_EXTRACTORS)
