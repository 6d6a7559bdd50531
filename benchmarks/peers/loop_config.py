"""The training that whole loops are timed on, in text that this project and the reference both read.

ICNet on ResNet-50 at half width, 289x385 crops of CamVid, batch 6: scaled, cropped and mirrored at random.
"""

from __future__ import annotations

from benchmarks.peers.cases import Case

CASE = Case('icnet', 0.5, 289, 385, 6)
NUM_CLASSES = 11
NUM_EXAMPLES = 367
STEPS_NOT_COUNTED = 10  # the first ones, while queues and caches fill

_AUGMENTATION = f"""
  preprocessor_step {{ random_image_scale {{ min_scale_ratio: 0.6 max_scale_ratio: 1.8 }} }}
  preprocessor_step {{ random_image_crop {{ crop_height: {CASE.height} crop_width: {CASE.width} }} }}
  preprocessor_step {{ random_horizontal_flip {{ }} }}"""


def train_text(num_steps: int) -> str:
    """A `TrainConfig` that trains `num_steps` after those that are not counted."""
    return f'{CASE.train_text()} {_AUGMENTATION} num_steps: {STEPS_NOT_COUNTED + num_steps}'


def input_text(records: str) -> str:
    """An `InputReader`."""
    return f"""
      shuffle: true num_examples: {NUM_EXAMPLES}
      tf_record_input_reader {{ input_path: '{records}' }}"""
