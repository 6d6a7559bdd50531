"""Names shared across folders: TFRecord features, example keys, prediction keys.

The TFRecord names are those of the public reference implementation, so its records are read as they are.
"""

from __future__ import annotations

import enum


class RecordFields(enum.StrEnum):
    """Features of one serialized `tf.train.Example`."""

    IMAGE_ENCODED = 'image/encoded'
    IMAGE_FORMAT = 'image/format'
    IMAGE_FILENAME = 'image/filename'
    IMAGE_HEIGHT = 'image/height'
    IMAGE_WIDTH = 'image/width'
    IMAGE_CHANNELS = 'image/channels'
    LABEL_ENCODED = 'image/segmentation/class/encoded'
    LABEL_FORMAT = 'image/segmentation/class/format'
    INSTANCES_ENCODED = 'image/segmentation/instance/encoded'


IMAGE = 'image'
LABEL = 'label'
INSTANCES = 'instances'
FILENAME = 'filename'

LOGITS = 'logits'
CLASS_IDS = 'class_ids'
PROBABILITIES = 'probabilities'

IGNORE_LABEL = 255
