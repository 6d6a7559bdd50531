"""Networks, sizes and batches that steps are timed on. Needs NumPy alone, so that any interpreter can use it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

NUM_CLASSES = 19
IGNORE_LABEL = 255
MOMENTUM = 0.9
LEARNING_RATE = 0.001
WEIGHT_DECAY = 0.0001


@dataclasses.dataclass(frozen=True)
class Case:
    """One network on ResNet-50 at one crop.

    Attributes:
      architecture: `icnet` or `pspnet`.
      filter_scale: width of the network in (0, 1].
      height, width: of the images, 32 k + 1, which the reference needs.
      batch: images of one step.
    """

    architecture: str
    filter_scale: float
    height: int
    width: int
    batch: int

    @property
    def name(self) -> str:
        return f'{self.architecture}_{self.filter_scale}_{self.height}x{self.width}_batch_{self.batch}'

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Case:
        return cls(**json.loads(text))

    def model_text(self, num_classes: int = NUM_CLASSES) -> str:
        """A `FastSegmentationModel` in text format that this project and the reference both read."""
        return f"""{self.architecture} {{
          num_classes: {num_classes} filter_scale: {self.filter_scale}
          pooling_factors: [1, 2, 3, 6]
          feature_extractor {{ type: 'dilated_resnet50' }}
          hyperparams {{
            batch_norm {{ train: true scale: true center: true decay: 0.9997 epsilon: 0.00001 }}
            regularizer {{ l2_regularizer {{ weight: {WEIGHT_DECAY} }} }}
            initializer {{ variance_scaling_initializer {{}} }}
          }}
          loss {{ use_auxiliary_loss: true ignore_label: {IGNORE_LABEL} classification_loss {{ softmax {{}} }} }}
        }}"""

    def train_text(self) -> str:
        """A `TrainConfig` in text format that this project and the reference both read, without reading of data."""
        return f"""
          batch_size: {self.batch}
          optimizer {{ momentum_optimizer {{
            learning_rate {{ constant_learning_rate {{ learning_rate: {LEARNING_RATE} }} }}
            momentum_optimizer_value: {MOMENTUM}
          }} }}"""


CASES = {
    case.name: case
    for case in (
        Case('icnet', 1.0, 513, 513, 2),
        Case('icnet', 0.5, 353, 481, 8),
        Case('pspnet', 1.0, 257, 257, 2),
    )
}


def random_batch(case: Case) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Images float32 [B, H, W, 3] in 0..255 and labels int32 [B, H, W], the same in every process."""
    rng = np.random.default_rng(0)
    shape = (case.batch, case.height, case.width)
    images = rng.uniform(0, 255, (*shape, 3)).astype(np.float32)
    return images, rng.integers(0, NUM_CLASSES, shape).astype(np.int32)
