"""`FastSegmentationModel` message -> `SegmentationModel`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from builders import hyperparams_builder, losses_builder
from core.errors import ConfigError
from core.feature_extractor import FeatureExtractor
from core.model import SegmentationModel
from feature_extractors.mobilenet_v2 import DilatedMobileNetV2
from feature_extractors.resnet_v1 import DilatedResNet50
from meta_architectures.icnet import BranchWeights, ICNet
from meta_architectures.pspnet import PSPNet
from protos import icnet_pb2, model_pb2, pspnet_pb2

FEATURE_EXTRACTORS: dict[str, type[FeatureExtractor]] = {
    'dilated_resnet50': DilatedResNet50,
    'dilated_mobilenet': DilatedMobileNetV2,
}


def build(config: model_pb2.FastSegmentationModel, *, freeze_backbone: bool = False) -> SegmentationModel:
    """The model a config describes, without variables yet: call `model.build()` in the strategy's scope.

    Args:
      config: `PipelineConfig.model`.
      freeze_backbone: leave the backbone's weights and batch-norm averages as they are.
    """
    choice = config.WhichOneof('model')
    if choice not in _MODELS:
        raise ConfigError(f'model: not set; choose {" or ".join(sorted(_MODELS))}')
    return _MODELS[choice](getattr(config, choice), freeze_backbone)


def build_extractor(
    config: pspnet_pb2.PSPNetICNetFeatureExtractor, *, filter_scale: float, halve_after_c3: bool, place: str
) -> FeatureExtractor:
    """The backbone named by `config.type`; `place` is the field path for the error message."""
    if config.type not in FEATURE_EXTRACTORS:
        raise ConfigError(f'{place}.type: got {config.type!r}, choose from {sorted(FEATURE_EXTRACTORS)}')
    return FEATURE_EXTRACTORS[config.type](filter_scale=filter_scale, halve_after_c3=halve_after_c3)


def _build_pspnet(config: pspnet_pb2.PSPNet, freeze_backbone: bool) -> SegmentationModel:
    return PSPNet(
        auxiliary_loss_weight=config.auxiliary_loss_weight,
        **_common(config, freeze_backbone, halve_after_c3=False, place='model.pspnet.feature_extractor'),
    )


def _build_icnet(config: icnet_pb2.ICNet, freeze_backbone: bool) -> SegmentationModel:
    single_branch = config.pretrain_single_branch_mode
    return ICNet(
        branch_weights=BranchWeights(
            main=config.main_branch_loss_weight,
            second=config.second_branch_loss_weight,
            first=config.first_branch_loss_weight,
        ),
        pretrain_single_branch_mode=single_branch,
        mobile_ops_only=config.mobile_ops_only,
        **_common(config, freeze_backbone, halve_after_c3=not single_branch, place='model.icnet.feature_extractor'),
    )


def _common(config: Any, freeze_backbone: bool, *, halve_after_c3: bool, place: str) -> dict[str, Any]:
    filter_scale = config.filter_scale or 1.0  # unset means full width
    return {
        'num_classes': config.num_classes,
        'feature_extractor': build_extractor(
            config.feature_extractor, filter_scale=filter_scale, halve_after_c3=halve_after_c3, place=place
        ),
        'hyperparams': hyperparams_builder.build(config.hyperparams),
        'pixel_loss': losses_builder.build(config.loss),
        'input_scale': config.input_scale,
        'freeze_backbone': freeze_backbone,
        'pooling_factors': config.pooling_factors,
        'use_auxiliary_loss': config.loss.use_auxiliary_loss,
        'upsample_logits': config.loss.upsample_logits,
        'filter_scale': filter_scale,
    }


_MODELS: dict[str, Callable[[Any, bool], SegmentationModel]] = {'icnet': _build_icnet, 'pspnet': _build_pspnet}
