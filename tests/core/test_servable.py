"""Any size in, the same size out; padding never shows; tensors are named for deployment."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from core.servable import Servable
from tests import fake_model

COLORS = [(10, 20, 30), (40, 50, 60), (70, 80, 90)]


@pytest.fixture(scope='module')
def model():
    return fake_model.FakeModel()


@pytest.mark.parametrize('pad_to_shape', [None, (13, 17), (12, 40), (1, 1)])
@pytest.mark.parametrize('input_shape', [(None, None, None), (2, 12, 15), (None, 12, None)])
def test_class_ids_have_the_size_of_the_image(model, pad_to_shape, input_shape):
    batch = fake_model.images(2, 12, 15)
    traced = Servable(model=model, num_classes=3, pad_to_shape=pad_to_shape).trace(input_shape)
    predictions = traced(inputs=tf.constant(batch))['predictions'].numpy()
    assert predictions.shape == (2, 12, 15, 1) and predictions.dtype == np.uint8
    np.testing.assert_array_equal(predictions[..., 0], fake_model.class_ids(model, batch))


def test_one_trace_serves_every_size(model):
    traced = Servable(model=model, num_classes=3, pad_to_shape=(9, 9)).trace()
    for shape in [(1, 5, 7), (3, 9, 9), (1, 20, 4)]:
        batch = fake_model.images(*shape)
        ids = traced(inputs=tf.constant(batch))['predictions'].numpy()[..., 0]
        np.testing.assert_array_equal(ids, fake_model.class_ids(model, batch))


def test_static_sizes_stay_static(model):
    traced = Servable(model=model, num_classes=3, pad_to_shape=(16, 16), colors=COLORS).trace((1, 12, 15))
    assert traced.structured_outputs['predictions'].shape == [1, 12, 15, 1]
    assert traced.structured_outputs['colours'].shape == [1, 12, 15, 3]


def test_colours_are_the_table_at_the_ids(model):
    batch = fake_model.images(1, 6, 5)
    outputs = Servable(model=model, num_classes=3, colors=COLORS)(tf.constant(batch))
    assert outputs['colours'].dtype == tf.uint8
    np.testing.assert_array_equal(outputs['colours'], np.array(COLORS)[fake_model.class_ids(model, batch)])


def test_more_than_256_classes_are_not_wrapped():
    model = fake_model.FakeModel(num_classes=300)
    batch = fake_model.images(1, 16, 16)
    ids = Servable(model=model, num_classes=300).class_ids(tf.constant(batch))
    assert ids.dtype == tf.int32 and int(tf.reduce_max(ids)) > 255
    np.testing.assert_array_equal(ids, fake_model.class_ids(model, batch))


def test_nonsense_is_rejected(model):
    with pytest.raises(ValueError, match='pad_to_shape must be positive'):
        Servable(model=model, num_classes=3, pad_to_shape=(0, 5))
    with pytest.raises(ValueError, match='2 colors for 3 classes'):
        Servable(model=model, num_classes=3, colors=COLORS[:2])
