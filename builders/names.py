"""Names a config may use, in one place that imports no TensorFlow, and what is said about a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

FEATURE_EXTRACTORS = (
    *('dilated_resnet50', 'dilated_mobilenet'),
    *('resnet_v1_18', 'resnet_v1_34', 'resnet_v1_50', 'resnet_v1_101', 'resnet_v1_152', 'resnet_v2_50'),
    *('vgg16', 'vgg16_fc', 'inception_v1', 'mobilenet_v1', 'mobilenet_v2'),
)

FINE_TUNE_TYPES = ('classification', 'segmentation', 'segmentation-finetune')

PURPOSES = ('train', 'eval', 'export', 'predict')


def suggestion(wrong: str, choices: Sequence[str]) -> str:
    """`, did you mean 'x'? choose from ['x', 'y']`; without the question where nothing is near."""
    near = difflib.get_close_matches(wrong, choices, n=1, cutoff=0.6)
    question = f', did you mean {near[0]!r}?' if near else ','
    return f'{question} choose from {list(choices)}'


def alternatives(choices: Sequence[str]) -> str:
    """`a, b or c`."""
    return choices[0] if len(choices) == 1 else f'{", ".join(choices[:-1])} or {choices[-1]}'
