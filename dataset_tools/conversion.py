"""One pair of files -> one checked, serialized Example."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from dataset_tools.pairs import ORIGINAL, Encoding, Pair
from inputs import tf_example
from inputs.label_map import LabelMap

# (path, (height, width)) -> class ids [H, W], any integer kind, already mapped to the classes of the label map.
LabelReader = Callable[[str, tuple[int, int]], np.ndarray]
# The path of a label -> the path of its picture of instance ids.
InstancePath = Callable[[str], str]

_KEPT_FORMATS = ('PNG', 'JPEG')
_KEPT_MODES = ('RGB', 'L', 'RGBA', 'P', 'LA')
_LABEL_MODES = ('L', 'P', '1', 'I', 'I;16', 'I;16B')
_UNDECODABLE = (OSError, SyntaxError, ValueError, zlib.error, Image.DecompressionBombError)


class BadPair(Exception):
    """Says, in one line that starts with the file's path, why a pair cannot be used."""


@dataclass(frozen=True)
class Converted:
    """One Example and what the manifest counts: `class_pixels` int64 [num_classes + 1], ignored pixels last."""

    serialized: bytes
    size: tuple[int, int]
    class_pixels: np.ndarray


def convert(
    pair: Pair,
    *,
    filename: str,
    label_map: LabelMap,
    read_label: LabelReader,
    instance_path: InstancePath | None = None,
    encoding: Encoding = ORIGINAL,
) -> Converted:
    """Decodes and checks both files, and stores them as the encoding says; see docs/datasets.md.

    Args:
      instance_path: given, the picture of instance ids is stored too, as 16-bit PNG.
      encoding: of the image and, where it is `raw` or `tiles`, of the label; which is a grey PNG otherwise.

    Raises BadPair.
    """
    stored = _read_image(pair.image, encoding)
    size = stored.size
    label = instances_bytes = None
    class_pixels = np.zeros(label_map.num_classes + 1, np.int64)
    if pair.label is not None:
        class_ids = _read_label(pair, size, read_label)
        class_pixels = count_classes(class_ids, label_map, pair.label)
        label = class_ids.astype(np.uint8)
        if instance_path:
            instances_bytes = _png(Image.fromarray(_read_instances(instance_path(pair.label), size)))
    if encoding.stores_pixels:
        example = tf_example.encode_pixels(
            image=_pixels(stored.content, pair.image),
            label=label,
            in_tiles=encoding.name == 'tiles',
            instances_bytes=instances_bytes,
            filename=filename,
        )
    else:
        example = tf_example.encode(
            image_bytes=stored.content,
            image_format=stored.format,
            label_bytes=None if label is None else _png(Image.fromarray(label)),
            instances_bytes=instances_bytes,
            filename=filename,
            height=size[0],
            width=size[1],
        )
    return Converted(example.SerializeToString(deterministic=True), size, class_pixels)


def count_classes(class_ids: np.ndarray, label_map: LabelMap, path: str) -> np.ndarray:
    """Pixels per class, ignored pixels last; BadPair if an id is neither a class nor the ignore label."""
    if class_ids.min() < 0 or class_ids.max() > 255:
        raise BadPair(f'{path}: ids must be 0..255, got {class_ids.min()}..{class_ids.max()}')
    counts = np.bincount(class_ids.ravel(), minlength=256)
    num_classes = label_map.num_classes
    outside = [int(i) for i in np.flatnonzero(counts) if i >= num_classes and i != label_map.ignore_label]
    if outside:
        raise BadPair(
            f'{path}: ids {outside} are neither a class (0..{num_classes - 1}) '
            f'nor the ignore label {label_map.ignore_label}'
        )
    return np.append(counts[:num_classes], counts[label_map.ignore_label])


