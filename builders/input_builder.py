"""Input messages -> tf.data pipelines, augmentations and label maps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from core.errors import ConfigError
from inputs import augmentations as aug
from inputs import pipeline
from inputs.label_map import LabelMap
from protos import input_reader_pb2, pipeline_pb2, preprocessor_pb2

_METHODS = {
    preprocessor_pb2.BILINEAR: 'bilinear',
    preprocessor_pb2.NEAREST_NEIGHBOR: 'nearest',
    preprocessor_pb2.BICUBIC: 'bicubic',
}

# Each entry: message -> (function, keyword arguments). Steps in _PADS also get the ignore label.
_STEPS: dict[str, Callable[[Any], tuple[Callable, dict[str, Any]]]] = {
    'set_fixed_image_size': lambda c: (
        aug.set_fixed_image_size,
        {'fixed_height': c.fixed_height, 'fixed_width': c.fixed_width},
    ),
    'aspect_ratio_image_resize': lambda c: (
        aug.aspect_ratio_image_resize,
        {
            'min_dimension': c.min_dimension,
            'max_dimension': c.max_dimension,
            'method': _METHODS[c.resize_method],
            'pad_to_max_dimension': c.pad_to_max_dimension,
        },
    ),
    'random_image_scale': lambda c: (
        aug.random_scale,
        {'min_ratio': c.min_scale_ratio, 'max_ratio': c.max_scale_ratio},
    ),
    'random_image_crop': lambda c: (
        aug.random_crop,
        {'height': c.crop_height, 'width': c.crop_width, 'max_class_share': c.max_class_share},
    ),
    'random_horizontal_flip': lambda c: (aug.random_horizontal_flip, {}),
    'random_vertical_flip': lambda c: (aug.random_vertical_flip, {}),
    'random_brightness': lambda c: (aug.random_brightness, {'max_delta': c.max_delta}),
    'random_contrast': lambda c: (aug.random_contrast, {'min_factor': c.min_factor, 'max_factor': c.max_factor}),
    'random_saturation': lambda c: (aug.random_saturation, {'min_factor': c.min_factor, 'max_factor': c.max_factor}),
    'random_hue': lambda c: (aug.random_hue, {'max_delta': c.max_delta}),
    'random_gamma': lambda c: (aug.random_gamma, {'min_gamma': c.min_gamma, 'max_gamma': c.max_gamma}),
    'random_rotation': lambda c: (aug.random_rotation, {'max_angle': c.max_angle}),
    'resize_image': lambda c: (
        aug.resize_image,
        {'height': c.height, 'width': c.width, 'method': _METHODS[c.method]},
    ),
}
_PADS = ('aspect_ratio_image_resize', 'random_image_crop', 'random_rotation')


def build_augmentations(
    steps: Iterable[preprocessor_pb2.PreprocessingStep], *, ignore_label: int = 255
) -> list[aug.Augmentation]:
    """The steps in order. Raises ConfigError that names the position of an empty step."""
    built = []
    for position, step in enumerate(steps):
        kind = step.WhichOneof('preprocessing_step')
        if kind not in _STEPS:
            raise ConfigError(
                f'train_config.preprocessor_step[{position}]: got {kind or "nothing"}, choose from {sorted(_STEPS)}'
            )
        function, arguments = _STEPS[kind](getattr(step, kind))
        if kind in _PADS:
            arguments['ignore_label'] = ignore_label
        built.append(functools.partial(function, **arguments))
    return built


def build_train(
    config: pipeline_pb2.PipelineConfig,
    *,
    batch_size: int | None = None,
    seed: int | None = None,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Training batches without end, see `inputs.pipeline.TrainingRecords.batches`.

    Args:
      config: a validated PipelineConfig.
      batch_size: instead of train_config.batch_size.
      seed: instead of train_config.random_seed.
      first_step: where a resumed run goes on.

    Yields {`image`: float32 [B, H, W, channels] in 0..255, `label`: int32 [B, H, W], `filename`: string [B]}.
    """
    batch_size = batch_size or config.train_config.batch_size
    return build_train_records(config).batches(
        batch_size=batch_size,
        seed=config.train_config.random_seed if seed is None else seed,
        first_example=first_step * batch_size,
    )


