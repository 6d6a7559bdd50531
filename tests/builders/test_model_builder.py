"""Every choice of the schema has an entry, and a wrong one is named with its field."""

from __future__ import annotations

import pytest

from builders import losses_builder, model_builder, names
from core.errors import ConfigError
from protos import losses_pb2, model_pb2
from tests.contracts.configs import model_config


def test_every_architecture_of_the_schema_is_built_and_the_reverse():
    oneof = model_pb2.FastSegmentationModel.DESCRIPTOR.oneofs_by_name['model']
    assert {field.name for field in oneof.fields} == set(model_builder._MODELS)


def test_every_loss_of_the_schema_is_built_and_the_reverse():
    oneof = losses_pb2.ClassificationLoss.DESCRIPTOR.oneofs_by_name['loss_type']
    assert {field.name for field in oneof.fields} == set(losses_builder._LOSSES)


def test_the_names_a_config_is_checked_against_are_the_ones_built():
    assert set(names.FEATURE_EXTRACTORS) == set(model_builder.FEATURE_EXTRACTORS)


def test_an_unknown_extractor_is_named_with_its_field():
    with pytest.raises(ConfigError, match=r"model\.icnet\.feature_extractor\.type: got 'resnet', choose from"):
        model_builder.build(model_config('icnet', 'resnet'))


def test_no_architecture():
    with pytest.raises(ConfigError, match='model: not set; choose fcn, icnet or pspnet'):
        model_builder.build(model_pb2.FastSegmentationModel())


def test_unset_filter_scale_means_full_width():
    config = model_config('icnet')
    config.icnet.ClearField('filter_scale')
    assert model_builder.build(config).feature_extractor.filter_scale == 1.0
