"""A small, valid pipeline config for tests of the loader."""

from __future__ import annotations

import pytest

MODEL = """
model {
  icnet {
    num_classes: 3
    feature_extractor { type: 'dilated_resnet50' }
    filter_scale: 0.5
    pooling_factors: [1, 2, 3, 4]
    loss { classification_loss { softmax {} } }
  }
}
"""

TRAINING = """
train_config {
  batch_size: 2
  optimizer { momentum_optimizer { learning_rate { constant_learning_rate {} } } }
  preprocessor_step { random_image_scale {} }
  preprocessor_step { random_image_crop { crop_height: 33 crop_width: 65 } }
}
train_input_reader { tf_record_input_reader { input_path: 'train.record' } }
"""

EVALUATION = """
eval_config { ignore_label: 255 }
eval_input_reader { shuffle: false tf_record_input_reader { input_path: 'val.record' } }
"""


@pytest.fixture
def config_text() -> str:
    """Text of a config with every block that training and evaluation need."""
    return MODEL + TRAINING + EVALUATION


@pytest.fixture
def config_path(tmp_path, config_text):
    """A file with `config_text`."""
    path = tmp_path / 'a.config'
    path.write_text(config_text)
    return path