def build_train_records(
    config: pipeline_pb2.PipelineConfig, *, cache_limit_bytes: int = pipeline.CACHE_LIMIT_BYTES
) -> pipeline.TrainingRecords:
    """The records of `train_input_reader` with the augmentations of `train_config`.

    Args:
      cache_limit_bytes: decoded size up to which they are decoded once, into memory, with the first batches.
    """
    train, reader = config.train_config, config.train_input_reader
    model = _model(config)
    ignore_label = model.loss.ignore_label
    return pipeline.TrainingRecords(
        reader.tf_record_input_reader.input_path,
        augmentations=build_augmentations(train.preprocessor_step, ignore_label=ignore_label),
        num_classes=model.num_classes,
        ignore_label=ignore_label,
        shuffle=reader.shuffle,
        num_parallel_calls=_parallel_calls(reader),
        channels=model.feature_extractor.input_channels,
        cache_limit_bytes=cache_limit_bytes,
        allow_damaged_framing=train.skip_damaged_records,
    )


def build_eval(config: pipeline_pb2.PipelineConfig) -> tf.data.Dataset:
    """Every evaluation example exactly once, unbatched, see `inputs.pipeline.evaluation_dataset`."""
    reader = config.eval_input_reader
    return pipeline.evaluation_dataset(
        reader.tf_record_input_reader.input_path,
        num_classes=_model(config).num_classes,
        ignore_label=config.eval_config.ignore_label,
        channels=_model(config).feature_extractor.input_channels,
        num_parallel_calls=_parallel_calls(reader),
    )


def first_eval_damage(config: pipeline_pb2.PipelineConfig) -> str | None:
    """The first record of `eval_input_reader` that cannot be used, see `inputs.pipeline.first_damage`."""
    return pipeline.first_damage(
        config.eval_input_reader.tf_record_input_reader.input_path,
        num_classes=_model(config).num_classes,
        ignore_label=config.eval_config.ignore_label,
        channels=_model(config).feature_extractor.input_channels,
    )


def build_label_map(reader: input_reader_pb2.InputReader, num_classes: int, *, ignore_label: int = 255) -> LabelMap:
    """The map of `label_map_path`, or numbered classes. ConfigError if its class count is another."""
    if not reader.label_map_path:
        return LabelMap.default(num_classes, ignore_label=ignore_label)
    label_map = LabelMap.load(reader.label_map_path)
    if label_map.num_classes != num_classes:
        raise ConfigError(
            f'label_map_path: {reader.label_map_path} has {label_map.num_classes} classes, the model {num_classes}; '
            'set num_classes of the model to that, or name the label map of its classes'
        )
    return label_map


def check_reader(config: pipeline_pb2.PipelineConfig, split: str) -> None:
    """Are the record files and the label map there, and do they fit the config? Reads no record, so it is quick.

    Args:
      config: a validated PipelineConfig.
      split: `train` or `eval`, whose reader is meant.

    Raises DataError for files, ConfigError for another class count.
    """
    reader = config.train_input_reader if split == 'train' else config.eval_input_reader
    may_be_cut_off = split == 'train' and config.train_config.skip_damaged_records
    pipeline.record_files(reader.tf_record_input_reader.input_path, check_lengths=not may_be_cut_off)
    build_label_map(reader, num_classes(config))


def num_classes(config: pipeline_pb2.PipelineConfig) -> int:
    """Of the model, whichever its architecture."""
    return _model(config).num_classes


def _model(config: pipeline_pb2.PipelineConfig) -> Any:
    """The message of the architecture: each has `num_classes`, `feature_extractor` and `loss`."""
    return getattr(config.model, config.model.WhichOneof('model'))


def _parallel_calls(reader: input_reader_pb2.InputReader) -> int | None:
    """1, the default, lets tf.data choose."""
    return reader.num_parallel_calls if reader.num_parallel_calls > 1 else None
