"""One image with its label map <-> one serialized `tf.train.Example`."""

from __future__ import annotations

import tensorflow as tf

from core.fields import FILENAME, IMAGE, INSTANCES, LABEL, RecordFields
from inputs import image_header

_FEATURES = {
    RecordFields.IMAGE_ENCODED.value: tf.io.FixedLenFeature([], tf.string, ''),
    RecordFields.IMAGE_FILENAME.value: tf.io.FixedLenFeature([], tf.string, ''),
    RecordFields.LABEL_ENCODED.value: tf.io.FixedLenFeature([], tf.string, ''),
    RecordFields.INSTANCES_ENCODED.value: tf.io.FixedLenFeature([], tf.string, ''),
}


def encode(
    *,
    image_bytes: bytes,
    image_format: str,
    label_bytes: bytes | None,
    label_format: str = 'png',
    instances_bytes: bytes | None = None,
    filename: str,
    height: int,
    width: int,
    channels: int = 3,
) -> tf.train.Example:
    """Packs encoded files into an Example.

    Args:
      image_bytes: a PNG or JPEG file.
      image_format: `png` or `jpeg`.
      label_bytes: a PNG file of class ids, one 8-bit channel; None leaves the label out (pictures to predict only).
      label_format: `png`.
      instances_bytes: a PNG file of instance ids, one 16-bit channel: label id * 1000 + number of the instance, or less
        than 1000 where a pixel belongs to no single instance; None leaves them out.
      filename: what messages about this example call it.
      height: rows of both pictures.
      width: columns of both pictures.
      channels: of the image as it is stored.
    """
    if not image_bytes:
        raise ValueError(f'{filename}: the image has no bytes')
    if height < 1 or width < 1:
        raise ValueError(f'{filename}: height and width must be 1 or more, got {height}x{width}')
    feature = {
        RecordFields.IMAGE_ENCODED: _bytes(image_bytes),
        RecordFields.IMAGE_FORMAT: _bytes(image_format.encode()),
        RecordFields.IMAGE_FILENAME: _bytes(filename.encode()),
        RecordFields.IMAGE_HEIGHT: _int64(height),
        RecordFields.IMAGE_WIDTH: _int64(width),
        RecordFields.IMAGE_CHANNELS: _int64(channels),
    }
    if label_bytes is not None:
        feature[RecordFields.LABEL_ENCODED] = _bytes(label_bytes)
        feature[RecordFields.LABEL_FORMAT] = _bytes(label_format.encode())
    if instances_bytes is not None:
        feature[RecordFields.INSTANCES_ENCODED] = _bytes(instances_bytes)
    return tf.train.Example(features=tf.train.Features(feature={str(k): v for k, v in feature.items()}))


def decode(serialized: tf.Tensor, channels: int = 3) -> dict[str, tf.Tensor]:
    """Decodes one serialized Example, inside a graph or eagerly.

    The kind of the image (PNG, JPEG, also GIF or BMP) is read from its bytes. Heights, widths and formats stored beside
    are not needed, so records that leave them out work.

    Args:
      channels: see `decode_image`.

    Returns:
      {`image`: uint8 [H, W, channels], `label`: int32 [H, W], `filename`: string}.

    Raises (when run): tf.errors.InvalidArgumentError that names the file if there is no image, no label, if one says
    in its header that it is larger than `image_header.MAX_PIXELS`, or if their sizes differ; see `data_errors`.
    """
    example = parse(serialized)
    return {IMAGE: decode_image(example, channels), LABEL: decode_label(example), FILENAME: example[FILENAME]}


def decode_checked(serialized: tf.Tensor, channels: int = 3) -> dict[str, tf.Tensor]:
    """`decode`, with the label still uint8 [H, W] and with the check that image and label have one size."""
    example = parse(serialized)
    image = decode_image(example, channels)
    label = _label_bytes_to_ids(example)
    same_size = tf.reduce_all(tf.equal(tf.shape(image)[:2], tf.shape(label)))
    sizes = tf.strings.format(': the image has size {} and its label {}', (tf.shape(image)[:2], tf.shape(label)))
    message = tf.strings.join([example[FILENAME], sizes])
    with tf.control_dependencies([tf.debugging.Assert(same_size, [message])]):
        label = tf.identity(label)
    return {IMAGE: image, LABEL: label, FILENAME: example[FILENAME]}


