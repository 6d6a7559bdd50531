"""Names shared across folders: TFRecord features, example keys, prediction keys.

The TFRecord names are those of the public reference implementation, so its records are read as they are; those of raw
pixels and tiles are this project's.
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
    IMAGE_RAW = 'image/raw'
    IMAGE_TILES = 'image/tiles'
    IMAGE_SHAPE = 'image/shape'
    TILE_SIZE = 'image/tile_size'
    LABEL_ENCODED = 'image/segmentation/class/encoded'
    LABEL_FORMAT = 'image/segmentation/class/format'
    LABEL_TILES = 'image/segmentation/class/tiles'
    INSTANCES_ENCODED = 'image/segmentation/instance/encoded'


IMAGE = 'image'
LABEL = 'label'
INSTANCES = 'instances'
FILENAME = 'filename'

LOGITS = 'logits'
CLASS_IDS = 'class_ids'
PROBABILITIES = 'probabilities'

IGNORE_LABEL = 255
