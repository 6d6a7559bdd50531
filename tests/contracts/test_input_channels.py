"""Images of 1 and 4 channels: every script from records to predictions, and checkpoints of RGB in each architecture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image

import eval as eval_script
import export as export_script
import predict as predict_script
import train as train_script
from builders import config_loader, model_builder
from core.errors import DataError, UsageError
from core.fields import LOGITS
from engine import checkpoints, export_check, export_lib, image_files, train_lib
from engine.train_state import fine_tune
from protos.pipeline_pb2 import PipelineConfig
from tests.contracts.configs import build_model, model_config
from tests.tiny_run import write_records

_CONFIG = """
model {{
  fcn {{
    num_classes: 3 filter_scale: 0.125 stride: 16
    feature_extractor {{ type: 'mobilenet_v1' input_channels: {channels} }}
    loss {{ classification_loss {{ softmax {{}} }} }}
  }}
}}
train_config {{
  batch_size: 2 num_steps: 2
  preprocessor_step {{ random_image_crop {{ crop_height: 33 crop_width: 49 }} }}
  optimizer {{ momentum_optimizer {{ learning_rate {{ constant_learning_rate {{ learning_rate: 0.01 }} }} }} }}
}}
train_input_reader {{ tf_record_input_reader {{ input_path: '{folder}/a.record' }} }}
eval_input_reader {{ tf_record_input_reader {{ input_path: '{folder}/a.record' }} }}
"""


@pytest.mark.parametrize(('channels', 'mode'), [pytest.param(1, 'L', marks=pytest.mark.slow), (4, 'RGBA')])
def test_every_script(channels: int, mode: str, tmp_path: Path):
    rng = np.random.default_rng(2)
    images = [rng.integers(0, 256, (33, 50) if mode == 'L' else (33, 50, channels), np.uint8) for _ in range(3)]
    labels = [rng.integers(0, 3, (33, 50), np.uint8) for _ in range(3)]
    write_records(tmp_path / 'a.record', images, labels, ['a.png', 'b.png', 'c.png'])
    config, run = str(tmp_path / 'a.config'), str(tmp_path / 'run')
    Path(config).write_text(_CONFIG.format(channels=channels, folder=tmp_path))
    Image.fromarray(images[0]).save(tmp_path / 'a.png')
    flags = ['--config_path', config]

    assert train_script.main([*flags, '--logdir', run, '--image_summaries']) == 0
    assert eval_script.main([*flags, '--train_dir', run, '--eval_dir', f'{run}/eval', '--image_summaries']) == 0
    assert json.loads(Path(run, 'eval', 'metrics.json').read_text())['num_examples'] == 3
    export = [*flags, '--trained_checkpoint', run, '--output_dir', f'{run}/export']
    with pytest.raises(UsageError, match=f'ends with 3 channels, but the config has input_channels: {channels}'):
        export_script.main([*export, '--input_shape', '33,50,3'])
    assert export_script.main([*export, '--input_shape', f'None,None,{channels}']) == 0
    predict = ['--input_path', str(tmp_path / 'a.png'), '--output_dir']
    sources = (
        ['--exported', f'{run}/export'],
        ['--exported', f'{run}/export/saved_model'],
        [*(*flags, '--trained_checkpoint', run)],
    )
    ids = []
    for i, source in enumerate(sources):
        assert predict_script.main([*source, *predict, str(tmp_path / str(i))]) == 0
        assert np.asarray(Image.open(tmp_path / str(i) / 'a_overlay.png')).shape == (33, 50, 3)
        ids.append(np.asarray(Image.open(tmp_path / str(i) / 'a_ids.png')))
    assert (ids[0] == ids[1]).mean() > 0.999 and (ids[0] == ids[2]).mean() > 0.999


def test_a_picture_without_the_channels_is_named(tmp_path: Path):
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / 'a.png')
    with pytest.raises(DataError, match=r'a.png: the model needs 4 channels \(RGBA\), this picture is RGB'):
        image_files.read(str(tmp_path / 'a.png'), 4)
    with pytest.raises(UsageError, match='the model needs 6 channels, pictures hold 1, 3 or 4'):
        image_files.read(str(tmp_path / 'a.png'), 6)


@pytest.mark.parametrize(
    ('architecture', 'channels'),
    [
        *(('fcn', 5), ('icnet', 1)),
        *(
            pytest.param(a, c, marks=pytest.mark.slow)
            for a, c in (('fcn', 1), ('icnet', 5), ('pspnet', 1), ('pspnet', 5))
        ),
    ],
)
def test_a_checkpoint_of_rgb_answers_the_same_where_all_channels_are_equal(
    architecture: str, channels: int, tmp_path: Path
):
    """With one mean for every channel, a grey picture is the same thing to both; ICNet's light branch included."""
    extractor = 'mobilenet_v1'
    scores = 'zero_initialized_scores: false' if architecture == 'fcn' else ''
    rgb = build_model(architecture, extractor, loss='', extra=scores)
    path = checkpoints.save(tmp_path, 1, rgb.variables_by_name())
    model = model_builder.build(
        model_config(architecture, extractor, loss='', extractor_extra=f'input_channels: {channels}')
    )
    model.build()
    report = fine_tune(model, model.variables_by_name(), path, 'segmentation', strict=True)
    assert len(report.inflated) == (2 if architecture == 'icnet' else 1)
    grey = np.random.default_rng(1).uniform(0, 255, (1, 65, 97, 1)).astype(np.float32)

    def logits(network, count):
        images = tf.constant(np.repeat(grey, count, -1))
        return network.predict(network.preprocess(images), is_training=False)[LOGITS].numpy()

    want = logits(rgb, 3)
    assert np.abs(want).max() > 0
    np.testing.assert_allclose(logits(model, channels), want, rtol=1e-3, atol=1e-4 * np.abs(want).max())


@pytest.mark.slow
def test_five_channels_are_trained_and_exported_from_python(tmp_path: Path):
    text = _CONFIG.format(channels=5, folder='nowhere').split('train_input_reader')[0]
    config = text_format.Parse(text, PipelineConfig())
    config_loader.validate(config, 'export')
    rng = np.random.default_rng(2)
    batch = {
        'image': rng.uniform(0, 255, (2, 33, 49, 5)).astype(np.float32),
        'label': rng.integers(0, 3, (2, 33, 49)).astype(np.int32),
        'filename': ['a', 'b'],
    }

    def build_dataset(config, *, batch_size, seed, first_step):
        return tf.data.Dataset.from_tensors(batch).repeat()

    options = train_lib.TrainOptions(logdir=str(tmp_path / 'run'))
    assert train_lib.train(config, options, build_dataset=build_dataset) == 2
    report = export_lib.export(config, checkpoint=str(tmp_path / 'run'), output_dir=str(tmp_path / 'export'))
    assert min(found.equal_pixels for found in report.agreement.values()) >= export_check.EQUAL_PIXELS
