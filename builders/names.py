"""Names a config may use, in one place that imports no TensorFlow."""

from __future__ import annotations

FEATURE_EXTRACTORS = ('dilated_resnet50', 'dilated_mobilenet')

FINE_TUNE_TYPES = ('classification', 'segmentation', 'segmentation-finetune')
