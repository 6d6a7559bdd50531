"""How many pixels of each class the labels of a data set have: counted once, kept beside the records."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from core.errors import DataError
from core.fields import FILENAME, IGNORE_LABEL, LABEL
from inputs import pipeline, tf_example

_LOGGER = logging.getLogger(__name__)
_NUM_IDS = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassHistogram:
    """Counts of a data set, ignored pixels left out; lists are in order of class id.

    Attributes:
      num_examples: how many labels were counted.
      ignored_pixels: those without a class.
      pixels: of each class.
      pixels_of_images: of any class, in the images that show the class.
      images: that show the class.
    """

    num_examples: int
    ignored_pixels: int
    pixels: list[int]
    pixels_of_images: list[int]
    images: list[int]


def of_records(patterns: Sequence[str], *, num_classes: int, ignore_label: int = IGNORE_LABEL) -> ClassHistogram:
    """The histogram of all records that match, as they are stored, without augmentation.

    It is read from `class_histogram-<hash>.json` beside the first file if that was written of the same files (names,
    lengths and times), else counted by decoding every label, and written there if the folder can be written.

    Raises DataError for files as `pipeline.record_files`, for records that cannot be decoded, and for ids that are
    neither a class nor the ignore label.
    """
    files = pipeline.record_files(patterns)
    key = _key(files, num_classes, ignore_label)
    path = os.path.join(os.path.dirname(files[0]), f'class_histogram-{key[:8]}.json')
    stored = _read(path, key)
    if stored is not None:
        return stored
    _LOGGER.info('counting the classes in %d record files, once', len(files))
    culprit = functools.partial(pipeline.first_damage, patterns, num_classes=num_classes, ignore_label=ignore_label)
    with pipeline.user_errors(culprit):
        histogram = _count(files, num_classes, ignore_label)
    _write(path, key, histogram)
    return histogram


def _count(files: Sequence[str], num_classes: int, ignore_label: int) -> ClassHistogram:
    pixels, pixels_of_images, images = (np.zeros(num_classes, np.int64) for _ in range(3))
    num_examples = ignored = 0
    examples = tf.data.TFRecordDataset(list(files)).map(_ids, num_parallel_calls=tf.data.AUTOTUNE).prefetch(1)
    for filename, counts in examples.as_numpy_iterator():
        of_classes = counts[:num_classes].astype(np.int64)
        wrong = [i for i in np.flatnonzero(counts).tolist() if i >= num_classes and i != ignore_label]
        if wrong:
            raise DataError(
                f'{filename.decode(errors="replace")}: label ids {wrong}, neither a class (0..{num_classes - 1}) nor '
                f'the ignore label {ignore_label}'
            )
        num_examples += 1
        ignored += int(counts[ignore_label])
        pixels += of_classes
        images += of_classes > 0
        pixels_of_images += np.where(of_classes > 0, of_classes.sum(), 0)
    return ClassHistogram(
        num_examples=num_examples,
        ignored_pixels=ignored,
        pixels=pixels.tolist(),
        pixels_of_images=pixels_of_images.tolist(),
        images=images.tolist(),
    )


@tf.autograph.experimental.do_not_convert
def _ids(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(file name, pixels int32 [256] of each id) of one record; its image is not decoded."""
    example = tf_example.decode_label(serialized)
    label = tf.cast(tf.reshape(example[LABEL], [-1]), tf.int32)
    return example[FILENAME], tf.math.bincount(label, minlength=_NUM_IDS, maxlength=_NUM_IDS)


def _key(files: Sequence[str], num_classes: int, ignore_label: int) -> str:
    digest = hashlib.sha256(f'{num_classes} {ignore_label}'.encode())
    for path in files:
        status = tf.io.gfile.stat(path)
        digest.update(f'{os.path.basename(path)}|{status.length}|{status.mtime_nsec}\n'.encode())
    return digest.hexdigest()


def _read(path: str, key: str) -> ClassHistogram | None:
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        try:
            content = json.loads(file.read())
            return ClassHistogram(**content['histogram']) if content['key'] == key else None
        except (ValueError, KeyError, TypeError):
            return None  # torn: it is counted again


def _write(path: str, key: str, histogram: ClassHistogram) -> None:
    temporary = f'{path}.{os.getpid()}.tmp'
    try:
        with tf.io.gfile.GFile(temporary, 'w') as file:
            file.write(json.dumps({'key': key, 'histogram': dataclasses.asdict(histogram)}, indent=1) + '\n')
        tf.io.gfile.rename(temporary, path, overwrite=True)
    except (OSError, tf.errors.OpError) as error:
        _LOGGER.warning('%s: cannot be written, so the classes are counted again next time (%s)', path, error)
