"""What is left on disk after an evaluation."""

from __future__ import annotations

import json

import numpy as np
import tensorflow as tf

from engine import eval_results
from engine.eval_lib import Evaluation
from inputs.label_map import LabelMap
from metrics import segmentation
from reports.pictures import Picture
from tests.reports import synthetic_evaluation

LABEL_MAP = LabelMap(names=('road', 'car'), colors=((128, 64, 128), (0, 0, 142)))


def _evaluation(step, *, pictures=()):
    summary = segmentation.summarize(np.array([[3, 0], [0, 0]]), LABEL_MAP.names)
    about = {'num_examples': 1, 'cross_entropy': 0.5, 'checkpoint': f'model.ckpt-{step}', 'step': step}
    return Evaluation(metrics={**summary, **about, 'eval_input': 'own size'}, pictures=list(pictures))


def _write(evaluation, folder):
    return eval_results.write(evaluation, str(folder), label_map=LABEL_MAP, config_path='x.config')


def _events(folder):
    """(step, tag, value) of every event file; a picture's value is its PNG."""
    found = []
    for path in sorted(folder.glob('events.*')):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.append((event.step, value.tag, tf.make_ndarray(value.tensor)))
    return found


def test_json_of_each_step_and_of_the_last(tmp_path):
    _write(_evaluation(5), tmp_path / 'eval')
    path = _write(_evaluation(10), tmp_path / 'eval')
    names = sorted(p.name for p in (tmp_path / 'eval').iterdir() if not p.name.startswith('events'))
    assert names == ['metrics-10.json', 'metrics-5.json', 'metrics.json']
    with open(path, encoding='utf-8') as f:
        metrics = json.load(f)
    assert (metrics['step'], metrics['mean_iou'], metrics['config']) == (10, 1.0, 'x.config')
    assert metrics['class_iou'] == {'road': 1.0, 'car': None}


def test_scalars_lie_at_the_checkpoint_step(tmp_path):
    _write(_evaluation(5), tmp_path)
    scalars = {tag: (step, float(value)) for step, tag, value in _events(tmp_path)}
    assert scalars['metrics/mean_iou'] == (5, 1.0)
    assert scalars['losses/cross_entropy'] == (5, 0.5)
    assert 'class_iou/road' in scalars and 'class_iou/car' not in scalars


def test_intervals_are_curves_beside_their_score(tmp_path):
    synthetic_evaluation.make(tmp_path, num_images=4)
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    scalars = {tag: float(value) for _, tag, value in _events(tmp_path)}
    for tag, ends in (
        ('metrics/mean_iou', metrics['intervals']['mean_iou']),
        ('metrics/mean_boundary_iou', metrics['intervals']['mean_boundary_iou']),
        ('class_iou/road', metrics['intervals']['class_iou']['road']),
        ('boundary_iou/road', metrics['intervals']['boundary_iou']['road']),
    ):
        assert scalars[f'{tag}_low'] == np.float32(ends[0]) <= scalars[tag] <= scalars[f'{tag}_high']
    assert scalars['metrics/expected_calibration_error'] == np.float32(metrics['calibration']['ece'])


def test_pictures_are_image_label_prediction(tmp_path):
    image = np.full((2, 3, 3), 9, np.uint8)
    label, prediction = np.array([[0, 1, 255], [0, 0, 0]]), np.array([[1, 1, 1], [0, 0, 0]])
    _write(_evaluation(5, pictures=[Picture(image=image, label=label, prediction=prediction)]), tmp_path)
    (value,) = [value for _, tag, value in _events(tmp_path) if tag == 'image_label_prediction/0']
    painted = tf.io.decode_png(value[2]).numpy()
    assert painted.shape == (2, 9, 3)
    np.testing.assert_array_equal(painted[0, :3], image[0])
    np.testing.assert_array_equal(painted[0, 3:6], [(128, 64, 128), (0, 0, 142), (0, 0, 0)])
    np.testing.assert_array_equal(painted[0, 6:], [(0, 0, 142)] * 3)


def test_the_terminal_sees_checkpoint_and_table():
    text = eval_results.describe(_evaluation(5).metrics)
    assert text.startswith('model.ckpt-5 (step 5): 1 images, own size')
    assert 'road' in text and 'mean' in text
