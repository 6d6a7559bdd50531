"""Examples: what goes in comes out, in the forms that records are found in."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from core.errors import DataError
from inputs import pipeline, tf_example

RNG = np.random.default_rng(3)
IMAGE = RNG.integers(0, 256, (5, 7, 3), np.uint8)
LABEL = RNG.integers(0, 4, (5, 7), np.uint8)


def encoded(array: np.ndarray, kind: str = 'PNG') -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def features(**values: bytes) -> bytes:
    """A serialized Example with just these features, `__` standing for `/`."""
    feature = {
        key.replace('__', '/'): tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for key, value in values.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def example(**changes) -> tf.train.Example:
    arguments = {
        'image_bytes': encoded(IMAGE),
        'image_format': 'png',
        'label_bytes': encoded(LABEL),
        'label_format': 'png',
        'filename': 'a/b.png',
        'height': 5,
        'width': 7,
    }
    return tf_example.encode(**{**arguments, **changes})


def test_round_trip_is_exact():
    decoded = tf_example.decode(tf.constant(example().SerializeToString()))
    np.testing.assert_array_equal(decoded['image'], IMAGE)
    np.testing.assert_array_equal(decoded['label'], LABEL)
    assert decoded['filename'].numpy() == b'a/b.png'
    assert (decoded['image'].dtype, decoded['label'].dtype) == (tf.uint8, tf.uint8)


def test_all_features_of_the_format_are_there():
    names = set(example().features.feature)
    assert names == {
        'image/encoded',
        'image/format',
        'image/filename',
        'image/height',
        'image/width',
        'image/channels',
        'image/segmentation/class/encoded',
        'image/segmentation/class/format',
    }


def test_records_without_optional_features_are_read():
    serialized = features(image__encoded=encoded(IMAGE), image__segmentation__class__encoded=encoded(LABEL))
    decoded = tf_example.decode(tf.constant(serialized))
    np.testing.assert_array_equal(decoded['label'], LABEL)
    assert decoded['filename'].numpy() == b''


def test_jpeg_is_recognised_by_its_bytes():
    flat = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    assert np.abs(decode_as(flat, 3, 'JPEG').astype(int) - flat).max() <= 3


def test_grey_is_repeated_and_transparency_dropped():
    np.testing.assert_array_equal(decode_as(LABEL, 3), np.repeat(LABEL[..., None], 3, -1))
    rgba = np.concatenate([IMAGE, np.full((5, 7, 1), 9, np.uint8)], -1)
    np.testing.assert_array_equal(decode_as(rgba, 3), IMAGE)


def test_static_shapes_and_types_in_a_graph():
    spec = tf.data.Dataset.from_tensors(b'').map(tf_example.decode).element_spec
    assert spec['image'].shape.as_list() == [None, None, 3]
    assert spec['label'].shape.as_list() == [None, None]


def test_a_missing_label_is_an_error_that_names_the_example():
    serialized = example(label_bytes=None).SerializeToString()
    with pytest.raises(DataError, match=r'^a/b.png: the record has no image/segmentation/class/encoded; training'):
        with pipeline.user_errors():
            tf_example.decode(tf.constant(serialized))


def test_a_label_of_another_size_is_an_error_that_names_the_example():
    serialized = example(label_bytes=encoded(LABEL[:3])).SerializeToString()
    with pytest.raises(DataError, match=r'^a/b.png: the image has size \[5 7\] and its label \[3 7\]$'):
        with pipeline.user_errors():
            tf_example.decode(tf.constant(serialized))


@pytest.mark.parametrize(('changes', 'message'), [({'image_bytes': b''}, 'no bytes'), ({'height': 0}, 'got 0x7')])
def test_nonsense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        example(**changes)


def decode_as(array: np.ndarray, channels: int, kind: str = 'PNG') -> np.ndarray:
    changes = {'image_bytes': encoded(array, kind), 'label_bytes': encoded(np.zeros(array.shape[:2], np.uint8))}
    serialized = example(**changes).SerializeToString()
    with pipeline.user_errors():
        return tf_example.decode(tf.constant(serialized), channels)['image'].numpy()


@pytest.mark.parametrize('kind', ['PNG', 'JPEG'])
def test_one_channel_is_grey_as_stored_or_the_luminance_of_colours(kind):
    smooth = np.linspace(0, 255, 35).reshape(5, 7).astype(np.uint8)
    stored = np.asarray(Image.open(io.BytesIO(encoded(smooth, kind))))
    np.testing.assert_allclose(decode_as(smooth, 1, kind), stored[..., None], atol=0 if kind == 'PNG' else 1)
    luminance = IMAGE @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(decode_as(IMAGE, 1)[..., 0], luminance, atol=1.01)
    four = np.concatenate([IMAGE, np.full((5, 7, 1), 9, np.uint8)], -1)
    np.testing.assert_allclose(decode_as(four, 1)[..., 0], luminance, atol=1.01)


def test_four_channels_come_as_they_are():
    four = RNG.integers(0, 256, (5, 7, 4), np.uint8)
    np.testing.assert_array_equal(decode_as(four, 4), four)


@pytest.mark.parametrize(('array', 'found'), [(IMAGE, 3), (LABEL, 1)])
def test_a_fourth_channel_is_not_made_up(array, found):
    with pytest.raises(DataError, match=rf'^a/b.png: the image has {found} channels, 4 are needed$'):
        decode_as(array, 4)


def test_other_numbers_of_channels_are_refused():
    with pytest.raises(ValueError, match='channels must be 1, 3 or 4, got 6'):
        decode_as(IMAGE, 6)
