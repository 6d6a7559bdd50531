"""A config, records and checkpoints small enough to evaluate, predict and export in a test."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from inputs import tf_example
from inputs.label_map import LabelMap

IGNORE_LABEL = 255
SIZES = ((65, 97), (64, 80), (33, 65), (65, 97))
_CONFIG = """
model {{
  icnet {{
    num_classes: 3
    filter_scale: 0.25
    pooling_factors: [1, 2, 3, 4]
    feature_extractor {{ type: 'resnet_v1_18' }}
    hyperparams {{
      batch_norm {{}}
      initializer {{ variance_scaling_initializer {{}} }}
    }}
    loss {{ classification_loss {{ softmax {{}} }} use_auxiliary_loss: true }}
  }}
}}
eval_config {{ num_examples: {num_examples} {eval_input_type} }}
eval_input_reader {{
  label_map_path: '{folder}/label_map.json'
  tf_record_input_reader {{ input_path: '{folder}/eval-*.tfrecord' }}
}}
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TinyRun:
    """Where everything lies, and the examples themselves: images uint8 [H, W, 3], labels uint8 [H, W]."""

    folder: Path
    config_path: str
    images: list[np.ndarray]
    labels: list[np.ndarray]


def make(folder: Path, *, num_examples: int = len(SIZES), eval_input_type: str = '') -> TinyRun:
    """Writes config, label map and two record files of seeded noise; a tenth of the pixels is ignored."""
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]
    labels = [rng.choice([0, 1, 2, IGNORE_LABEL], size, p=[0.5, 0.3, 0.1, 0.1]).astype(np.uint8) for size in SIZES]
    names = [f'street_{i}.png' for i in range(len(SIZES))]
    write_records(folder / 'eval-0.tfrecord', images[:1], labels[:1], names[:1])
    write_records(folder / 'eval-1.tfrecord', images[1:], labels[1:], names[1:])
    colors = ((128, 64, 128), (70, 130, 180), (0, 0, 142))
    LabelMap(names=('road', 'sky', 'car'), colors=colors, label_ids=(7, 23, 26)).save(folder / 'label_map.json')
    config_path = folder / 'tiny.config'
    config_path.write_text(
        _CONFIG.format(folder=folder, num_examples=num_examples, eval_input_type=eval_input_type), encoding='utf-8'
    )
    return TinyRun(folder=folder, config_path=str(config_path), images=images, labels=labels)


def write_records(
    path: Path,
    images: list[np.ndarray],
    labels: list[np.ndarray],
    names: list[str],
    instances: list[np.ndarray] | None = None,
) -> None:
    """One TFRecord file of PNG pairs, with uint16 instance ids if they are given."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for i, (image, label, name) in enumerate(zip(images, labels, names, strict=True)):
            example = tf_example.encode(
                image_bytes=_png(image),
                image_format='png',
                label_bytes=_png(label),
                instances_bytes=_png(instances[i]) if instances else None,
                filename=name,
                height=image.shape[0],
                width=image.shape[1],
            )
            writer.write(example.SerializeToString())


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'PNG')
    return buffer.getvalue()
