"""A narrow PSPNet trained for two steps, which the tests of compress.py cut."""

from __future__ import annotations

from pathlib import Path

import pytest

import train
from tests import tiny_run

_CONFIG = """
model {{
  pspnet {{
    num_classes: 3 filter_scale: 0.25 pooling_factors: [1, 2]
    feature_extractor {{ type: 'resnet_v1_18' output_stride: 16 }}
    loss {{ classification_loss {{ softmax {{}} }} use_auxiliary_loss: true }}
  }}
}}
train_config {{
  batch_size: 2 num_steps: 2 log_every_n_steps: 1 random_seed: 3 save_checkpoint_every_n_steps: 1
  optimizer {{ momentum_optimizer {{ learning_rate {{
    cosine_decay_learning_rate {{ initial_learning_rate: 0.001 decay_steps: 2 }} warmup {{ num_steps: 1 }} }} }} }}
  preprocessor_step {{ random_image_crop {{ crop_height: 33 crop_width: 33 }} }}
}}
train_input_reader {{
  label_map_path: '{folder}/label_map.json'
  tf_record_input_reader {{ input_path: '{folder}/eval-*.tfrecord' }}
}}
eval_input_reader {{
  label_map_path: '{folder}/label_map.json'
  tf_record_input_reader {{ input_path: '{folder}/eval-0.tfrecord' }}
}}
"""


@pytest.fixture(scope='session')
def folder(tmp_path_factory) -> Path:
    """Records, `train.config`, and `train/model.ckpt-2` with its slots; nothing writes into it."""
    run = tiny_run.make(tmp_path_factory.mktemp('run'))
    (run.folder / 'train.config').write_text(_CONFIG.format(folder=run.folder), encoding='utf-8')
    assert train.main([f'--config_path={run.folder}/train.config', f'--logdir={run.folder}/train']) == 0
    return run.folder