def decode_with_instances(serialized: tf.Tensor, channels: int = 3) -> dict[str, tf.Tensor]:
    """`decode_checked`, with `instances`: int32 [H, W], or [0, 0] where the record has none."""
    example = decode_checked(serialized, channels)
    encoded = tf.io.parse_single_example(serialized, _FEATURES)[RecordFields.INSTANCES_ENCODED]
    there = tf.strings.length(encoded) > 0
    instances = tf.cond(
        there,
        lambda: _decode_instances(encoded, example[FILENAME]),
        lambda: tf.zeros([0, 0], tf.int32),
    )
    sizes = (tf.shape(example[LABEL]), tf.shape(instances))
    fits = ~there | tf.reduce_all(tf.equal(*sizes))
    said = tf.strings.format(': the label has size {} and its instance ids {}', sizes)
    with tf.control_dependencies([tf.debugging.Assert(fits, [tf.strings.join([example[FILENAME], said])])]):
        return {**example, INSTANCES: tf.ensure_shape(tf.identity(instances), [None, None])}


def _decode_instances(encoded: tf.Tensor, filename: tf.Tensor) -> tf.Tensor:
    encoded = image_header.refuse_too_large(encoded, filename, RecordFields.INSTANCES_ENCODED.value)
    return tf.cast(tf.io.decode_png(encoded, channels=1, dtype=tf.uint16)[..., 0], tf.int32)


def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """The bytes of one Example: {`image`: string, `label`: string, empty where absent, `filename`: string}."""
    features = tf.io.parse_single_example(serialized, _FEATURES)
    return {
        IMAGE: features[RecordFields.IMAGE_ENCODED],
        LABEL: features[RecordFields.LABEL_ENCODED],
        FILENAME: features[RecordFields.IMAGE_FILENAME],
    }


def decode_image(example: dict[str, tf.Tensor], channels: int = 3) -> tf.Tensor:
    """uint8 [H, W, channels] from what `parse` gave.

    Args:
      channels: 1: colours become grey (their luminance). 3: grey is repeated, a fourth channel is dropped. 4: the file
        must have four, as a PNG can; a fourth channel is not made up.
    """
    feature = RecordFields.IMAGE_ENCODED.value
    image_bytes = _present(example[IMAGE], example[FILENAME], feature)
    image_bytes = image_header.refuse_too_large(image_bytes, example[FILENAME], feature)
    if channels in (1, 3):
        image = tf.io.decode_image(image_bytes, channels=channels, expand_animations=False)
        return tf.ensure_shape(image, [None, None, channels])
    if channels != 4:
        raise ValueError(f'channels must be 1, 3 or 4, got {channels}: pictures hold no other number')
    stored = tf.io.decode_image(image_bytes, channels=0, expand_animations=False)
    found = tf.strings.format(f': the image has {{}} channels, {channels} are needed', tf.shape(stored)[-1])
    message = tf.strings.join([example[FILENAME], found])
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(tf.shape(stored)[-1], channels), [message])]):
        return tf.ensure_shape(tf.identity(stored), [None, None, channels])


def decode_label(example: dict[str, tf.Tensor]) -> tf.Tensor:
    """int32 [H, W] from what `parse` gave."""
    return tf.cast(_label_bytes_to_ids(example), tf.int32)


_WHAT_TO_DO = {
    RecordFields.LABEL_ENCODED.value: '; training and evaluation need labels: convert images with their labels',
}


def _label_bytes_to_ids(example: dict[str, tf.Tensor]) -> tf.Tensor:
    feature = RecordFields.LABEL_ENCODED.value
    label_bytes = _present(example[LABEL], example[FILENAME], feature)
    label_bytes = image_header.refuse_too_large(label_bytes, example[FILENAME], feature)
    label = tf.io.decode_image(label_bytes, channels=1, expand_animations=False)
    return tf.ensure_shape(label, [None, None, 1])[..., 0]


def _present(value: tf.Tensor, filename: tf.Tensor, feature: str) -> tf.Tensor:
    message = tf.strings.join([filename, f': the record has no {feature}{_WHAT_TO_DO.get(feature, "")}'])
    with tf.control_dependencies([tf.debugging.Assert(tf.strings.length(value) > 0, [message])]):
        return tf.identity(value)


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _int64(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
