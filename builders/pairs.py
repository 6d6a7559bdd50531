"""Which extractor and stride suit which architecture; imports no TensorFlow, so a config is refused at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protos.pspnet_pb2 import PSPNetICNetFeatureExtractor

_HEADLESS = "fc6 and fc7 are a classifier's head, which pyramid pooling replaces; choose vgg16"
UNSUPPORTED: dict[tuple[str, str], str] = {
    ('icnet', 'vgg16_fc'): _HEADLESS,
    ('pspnet', 'vgg16_fc'): _HEADLESS,
}
# Extractors that the reference built for stride 8 alone, and the one to take for others.
STRIDE_8_ONLY = {'dilated_resnet50': 'resnet_v1_50', 'dilated_mobilenet': 'mobilenet_v2'}
_DEFAULT_STRIDE = {'pspnet': 8, 'icnet': 8, 'fcn': 32}


def output_stride(architecture: str, extractor: PSPNetICNetFeatureExtractor) -> int:
    """The one written, or else what the architecture's paper has."""
    if extractor.output_stride:
        return extractor.output_stride
    return 8 if extractor.type in STRIDE_8_ONLY else _DEFAULT_STRIDE[architecture]


def problems(architecture: str, model: Any, path: str) -> Iterator[str]:
    """One line for each thing about the message `model` of this architecture that cannot be built."""
    extractor = model.feature_extractor
    stride = output_stride(architecture, extractor)
    reason = UNSUPPORTED.get((architecture, extractor.type))
    if reason:
        yield f'{path}.feature_extractor.type: got {extractor.type!r}, which {architecture} cannot use: {reason}'
    place = f'{path}.feature_extractor.output_stride'
    if extractor.type in STRIDE_8_ONLY and stride != 8:
        yield f'{place}: got {stride}, but {extractor.type} has 8 alone; choose {STRIDE_8_ONLY[extractor.type]}'
    elif architecture == 'icnet' and stride != 8:
        yield f'{place}: got {stride}, but icnet halves features of stride 8 itself; choose 8 or remove the field'
    if architecture == 'fcn':
        yield from _fcn_problems(model, stride, path)


def _fcn_problems(model: Any, output_stride: int, path: str) -> Iterator[str]:
    if model.stride > output_stride:
        yield (
            f'{path}.stride: got {model.stride}, but {model.feature_extractor.type} ends at stride {output_stride}; '
            f'choose {output_stride}, or a larger feature_extractor.output_stride'
        )
    if model.loss.use_auxiliary_loss:
        yield f'{path}.loss.use_auxiliary_loss: fcn has no auxiliary head; remove the field'
