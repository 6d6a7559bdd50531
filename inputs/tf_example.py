"""One image with its label map <-> one serialized `tf.train.Example`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from core.fields import FILENAME, IMAGE, INSTANCES, LABEL, RecordFields
from inputs import image_header, pictures, tiles
from inputs.pictures import Picture

_STRINGS = (
    RecordFields.IMAGE_ENCODED,
    RecordFields.IMAGE_FILENAME,
    RecordFields.IMAGE_RAW,
    RecordFields.LABEL_ENCODED,
    RecordFields.INSTANCES_ENCODED,
)
_FEATURES = {
    **{str(name): tf.io.FixedLenFeature([], tf.string, '') for name in _STRINGS},
    str(RecordFields.IMAGE_TILES): tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True),
    str(RecordFields.LABEL_TILES): tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True),
    str(RecordFields.IMAGE_SHAPE): tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
    str(RecordFields.TILE_SIZE): tf.io.FixedLenFeature([], tf.int64, 0),
}
_LABEL_FEATURES = {
    name: kind
    for name, kind in _FEATURES.items()
    if name not in (RecordFields.IMAGE_ENCODED, RecordFields.IMAGE_RAW, RecordFields.IMAGE_TILES)
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
    feature = _about(filename, image_format, (height, width, channels))
    feature[RecordFields.IMAGE_ENCODED] = _bytes(image_bytes)
    if label_bytes is not None:
        feature[RecordFields.LABEL_ENCODED] = _bytes(label_bytes)
        feature[RecordFields.LABEL_FORMAT] = _bytes(label_format.encode())
    if instances_bytes is not None:
        feature[RecordFields.INSTANCES_ENCODED] = _bytes(instances_bytes)
    return _example(feature)


def encode_pixels(
    *,
    image: np.ndarray,
    label: np.ndarray | None,
    in_tiles: bool,
    instances_bytes: bytes | None = None,
    filename: str,
) -> tf.train.Example:
    """Packs pixels into an Example from which a crop is read without decoding the rest.

    Args:
      image: uint8 [H, W, C], C from 1 to 4: grey, grey and alpha, RGB, RGB and alpha.
      label: uint8 [H, W], stored in tiles; None leaves it out.
      in_tiles: the image in compressed tiles (`tiles.encode`); False: its bytes as they are.
      instances_bytes: as of `encode`.
      filename: what messages about this example call it.
    """
    if image.ndim != 3 or image.dtype != np.uint8 or not 1 <= image.shape[2] <= 4 or not image.size:
        raise ValueError(f'{filename}: image must be uint8 [H, W, 1..4], got {image.dtype} {list(image.shape)}')
    if label is not None and (label.dtype != np.uint8 or label.shape != image.shape[:2]):
        raise ValueError(f'{filename}: label must be uint8 {list(image.shape[:2])}, got {label.dtype} {label.shape}')
    feature = _about(filename, 'tiles' if in_tiles else 'raw', image.shape)
    feature[RecordFields.IMAGE_SHAPE] = _int64(*image.shape)
    if in_tiles or label is not None:
        feature[RecordFields.TILE_SIZE] = _int64(tiles.TILE_SIZE)
    if in_tiles:
        feature[RecordFields.IMAGE_TILES] = _bytes(*tiles.encode(image))
    else:
        feature[RecordFields.IMAGE_RAW] = _bytes(image.tobytes())
    if label is not None:
        feature[RecordFields.LABEL_TILES] = _bytes(*tiles.encode(label[..., np.newaxis]))
        feature[RecordFields.LABEL_FORMAT] = _bytes(b'tiles')
    if instances_bytes is not None:
        feature[RecordFields.INSTANCES_ENCODED] = _bytes(instances_bytes)
    return _example(feature)


@dataclasses.dataclass(frozen=True)
class StoredExample:
    """One Example, of which pixels are decoded when a window of them is asked for.

    Attributes:
      image: uint8 [H, W, channels].
      label: uint8 [H, W, 1].
      size: int32 [2], H and W of both; InvalidArgumentError that names the file, when run, if they differ.
      filename: string [].
    """

    image: Picture
    label: Picture
    size: tf.Tensor
    filename: tf.Tensor


# (label uint8 [h, w, 1], file name) -> the label.
LabelCheck = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def parse(serialized: tf.Tensor, channels: int = 3, check_label: LabelCheck | None = None) -> StoredExample:
    """Opens one serialized Example, inside a graph or eagerly.

    The kind of an encoded image (PNG, JPEG, also GIF or BMP) is read from its bytes. Heights, widths and formats stored
    beside are not needed, so records that leave them out work.

    Args:
      serialized: string [].
      channels: of the image. 1: colours become grey (their luminance). 3: grey is repeated, a fourth channel is
        dropped. 4: there must be four, as in a PNG; a fourth channel is not made up.
      check_label: applied to what is decoded of the label.

    Raises (when run): tf.errors.InvalidArgumentError that names the file if there is no image, no label, if one says
    in its header that it is larger than `image_header.MAX_PIXELS`, or if their sizes differ; see `data_errors`.
    """
    if channels not in (1, 3, 4):
        raise ValueError(f'channels must be 1, 3 or 4, got {channels}: pictures hold no other number')
    features = tf.io.parse_single_example(serialized, _FEATURES)
    filename = features[RecordFields.IMAGE_FILENAME]
    image = pictures.stored(
        encoded=features[RecordFields.IMAGE_ENCODED],
        raw=features[RecordFields.IMAGE_RAW],
        in_tiles=features[RecordFields.IMAGE_TILES],
        shape=features[RecordFields.IMAGE_SHAPE],
        tile_size=features[RecordFields.TILE_SIZE],
        decode=lambda encoded: _traced(_decode_image, channels)(encoded, filename),
        channels=channels,
        name=filename,
    )
    label = _label(features, check_label)
    same_size = tf.reduce_all(tf.equal(image.size, label.size))
    sizes = tf.strings.format(': the image has size {} and its label {}', (image.size, label.size))
    with tf.control_dependencies([tf.debugging.Assert(same_size, [tf.strings.join([filename, sizes])])]):
        size = tf.identity(label.size)
    return StoredExample(image, label, size, filename)


def decode(serialized: tf.Tensor, channels: int = 3, check_label: LabelCheck | None = None) -> dict[str, tf.Tensor]:
    """All pixels of one Example: {`image`: uint8 [H, W, channels], `label`: uint8 [H, W], `filename`: string}.

    Arguments and errors are those of `parse`.
    """
    example = parse(serialized, channels, check_label)
    with tf.control_dependencies([example.size]):
        label = tf.identity(example.label.whole()[..., 0])
    return {IMAGE: example.image.whole(), LABEL: label, FILENAME: example.filename}


def decode_label(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """{`label`: uint8 [H, W], `filename`: string} of one Example; its image is not looked at."""
    features = tf.io.parse_single_example(serialized, _LABEL_FEATURES)
    return {LABEL: _label(features).whole()[..., 0], FILENAME: features[RecordFields.IMAGE_FILENAME]}


def decode_with_instances(
    serialized: tf.Tensor, channels: int = 3, check_label: LabelCheck | None = None
) -> dict[str, tf.Tensor]:
    """`decode`, with `instances`: int32 [H, W], or [0, 0] where the record has none."""
    example = decode(serialized, channels, check_label)
    encoded = tf.io.parse_single_example(serialized, _FEATURES)[RecordFields.INSTANCES_ENCODED]
    there = tf.strings.length(encoded) > 0
    instances = tf.cond(
        there,
        lambda: _traced(_decode_instances)(encoded, example[FILENAME]),
        lambda: tf.zeros([0, 0], tf.int32),
    )
    sizes = (tf.shape(example[LABEL]), tf.shape(instances))
    fits = ~there | tf.reduce_all(tf.equal(*sizes))
    said = tf.strings.format(': the label has size {} and its instance ids {}', sizes)
    with tf.control_dependencies([tf.debugging.Assert(fits, [tf.strings.join([example[FILENAME], said])])]):
        return {**example, INSTANCES: tf.ensure_shape(tf.identity(instances), [None, None])}


def _label(features: dict[str, tf.Tensor], check: LabelCheck | None = None) -> Picture:
    filename, shape = features[RecordFields.IMAGE_FILENAME], features[RecordFields.IMAGE_SHAPE]
    return pictures.stored(
        encoded=features[RecordFields.LABEL_ENCODED],
        raw=tf.constant(''),
        in_tiles=features[RecordFields.LABEL_TILES],
        shape=tf.concat([shape[:2], tf.ones_like(shape[2:])], 0),
        tile_size=features[RecordFields.TILE_SIZE],
        decode=lambda encoded: _traced(_decode_label)(encoded, filename),
        channels=1,
        name=filename,
        check=lambda ids: check(ids, filename) if check else ids,
    )


@functools.cache
def _traced(decode: Callable[..., tf.Tensor], *settings: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """`decode` of (encoded, file name), with settings behind them: traced once in a process, for all data sets."""
    signature = [tf.TensorSpec([], tf.string)] * 2
    return tf.function(lambda *texts: decode(*texts, *settings), input_signature=signature, autograph=False)


def _decode_instances(encoded: tf.Tensor, filename: tf.Tensor) -> tf.Tensor:
    encoded = image_header.refuse_too_large(encoded, filename, RecordFields.INSTANCES_ENCODED.value)
    return tf.cast(tf.io.decode_png(encoded, channels=1, dtype=tf.uint16)[..., 0], tf.int32)


def _decode_image(encoded: tf.Tensor, filename: tf.Tensor, channels: int) -> tf.Tensor:
    """uint8 [H, W, channels]."""
    feature = RecordFields.IMAGE_ENCODED.value
    encoded = _present(encoded, filename, feature)
    encoded = image_header.refuse_too_large(encoded, filename, feature)
    if channels in (1, 3):
        image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
        return tf.ensure_shape(image, [None, None, channels])
    stored = tf.io.decode_image(encoded, channels=0, expand_animations=False)
    found = tf.strings.format(f': the image has {{}} channels, {channels} are needed', tf.shape(stored)[-1])
    message = tf.strings.join([filename, found])
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(tf.shape(stored)[-1], channels), [message])]):
        return tf.ensure_shape(tf.identity(stored), [None, None, channels])


def _decode_label(encoded: tf.Tensor, filename: tf.Tensor) -> tf.Tensor:
    """uint8 [H, W, 1]."""
    feature = RecordFields.LABEL_ENCODED.value
    encoded = _present(encoded, filename, feature)
    encoded = image_header.refuse_too_large(encoded, filename, feature)
    return tf.ensure_shape(tf.io.decode_image(encoded, channels=1, expand_animations=False), [None, None, 1])


_WHAT_TO_DO = {
    RecordFields.LABEL_ENCODED.value: '; training and evaluation need labels: convert images with their labels',
}


def _present(value: tf.Tensor, filename: tf.Tensor, feature: str) -> tf.Tensor:
    message = tf.strings.join([filename, f': the record has no {feature}{_WHAT_TO_DO.get(feature, "")}'])
    with tf.control_dependencies([tf.debugging.Assert(tf.strings.length(value) > 0, [message])]):
        return tf.identity(value)


def _about(filename: str, image_format: str, shape: Sequence[int]) -> dict[RecordFields, tf.train.Feature]:
    return {
        RecordFields.IMAGE_FORMAT: _bytes(image_format.encode()),
        RecordFields.IMAGE_FILENAME: _bytes(filename.encode()),
        RecordFields.IMAGE_HEIGHT: _int64(shape[0]),
        RecordFields.IMAGE_WIDTH: _int64(shape[1]),
        RecordFields.IMAGE_CHANNELS: _int64(shape[2]),
    }


def _example(feature: dict[RecordFields, tf.train.Feature]) -> tf.train.Example:
    return tf.train.Example(features=tf.train.Features(feature={str(k): v for k, v in feature.items()}))


def _bytes(*values: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _int64(*values: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
