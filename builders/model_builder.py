"""`FastSegmentationModel` message -> `SegmentationModel`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from builders import hyperparams_builder, losses_builder, pairs
from builders.names import alternatives
from core.errors import ConfigError
from core.feature_extractor import FeatureExtractor
from core.model import SegmentationModel
from feature_extractors.inception_v1 import InceptionV1
from feature_extractors.mobilenet_v1 import MobileNetV1
from feature_extractors.mobilenet_v2 import DilatedMobileNetV2, MobileNetV2
from feature_extractors.resnet_v1 import (
    DilatedResNet50,
    ResNetV1_18,
    ResNetV1_34,
    ResNetV1_50,
    ResNetV1_101,
    ResNetV1_152,
)
from feature_extractors.resnet_v2 import ResNetV2_50
from feature_extractors.vgg import VGG16, VGG16FullyConvolutional
from meta_architectures.decoders import SkipFusion
from meta_architectures.fcn import FCN
from meta_architectures.icnet import HALVED_STRIDE, BranchWeights, ICNet
from meta_architectures.pspnet import PSPNet
from protos import fcn_pb2, icnet_pb2, model_pb2, pspnet_pb2

FEATURE_EXTRACTORS: dict[str, type[FeatureExtractor]] = {
    'dilated_resnet50': DilatedResNet50,
    'dilated_mobilenet': DilatedMobileNetV2,
    'resnet_v1_18': ResNetV1_18,
    'resnet_v1_34': ResNetV1_34,
    'resnet_v1_50': ResNetV1_50,
    'resnet_v1_101': ResNetV1_101,
    'resnet_v1_152': ResNetV1_152,
    'resnet_v2_50': ResNetV2_50,
    'vgg16': VGG16,
    'vgg16_fc': VGG16FullyConvolutional,
    'inception_v1': InceptionV1,
    'mobilenet_v1': MobileNetV1,
    'mobilenet_v2': MobileNetV2,
}


def build(config: model_pb2.FastSegmentationModel, *, freeze_backbone: bool = False) -> SegmentationModel:
    """The model a config describes, without variables yet: call `model.build()` in the strategy's scope.

    Args:
      config: `PipelineConfig.model`.
      freeze_backbone: leave the backbone's weights and batch-norm averages as they are.

    Raises ConfigError for an unknown architecture or extractor, and for a pair that cannot be built. Whether every
    `layer_width` names a layer is known when the model is built: `model.build()` raises it.
    """
    choice = config.WhichOneof('model')
    if choice not in _MODELS:
        raise ConfigError(f'model: not set; choose {alternatives(sorted(_MODELS))}')
    model = getattr(config, choice)
    problems = list(pairs.problems(choice, model, f'model.{choice}'))
    if problems:
        raise ConfigError(problems)
    return _MODELS[choice](model, freeze_backbone=freeze_backbone, widths=_widths(config))


def build_extractor(
    config: pspnet_pb2.PSPNetICNetFeatureExtractor,
    *,
    architecture: str,
    filter_scale: float = 1.0,
    halve_at_stride: int | None = None,
) -> FeatureExtractor:
    """The backbone named by `config.type`, at the output stride that `architecture` gives it."""
    if config.type not in FEATURE_EXTRACTORS:
        place = f'model.{architecture}.feature_extractor.type'
        raise ConfigError(f'{place}: got {config.type!r}, choose from {sorted(FEATURE_EXTRACTORS)}')
    return FEATURE_EXTRACTORS[config.type](
        filter_scale=filter_scale,
        output_stride=pairs.output_stride(architecture, config),
        halve_at_stride=halve_at_stride,
        input_channels=config.input_channels,
        channel_means=tuple(config.channel_mean),
        channel_scale=config.channel_scale if config.HasField('channel_scale') else None,
    )


def _build_pspnet(config: pspnet_pb2.PSPNet, **shared: Any) -> SegmentationModel:
    return PSPNet(
        auxiliary_loss_weight=config.auxiliary_loss_weight,
        **_common(config, architecture='pspnet'),
        **shared,
        **_pyramid(config),
    )


def _build_icnet(config: icnet_pb2.ICNet, **shared: Any) -> SegmentationModel:
    single_branch = config.pretrain_single_branch_mode
    return ICNet(
        branch_weights=BranchWeights(
            main=config.main_branch_loss_weight,
            second=config.second_branch_loss_weight,
            first=config.first_branch_loss_weight,
        ),
        pretrain_single_branch_mode=single_branch,
        **_common(
            config,
            architecture='icnet',
            halve_at_stride=None if single_branch else HALVED_STRIDE,
        ),
        **shared,
        **_pyramid(config),
    )


def _build_fcn(config: fcn_pb2.FCN, **shared: Any) -> SegmentationModel:
    return FCN(
        decoder=SkipFusion(
            stride=config.stride,
            learned_upsampling=config.upsampling == fcn_pb2.FCN.LEARNED,
            zero_scores=config.zero_initialized_scores,
        ),
        dropout_keep_prob=config.dropout_keep_prob,
        **_common(config, architecture='fcn'),
        **shared,
    )


def _common(config: Any, *, architecture: str, halve_at_stride: int | None = None) -> dict[str, Any]:
    return {
        'num_classes': config.num_classes,
        'feature_extractor': build_extractor(
            config.feature_extractor,
            architecture=architecture,
            filter_scale=_filter_scale(config),
            halve_at_stride=halve_at_stride,
        ),
        'hyperparams': hyperparams_builder.build(config.hyperparams),
        'pixel_loss': losses_builder.build(config.loss),
        'input_scale': config.input_scale,
        'upsample_logits': config.loss.upsample_logits,
    }


def _pyramid(config: Any) -> dict[str, Any]:
    return {
        'pooling_factors': config.pooling_factors,
        'use_auxiliary_loss': config.loss.use_auxiliary_loss,
        'filter_scale': _filter_scale(config),
    }


def _widths(config: model_pb2.FastSegmentationModel) -> dict[str, int]:
    return {layer.scope: layer.num_filters for layer in config.layer_width}


def _filter_scale(config: Any) -> float:
    return config.filter_scale or 1.0  # unset means full width


_MODELS: dict[str, Callable[..., SegmentationModel]] = {
    'fcn': _build_fcn,
    'icnet': _build_icnet,
    'pspnet': _build_pspnet,
}
