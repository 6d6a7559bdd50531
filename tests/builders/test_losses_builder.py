"""Every loss message becomes the loss it describes; class weights are counted once, from the records."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from builders import losses_builder
from core import class_weights, losses, region_losses
from core.errors import DataError
from inputs import class_histogram
from protos import losses_pb2
from protos.pipeline_pb2 import PipelineConfig
from tests import tiny_run

LOGITS = np.random.default_rng(0).normal(size=(1, 3, 5, 3)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 3, (1, 3, 5)).astype(np.int32)


def build(text):
    message = text_format.Parse(f'classification_loss {{ {text} }} ignore_label: 99', losses_pb2.Loss())
    return losses_builder.build(message)


def test_unset_is_softmax():
    assert losses_builder.build(losses_pb2.Loss()) == losses.SoftmaxCrossEntropy()


def test_softmax():
    expected = losses.SoftmaxCrossEntropy(ignore_label=99, class_weight=(1.0, 2.0), label_smoothing=0.5)
    assert build('softmax { class_weight: [1, 2] label_smoothing: 0.5 }') == expected


def test_those_of_hard_pixels():
    weighted = losses.SoftmaxCrossEntropy(ignore_label=99, class_weight=(1.0, 2.0))
    inner = 'cross_entropy { class_weight: [1, 2] }'
    assert build(f'bootstrapped {{ share: 0.5 {inner} }}') == losses.HardestPixels(cross_entropy=weighted, share=0.5)
    expected = losses.HardestPixels(cross_entropy=weighted, share=0.25, threshold=0.5)
    assert build(f'ohem {{ threshold: 0.5 min_share: 0.25 {inner} }}') == expected
    assert build(f'focal {{ gamma: 3 {inner} }}') == losses.Focal(cross_entropy=weighted, gamma=3)


def test_those_of_regions():
    assert build('dice { per_image: true }') == region_losses.SoftDice(ignore_label=99, per_image=True)
    assert build('lovasz {}') == region_losses.LovaszSoftmax(ignore_label=99)


def test_sums_within_sums():
    built = build(
        'weighted_sum { term { weight: 0.5 loss { softmax {} } } term { loss { weighted_sum { '
        'term { loss { dice {} } } term { weight: 3 loss { lovasz {} } } } } } }'
    )
    parts = [float(build(f'{name} {{}}')(LOGITS, LABELS)) for name in ('softmax', 'dice', 'lovasz')]
    assert float(built(LOGITS, LABELS)) == pytest.approx(0.5 * parts[0] + parts[1] + 3 * parts[2], rel=1e-6)


CONFIG = """
model {{ icnet {{ num_classes: 3 loss {{ classification_loss {{ {loss} }} }} }} }}
train_input_reader {{ tf_record_input_reader {{ input_path: '{folder}/train-*' }} }}
"""


@pytest.fixture
def records(tmp_path):
    """Two labels: [[0, 0, 0, 1]] with one pixel ignored more, and [[0, 2, 2, 2, 2]]."""
    labels = [np.array([[0, 0, 0, 1, 255]], np.uint8), np.array([[0, 2, 2, 2, 2]], np.uint8)]
    for i, label in enumerate(labels):
        image = np.zeros((*label.shape, 3), np.uint8)
        tiny_run.write_records(tmp_path / f'train-{i}', [image], [label], [f'{i}.png'])
    return tmp_path


def config(folder, loss):
    return text_format.Parse(CONFIG.format(folder=folder, loss=loss), PipelineConfig())


PIXELS, PIXELS_OF_IMAGES = np.array([4, 1, 4]), np.array([9, 4, 5])
EXPECTED = {
    'INVERSE_FREQUENCY': class_weights.inverse_frequency(PIXELS),
    'MEDIAN_FREQUENCY': class_weights.median_frequency(PIXELS, PIXELS_OF_IMAGES),
    'ENET': class_weights.enet(PIXELS),
}


@pytest.mark.parametrize('weighting', EXPECTED)
def test_weights_are_counted(records, weighting):
    asked = config(
        records,
        f'weighted_sum {{ term {{ loss {{ focal {{ cross_entropy {{ class_weighting: {weighting} }} }} }} }} }}',
    )
    counted = losses_builder.count_class_weights(asked)
    message = counted.model.icnet.loss.classification_loss.weighted_sum.term[0].loss.focal.cross_entropy
    np.testing.assert_allclose(list(message.class_weight), EXPECTED[weighting], rtol=1e-6)
    assert not message.class_weighting
    assert asked.model.icnet.loss.classification_loss.weighted_sum.term[0].loss.focal.cross_entropy.class_weighting


def test_a_config_that_counts_nothing_is_returned_as_it_is(tmp_path):
    plain = config(tmp_path / 'nowhere', 'softmax { class_weight: [1, 2, 3] }')
    assert losses_builder.count_class_weights(plain) is plain


def test_uncounted_weights_are_not_trained_with(records):
    built = losses_builder.build(config(records, 'softmax { class_weighting: ENET }').model.icnet.loss)
    with pytest.raises(ValueError, match='not counted yet'):
        built(LOGITS, LABELS)


def histogram(folder, **changes):
    return class_histogram.of_records([f'{folder}/train-*'], **{'num_classes': 3, **changes})


def test_the_histogram(records):
    expected = class_histogram.ClassHistogram(
        num_examples=2, ignored_pixels=1, pixels=[4, 1, 4], pixels_of_images=[9, 4, 5], images=[2, 1, 1]
    )
    assert histogram(records) == expected


def test_it_is_counted_once(records, monkeypatch):
    first = histogram(records)
    (kept,) = records.glob('class_histogram-*.json')
    content = json.loads(kept.read_text())
    content['histogram']['pixels'] = [7, 7, 7]
    kept.write_text(json.dumps(content))
    assert histogram(records).pixels == [7, 7, 7]
    kept.write_text(kept.read_text()[:-20])
    assert histogram(records) == first
    os.utime(records / 'train-0', (1, 1))
    monkeypatch.setattr(class_histogram, '_count', lambda *_: pytest.fail('counted again, as it should be'))
    with pytest.raises(pytest.fail.Exception, match='as it should be'):
        histogram(records)


def test_a_folder_that_cannot_be_written_costs_a_warning(records, monkeypatch, caplog):
    def refuses(*_, **__):
        raise tf.errors.PermissionDeniedError(None, None, 'read-only file system')

    monkeypatch.setattr(tf.io.gfile, 'rename', refuses)
    assert histogram(records).num_examples == 2
    assert 'cannot be written, so the classes are counted again next time' in caplog.text


def test_an_id_that_is_no_class_is_told(records):
    with pytest.raises(DataError, match=r'1.png: label ids \[2\], neither a class \(0..1\) nor the ignore label 255'):
        histogram(records, num_classes=2)
