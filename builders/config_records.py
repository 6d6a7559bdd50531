"""Do the records a config names fit the config? Reads them, so TensorFlow is imported, when `check` is called."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.errors import DataError, UserError
from core.fields import FILENAME, IMAGE, LABEL
from protos.input_reader_pb2 import InputReader
from protos.pipeline_pb2 import PipelineConfig

_MAX_LISTED = 10
_CHUNK = 32


@dataclass
class Report:
    """What was found in the records of one config.

    Attributes:
      problems: one line each; training or evaluation would fail or be wrong.
      warnings: one line each; worth a look.
      summaries: one phrase per reader: `train 367 examples in 4 files`.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)


@dataclass
class _Found:
    """What one reader's files hold."""

    num_examples: int = 0
    num_inspected: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    example_of_size: dict[tuple[int, int], str] = field(default_factory=dict)
    examples_with_id: Counter[int] = field(default_factory=Counter)
    example_of_id: dict[int, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


def check(config: PipelineConfig, *, sample: int | None = None, progress: Callable[[int], object] = int) -> Report:
    """Reads every record of the train and eval readers that the config has.

    Args:
      config: a validated config.
      sample: decode only about this many examples per reader, spread over its files; the others are only counted.
        None decodes all.
      progress: called with the number of examples read since the last call.
    """
    report = Report()
    for name in ('train', 'eval'):
        if config.HasField(f'{name}_input_reader'):
            _check_reader(config, name, sample, progress, report)
    both = set(config.train_input_reader.tf_record_input_reader.input_path).intersection(
        config.eval_input_reader.tf_record_input_reader.input_path
    )
    report.warnings += [f'eval_input_reader: evaluates on training records, {path}' for path in sorted(both)]
    return report


def _check_reader(
    config: PipelineConfig, name: str, sample: int | None, progress: Callable[[int], object], report: Report
) -> None:
    place = f'{name}_input_reader'
    reader: InputReader = getattr(config, place)
    files, problems = _files(reader.tf_record_input_reader.input_path)
    if problems:
        report.problems += [f'{place}: {problem}' for problem in problems]
        return
    found = _read(files, _model(config).feature_extractor.input_channels, sample, progress)
    report.problems += [f'{place}: {line}' for line in _first(found.damaged)]
    report.problems += [f'{place}: {line}' for line in _wrong_ids(config, name, found)]
    if not found.num_examples:
        report.problems.append(f'{place}: no example in {len(files)} files')
    check_sizes = _train_sizes if name == 'train' else _eval_sizes
    check_sizes(config, found, report)
    report.problems += [f'{place}: {line}' for line in _label_map_problems(reader, _model(config).num_classes)]
    report.warnings += _wrong_counts(config, name, found.num_examples)
    if name == 'train' and found.num_inspected == found.num_examples > 0:
        missing = [i for i in range(_model(config).num_classes) if i not in found.examples_with_id]
        report.warnings += [f'{place}: classes {missing} do not occur'] if missing else []
    report.summaries.append(f'{name} {found.num_examples} examples in {len(files)} file{"s" * (len(files) != 1)}')


def _files(patterns: Any) -> tuple[list[str], list[str]]:
    """(files, problems): what the patterns match, and what is empty, missing or not as its manifest says."""
    from inputs import pipeline

    try:
        return pipeline.record_files(patterns), []
    except DataError as error:
        return [], str(error).splitlines()


def _read(files: list[str], channels: int, sample: int | None, progress: Callable[[int], object]) -> _Found:
    from inputs import shard_manifest

    found = _Found()
    inspect = functools.partial(_inspect, _decoder(channels))
    per_file = None if sample is None else -(-sample // len(files))
    shards = shard_manifest.of_files(files)
    with ThreadPoolExecutor(os.cpu_count() or 1) as executor:
        for path in files:
            inspected = 0
            for chunk in _chunks(path, found):
                wanted = chunk if per_file is None else chunk[: max(0, per_file - inspected)]
                inspected += len(wanted)
                found.num_examples += len(chunk)
                for index, result in enumerate(executor.map(inspect, wanted)):
                    _add(found, result, f'{path}, record {found.num_examples - len(chunk) + index + 1}')
                progress(len(chunk))
            said = shards[path].crc32 if path in shards else None
            if said is not None and not found.damaged and shard_manifest.checksum(path) != said:
                found.damaged.append(f'{path}: not the file that its manifest describes; convert or copy again')
    return found


def _chunks(path: str, found: _Found) -> Iterator[list[bytes]]:
    """Records of one file, some at a time; damage ends the file and is noted."""
    import tensorflow as tf

    chunk, count = [], 0
    try:
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            chunk.append(record)
            count += 1
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
    except tf.errors.DataLossError:
        found.damaged.append(f'{path}: damaged or cut off after record {count}; convert or copy again')
    if chunk:
        yield chunk


@functools.cache
def _decoder(channels: int) -> Callable[..., Any]:
    """`tf_example.decode` as one compiled function: threads share it, and its errors read as in training."""
    import tensorflow as tf

    from inputs import tf_example

    signature = [tf.TensorSpec([], tf.string)]
    decode = functools.partial(tf_example.decode, channels=channels)
    return tf.function(decode, input_signature=signature, autograph=False)


def _inspect(decode: Callable[..., Any], record: bytes) -> tuple[str, tuple[int, int], np.ndarray] | str:
    """(filename, (height, width), class ids that occur) of one record, or what is wrong with it."""
    import tensorflow as tf

    from inputs import pipeline

    try:
        with pipeline.user_errors():
            example = decode(tf.constant(record))
    except DataError as error:
        return str(error)
    except tf.errors.OpError as error:
        return error.message.splitlines()[0]
    height, width = example[IMAGE].shape[:2]
    ids = np.flatnonzero(np.bincount(example[LABEL].numpy().ravel(), minlength=256))
    return example[FILENAME].numpy().decode(errors='replace'), (height, width), ids


def _add(found: _Found, result: tuple[str, tuple[int, int], np.ndarray] | str, place: str) -> None:
    found.num_inspected += 1
    if isinstance(result, str):
        found.damaged.append(f'{place}: {result}')
        return
    filename, size, ids = result
    found.sizes[size] += 1
    found.example_of_size.setdefault(size, filename)
    for class_id in map(int, ids):
        found.examples_with_id[class_id] += 1
        found.example_of_id.setdefault(class_id, filename)


def _wrong_ids(config: PipelineConfig, name: str, found: _Found) -> Iterator[str]:
    model = _model(config)
    ignore_label = model.loss.ignore_label if name == 'train' else config.eval_config.ignore_label
    wrong = [i for i in sorted(found.examples_with_id) if i >= model.num_classes and i != ignore_label]
    if wrong:
        examples = max(found.examples_with_id[i] for i in wrong)
        yield (
            f'label ids {wrong} in {examples} or more examples, first in {found.example_of_id[wrong[0]]}: neither a '
            f'class (0..{model.num_classes - 1}) nor the ignore label {ignore_label}'
        )


def _train_sizes(config: PipelineConfig, found: _Found, report: Report) -> None:
    """Image sizes against the crop, at the largest random scale, and against a fixed size without a resize before."""
    largest_scale = 1.0
    for i, step in enumerate(config.train_config.preprocessor_step):
        kind = step.WhichOneof('preprocessing_step')
        place = f'train_config.preprocessor_step[{i}].{kind}'
        if kind == 'random_image_crop':
            crop = (step.random_image_crop.crop_height, step.random_image_crop.crop_width)
            small = [size for size in found.sizes if _smaller([int(n * largest_scale) for n in size], crop)]
            report.warnings += _size_line(found, small, f'{place}: always padded, smaller than {_text(crop)}')
            return
        if kind == 'set_fixed_image_size':
            wanted = (step.set_fixed_image_size.fixed_height, step.set_fixed_image_size.fixed_width)
            other = [size for size in found.sizes if size != wanted]
            report.problems += _size_line(found, other, f'{place}: not of the size {_text(wanted)}')
            return
        if kind == 'random_image_scale':
            largest_scale *= step.random_image_scale.max_scale_ratio
        elif kind in ('aspect_ratio_image_resize', 'resize_image'):
            return


def _eval_sizes(config: PipelineConfig, found: _Found, report: Report) -> None:
    input_type = config.eval_config.eval_input_type
    kind = input_type.WhichOneof('eval_input_type_oneof')
    if kind is None:
        return
    wanted = (getattr(input_type, kind).height, getattr(input_type, kind).width)
    place = f'eval_config.eval_input_type.{kind}'
    if kind == 'padded_eval_input':
        large = [size for size in found.sizes if _smaller(wanted, size)]
        report.problems += _size_line(found, large, f'{place}: larger than {_text(wanted)}')
    else:
        small = [size for size in found.sizes if _smaller(size, wanted)]
        report.warnings += _size_line(found, small, f'{place}: smaller than {_text(wanted)}')


def _size_line(found: _Found, sizes: list[tuple[int, int]], what: str) -> list[str]:
    """`<what>: 3 images, the first is a.png, 360x480`."""
    if not sizes:
        return []
    number = sum(found.sizes[size] for size in sizes)
    images = f'{number} image{"s" * (number != 1)}'
    return [f'{what}: {images}, the first is {found.example_of_size[sizes[0]]}, {_text(sizes[0])} (height x width)']


def _wrong_counts(config: PipelineConfig, name: str, counted: int) -> list[str]:
    """num_examples is informational: the records count."""
    said = {f'{name}_input_reader': getattr(config, f'{name}_input_reader')}
    if name == 'eval':
        said['eval_config'] = config.eval_config
    return [
        f'{place}.num_examples: says {message.num_examples}, the records hold {counted}; all of them are used'
        for place, message in said.items()
        if message.HasField('num_examples') and message.num_examples != counted
    ]


def _label_map_problems(reader: InputReader, num_classes: int) -> Iterator[str]:
    from builders import input_builder

    try:
        input_builder.build_label_map(reader, num_classes)
    except UserError as error:
        yield str(error)


def _first(lines: list[str]) -> list[str]:
    more = len(lines) - _MAX_LISTED
    return [*lines[:_MAX_LISTED], *([f'and {more} more like these'] if more > 0 else [])]


def _model(config: PipelineConfig) -> Any:
    return getattr(config.model, config.model.WhichOneof('model') or 'pspnet')


def _smaller(size: Sequence[int], other: Sequence[int]) -> bool:
    """Whether a side of `size` is below that of `other`."""
    return any(n < m for n, m in zip(size, other, strict=True))


def _text(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'
