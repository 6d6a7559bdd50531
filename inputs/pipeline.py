"""tf.data pipelines: TFRecord files -> shuffled, augmented batches, or every example exactly once.

Everything random is a function of (seed, running index of the example), so a run gives the same batches whatever the
number of threads.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from core.errors import DataError, UsageError
from core.fields import FILENAME, IGNORE_LABEL, IMAGE, INSTANCES, LABEL, RecordFields
from inputs import tf_example
from inputs.augmentations import Augmentation, chain

_SHARD = re.compile(r'(?P<name>.+)-\d{5}-of-(?P<count>\d{5})$')
_READ_BUFFER_BYTES = 1 << 20

# Data sets that decode to less than this stay decoded in memory after the first epoch.
CACHE_LIMIT_BYTES = 1 << 30


def training_dataset(
    patterns: Sequence[str],
    *,
    augmentations: Sequence[Augmentation],
    batch_size: int,
    num_classes: int,
    seed: int,
    ignore_label: int = IGNORE_LABEL,
    shuffle: bool = True,
    shuffle_buffer: int = 2048,
    num_readers: int = 1,
    num_parallel_calls: int | None = None,
    num_epochs: int | None = None,
    first_example: int = 0,
    channels: int = 3,
    cache_limit_bytes: int = CACHE_LIMIT_BYTES,
) -> tf.data.Dataset:
    """Batches for training, without end unless `num_epochs` is given.

    Each epoch holds every example once: the files are shuffled, then the examples within a buffer. Examples that do not
    fill a batch wait for the next epoch; the last ones are dropped if `num_epochs` ends the data.

    Args:
      patterns: paths or globs of TFRecord files.
      augmentations: in order; the last must leave pictures of one static size.
      batch_size: B, of all replicas together.
      num_classes: a label that is neither below this nor `ignore_label` is an error that names the example.
      seed: of order and augmentation.
      ignore_label: of pixels without a class.
      shuffle: False keeps files sorted and examples in order.
      shuffle_buffer: encoded examples in memory (decoded ones, if they are kept).
      num_readers: files read at a time; part of what determines the order.
      num_parallel_calls: examples decoded and augmented at a time; None lets tf.data choose.
      num_epochs: None repeats for ever.
      first_example: how many examples to pass over: a resumed run gives step * batch_size.
      channels: of the images, 1, 3 or 4; see `tf_example.decode_image`.
      cache_limit_bytes: decoded size up to which the data set is kept decoded; 0 never.

    Yields {`image`: float32 [B, H, W, channels] in 0..255, `label`: int32 [B, H, W], `filename`: string [B]}.

    Raises:
      DataError: no file matches a pattern, or a file is shorter than its manifest says.
      UsageError: no static size after the augmentations.
    """
    files = record_files(patterns)
    parallel = num_parallel_calls or tf.data.AUTOTUNE
    decode = functools.partial(tf_example.decode_checked, channels=channels)
    cached = _decoded_bytes(files, channels) <= cache_limit_bytes
    dataset = _records(files, num_readers=num_readers, shuffle_seed=seed if shuffle and not cached else None)
    if cached:
        dataset = dataset.map(_plain(decode), num_parallel_calls=parallel).cache()
    if shuffle:
        # A cached epoch has one fixed order of files: the buffer must hold it all to shuffle it well.
        buffer = max(shuffle_buffer, _MANY) if cached else shuffle_buffer
        dataset = dataset.shuffle(buffer, seed=seed, reshuffle_each_iteration=True)
    dataset = dataset.repeat(num_epochs).enumerate().skip(first_example)
    augment = chain(augmentations)

    def prepare(index: tf.Tensor, example: Any) -> dict[str, tf.Tensor]:
        if not cached:
            example = decode(example)
        label = _check_ids(example, num_classes=num_classes, ignore_label=ignore_label)
        example_seed = tf.stack([tf.constant(seed, tf.int32), tf.cast(index % _INT32_RANGE, tf.int32)])
        image, label = augment(tf.cast(example[IMAGE], tf.float32), tf.cast(label, tf.int32), example_seed)
        return {IMAGE: image, LABEL: label, FILENAME: example[FILENAME]}

    dataset = dataset.map(_plain(prepare), num_parallel_calls=parallel)
    _check_static(dataset)
    return _finished(dataset.batch(batch_size, drop_remainder=True))


def evaluation_dataset(
    patterns: Sequence[str],
    *,
    num_classes: int,
    ignore_label: int = IGNORE_LABEL,
    channels: int = 3,
    num_parallel_calls: int | None = None,
) -> tf.data.Dataset:
    """Every example exactly once, in the order of the sorted files, unbatched and at its own size.

    Yields {`image`: float32 [H, W, channels] in 0..255, `label`: int32 [H, W], `filename`: string, `instances`: int32
    [H, W], or [0, 0] where the record has none}. Raises as `training_dataset`.
    """

    def prepare(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        example = tf_example.decode_with_instances(serialized, channels)
        label = _check_ids(example, num_classes=num_classes, ignore_label=ignore_label)
        return {
            IMAGE: tf.cast(example[IMAGE], tf.float32),
            LABEL: tf.cast(label, tf.int32),
            FILENAME: example[FILENAME],
            INSTANCES: example[INSTANCES],
        }

    dataset = _records(record_files(patterns), num_readers=1, shuffle_seed=None)
    return _finished(dataset.map(_plain(prepare), num_parallel_calls=num_parallel_calls or tf.data.AUTOTUNE))


def record_files(patterns: Sequence[str]) -> list[str]:
    """The files that match, sorted, each once.

    Raises DataError that names each pattern without a file, each empty file, and each that is missing or not as long
    as the manifest beside it says (a file cut between two records reads without an error).
    """
    matches: dict[str, list[str]] = {
        pattern: [pattern] if tf.io.gfile.exists(pattern) else sorted(tf.io.gfile.glob(pattern)) for pattern in patterns
    }
    problems = [f'{pattern}: no file matches{_seen_from(pattern)}' for pattern, paths in matches.items() if not paths]
    if not patterns:
        problems.append('tf_record_input_reader.input_path: no pattern given')
    files = sorted({path for paths in matches.values() for path in paths})
    folders = [path for path in files if tf.io.gfile.isdir(path)]
    problems += [f'{path}: is a folder; name its record files, for example {path}/*.record-*' for path in folders]
    files = [path for path in files if path not in folders]
    problems += [f'{path}: the file is empty' for path in files if tf.io.gfile.stat(path).length == 0]
    problems += [f'{path}: not a record file; end the pattern in -*' for path in files if path.endswith('.json')]
    problems += [problem for manifest in _manifests(files) for problem in _against_manifest(files, manifest)]
    if problems:
        raise DataError('\n'.join(dict.fromkeys(problems)))
    return files


@contextlib.contextmanager
def user_errors(patterns: Sequence[str] = ()) -> Iterator[None]:
    """Turns what a pipeline raises while it is iterated, about the data, into a one-line DataError.

    To be put around `next(batches)`, or around a loop over a dataset. Assertions of this package and records or
    pictures that are damaged are translated; anything else passes unchanged.

    Args:
      patterns: of the dataset; with them a damaged file is named, with the number of examples before the damage.
    """
    try:
        yield
    except tf.errors.DataLossError as error:
        for path in record_files(patterns) if patterns else ():
            num_whole, reason = _count_whole(path)
            if reason:
                raise DataError(_damage(path, num_whole, reason)) from error
        raise DataError(
            f'a record file is damaged ({_reason(error)}): convert the data again; '
            '`python -m builders.check_config CONFIG` names the file'
        ) from error
    except tf.errors.InvalidArgumentError as error:
        said = _ASSERTION.search(error.message)
        if said:
            raise DataError(said['graph'] or said['eager']) from error
        if re.search(r'Decode|decod|Parse|parse', error.message):
            raise DataError(f'a record cannot be decoded: {_reason(error)}') from error
        raise


# What an assertion with one text says, run in a graph and run eagerly.
_ASSERTION = re.compile(r"assertion failed: \[(?P<graph>.+?)\]\s*(?:\[\[|\n|$)|Summarized data: b'(?P<eager>.+)'")
# AutoGraph has nothing to convert here and takes a second to find that out.
_plain = tf.autograph.experimental.do_not_convert
_MANY = 1 << 20
_INT32_RANGE = (1 << 31) - 1


def _records(files: Sequence[str], *, num_readers: int, shuffle_seed: int | None) -> tf.data.Dataset:
    """Serialized examples; files in sorted order, or shuffled anew each epoch."""
    dataset = tf.data.Dataset.from_tensor_slices(list(files))
    if shuffle_seed is not None:
        dataset = dataset.shuffle(len(files), seed=shuffle_seed, reshuffle_each_iteration=True)
    return dataset.interleave(
        lambda path: tf.data.TFRecordDataset(path, buffer_size=_READ_BUFFER_BYTES),
        cycle_length=max(1, min(num_readers, len(files))),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


def _finished(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # Files are not to be dealt out to workers: every worker would see other examples than it counts.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)


def _check_ids(example: dict[str, tf.Tensor], *, num_classes: int, ignore_label: int) -> tf.Tensor:
    """The label uint8 [H, W]; InvalidArgumentError, naming the example, if an id is neither a class nor ignored."""
    label = example[LABEL]
    if num_classes > 255:
        return label
    wrong = (label >= tf.constant(num_classes, tf.uint8)) & (label != tf.constant(ignore_label, tf.uint8))

    def message() -> tf.Tensor:
        ids = tf.sort(tf.unique(tf.boolean_mask(tf.cast(label, tf.int32), wrong))[0])
        allowed = f'neither a class (0..{num_classes - 1}) nor the ignore label {ignore_label}'
        said = f': {{}} pixels have label ids {{}}, {allowed}'
        return tf.strings.join([example[FILENAME], tf.strings.format(said, (tf.math.count_nonzero(wrong), ids))])

    any_wrong = tf.reduce_any(wrong)
    said = tf.cond(any_wrong, message, lambda: tf.constant(''))
    with tf.control_dependencies([tf.debugging.Assert(~any_wrong, [said])]):
        return tf.identity(label)


def _check_static(dataset: tf.data.Dataset) -> None:
    shape = dataset.element_spec[IMAGE].shape
    if not shape.is_fully_defined():
        raise UsageError(
            f'train_config.preprocessor_step: images end up {shape[0]}x{shape[1]}, not of one fixed size: '
            'add random_image_crop, resize_image or set_fixed_image_size'
        )


def _decoded_bytes(files: Sequence[str], channels: int) -> float:
    """About how much the examples take once decoded, judged from the first example of the first file.

    A pixel takes a byte for each channel and one for the label. Infinite if the first example does not say its size.
    """
    with user_errors():
        first = next(iter(tf.data.TFRecordDataset(files[0]).take(1)), None)
    if first is None:
        return float('inf')
    features = tf.io.parse_single_example(
        first,
        {
            RecordFields.IMAGE_HEIGHT.value: tf.io.FixedLenFeature([], tf.int64, 0),
            RecordFields.IMAGE_WIDTH.value: tf.io.FixedLenFeature([], tf.int64, 0),
        },
    )
    decoded = (channels + 1) * int(features[RecordFields.IMAGE_HEIGHT]) * int(features[RecordFields.IMAGE_WIDTH])
    if not decoded:
        return float('inf')
    num_examples = sum(tf.io.gfile.stat(path).length for path in files) / len(first.numpy())
    return num_examples * decoded


def _manifests(files: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """(folder, manifest) of every data set that the shards among `files` belong to, where there is one."""
    found = {}
    for path in files:
        shard = _SHARD.match(path)
        manifest_path = f'{shard["name"]}.manifest.json' if shard else ''
        if not shard or manifest_path in found or not tf.io.gfile.exists(manifest_path):
            continue
        with tf.io.gfile.GFile(manifest_path, 'r') as file:
            try:
                found[manifest_path] = (os.path.dirname(path), json.loads(file.read()))
            except ValueError as error:
                raise DataError(f'{manifest_path}: not JSON: {error}') from error
    return list(found.values())


def _against_manifest(files: Sequence[str], entry: tuple[str, dict[str, Any]]) -> list[str]:
    """Length of each given file against the manifest; a pattern may well name only some of the shards."""
    folder, manifest = entry
    problems = []
    for shard in manifest.get('shards', []):
        path = os.path.join(folder, shard['file'])
        if path not in files:
            continue
        length = tf.io.gfile.stat(path).length
        if length != shard['bytes']:
            problems.append(
                _damage(path, _count_whole(path)[0], f'has {length} bytes, its manifest says {shard["bytes"]}', shard)
            )
    return problems


def _count_whole(path: str) -> tuple[int, str]:
    """(records of the file that can be read, why the next one cannot; empty if all can)."""
    count = 0
    try:
        for _ in tf.data.TFRecordDataset(path, buffer_size=_READ_BUFFER_BYTES):
            count += 1
    except tf.errors.DataLossError as error:
        return count, _reason(error)
    return count, ''


def _damage(path: str, num_whole: int, reason: str, shard: dict[str, Any] | None = None) -> str:
    of = f' of {shard["num_examples"]}' if shard and 'num_examples' in shard else ''
    return f'{path}: damaged or cut off after {num_whole}{of} examples ({reason}): convert the data again'


def _seen_from(path: str) -> str:
    """` (seen from FOLDER)` for a relative path: the folder is where the program was started, not the config's."""
    return '' if os.path.isabs(path) or '://' in path else f' (seen from {os.getcwd()})'


def _reason(error: tf.errors.OpError) -> str:
    """The first line of what TensorFlow says, without the names of its operations."""
    said = re.sub(r'\{\{.*?\}\}|\[Op:.*', '', error.message.strip()).strip()
    return said.splitlines()[0] if said else 'no reason given'