def read_ids(path: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Ids [H, W] of a grey or palette picture (of a palette: the indices). Raises BadPair or what Pillow raises."""
    del size
    with Image.open(path) as picture:
        if picture.mode not in _LABEL_MODES:
            raise BadPair(f'{path}: a label has one channel of class ids, this picture is {picture.mode}')
        return np.asarray(picture).astype(np.int64 if picture.mode.startswith('I') else np.uint8)


def remapped(read: LabelReader, table: dict[int, int], *, default: int | None = None) -> LabelReader:
    """`read`, then each id replaced by `table[id]`; ids not in the table stay, or become `default` if that is given."""
    lookup = np.arange(256) if default is None else np.full(256, default)
    for source, target in table.items():
        if 0 <= source < 256:
            lookup[source] = target

    def read_and_map(path: str, size: tuple[int, int]) -> np.ndarray:
        ids = read(path, size)
        if ids.min() < 0 or ids.max() > 255:
            raise BadPair(f'{path}: ids must be 0..255, got {ids.min()}..{ids.max()}')
        return lookup[ids]

    return read_and_map


@dataclass(frozen=True)
class _Stored:
    """An encoded picture: `format` is png or jpeg, `size` height and width."""

    content: bytes
    format: str
    size: tuple[int, int]


def _read_image(path: str, encoding: Encoding) -> _Stored:
    if not os.path.isfile(path):
        raise BadPair(f'{path}: no such image')
    try:
        with open(path, 'rb') as file:
            content = file.read()
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            return _stored(picture, content, path, encoding)
    except UnidentifiedImageError as error:
        raise BadPair(f'{path}: cannot be decoded as an image: not a picture, or of an unknown format') from error
    except _UNDECODABLE as error:
        raise BadPair(f'{path}: cannot be decoded as an image: {error}') from error


def _stored(picture: Image.Image, content: bytes, path: str, encoding: Encoding) -> _Stored:
    size = (picture.height, picture.width)
    if picture.mode.startswith(('I', 'F')):
        raise BadPair(f'{path}: 8 bits a channel are needed, this picture is {picture.mode}')
    kept = picture.format in _KEPT_FORMATS and picture.mode in _KEPT_MODES
    if encoding.name == 'jpeg' and not (kept and picture.format == 'JPEG'):
        if picture.mode not in ('RGB', 'L') and picture.has_transparency_data:
            raise BadPair(f'{path}: JPEG has no fourth channel, this picture is {picture.mode}')
        return _Stored(_jpeg(picture, encoding.jpeg_quality), 'jpeg', size)
    if kept:
        return _Stored(content, 'jpeg' if picture.format == 'JPEG' else 'png', size)
    return _Stored(_png(picture if picture.mode in _KEPT_MODES else picture.convert('RGB')), 'png', size)


def _pixels(content: bytes, path: str) -> np.ndarray:
    """uint8 [H, W, C], by the decoder that would decode them in training."""
    try:
        return tf.io.decode_image(content, expand_animations=False).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise BadPair(f'{path}: cannot be decoded as an image: {error.message.splitlines()[0]}') from error


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    """Colours at full resolution: edges between classes stay where they are."""
    buffer = io.BytesIO()
    kept = picture if picture.mode in ('RGB', 'L') else picture.convert('RGB')
    kept.save(buffer, 'JPEG', quality=quality, subsampling=0)
    return buffer.getvalue()


def _read_label(pair: Pair, size: tuple[int, int], read_label: LabelReader) -> np.ndarray:
    path = pair.label
    assert path is not None
    if not os.path.isfile(path):
        raise BadPair(f'{path}: no such label (of {pair.image})')
    try:
        class_ids = read_label(path, size)
    except _UNDECODABLE as error:
        raise BadPair(f'{path}: cannot be read as a label: {error}') from error
    if class_ids.shape != size:
        label_size = 'x'.join(map(str, class_ids.shape))
        raise BadPair(f'{path}: the label is {label_size}, its image {size[0]}x{size[1]} (height x width)')
    return class_ids


def _read_instances(path: str, size: tuple[int, int]) -> np.ndarray:
    """Instance ids uint16 [H, W]."""
    if not os.path.isfile(path):
        raise BadPair(f'{path}: no such picture of instance ids')
    try:
        ids = read_ids(path)
    except _UNDECODABLE as error:
        raise BadPair(f'{path}: cannot be read as instance ids: {error}') from error
    if ids.shape != size:
        own_size = 'x'.join(map(str, ids.shape))
        raise BadPair(f'{path}: the instance ids are {own_size}, the image {size[0]}x{size[1]} (height x width)')
    if ids.min() < 0 or ids.max() > np.iinfo(np.uint16).max:
        raise BadPair(f'{path}: instance ids must be 0..65535, got {ids.min()}..{ids.max()}')
    return ids.astype(np.uint16)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, 'PNG')
    return buffer.getvalue()
