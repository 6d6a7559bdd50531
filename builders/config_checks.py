"""Is a parsed config sensible? Every problem at once, each with its field path; imports no TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from builders import config_ranges as tables
from builders import pairs, training_checks
from builders.config_text import AnyField
from builders.names import alternatives, suggestion
from core.errors import UsageError
from protos.eval_pb2 import EvalConfig
from protos.pipeline_pb2 import PipelineConfig
from protos.train_pb2 import TrainConfig
from recompute.budget import parse_budget

_NEEDED_BLOCKS = {
    None: ('model',),
    'train': ('model', 'train_config', 'train_input_reader'),
    'eval': ('model', 'eval_input_reader'),
    'export': ('model',),
    'predict': ('model',),
}
# Steps after which every image has one size.
_FIXING_STEPS = ('random_image_crop', 'resize_image', 'set_fixed_image_size')
_COLOUR_STEPS = ('random_saturation', 'random_hue')
_SIZED_STEPS = ('random_image_crop', 'set_fixed_image_size')
_PLACEHOLDER = 'MODIFY_THIS_FIELD'


def pipeline_problems(config: PipelineConfig, purpose: str | None) -> list[str]:
    """Every problem of a pipeline config, in the order of the fields.

    Args:
      config: a parsed config.
      purpose: `train`, `eval`, `export`, `predict` or None; blocks that it needs must be there. Blocks that are there
        are checked whatever the purpose.
    """
    return [
        *(f'{block}: not set{_what_to_set(config, block)}' for block in _missing_blocks(config, purpose)),
        *message_problems(config),
        *_class_problems(config, purpose),
        *_network_problems(config),
        *_evaluation_problems(config.eval_config),
        *_channel_problems(config, purpose),
        *(_training_problems(config.train_config) if config.HasField('train_config') else ()),
        *_evaluation_in_training_problems(config),
    ]


def message_problems(message: Message, path: str = '') -> Iterator[str]:
    """Problems inside one message and the messages within, by the tables of `config_ranges`."""
    name = message.DESCRIPTOR.name
    for field in tables.REQUIRED.get(name, ()):
        if not _is_set(message, field):
            yield _join(path, field) + ': not set' + _what_to_set(message, field)
    for oneof in message.DESCRIPTOR.oneofs:
        if message.WhichOneof(oneof.name) is None:
            yield f'{path}: not set; choose {alternatives([field.name for field in oneof.fields])}'
    for field in message.DESCRIPTOR.fields:
        for place, value in _values(message, field, path):
            if isinstance(value, Message):
                yield from message_problems(value, place)
            else:
                yield from _value_problems(name, field.name, place, value)
    yield from _order_problems(message, path)


def _values(message: Message, field: AnyField, path: str) -> Iterator[tuple[str, Any]]:
    """(path, value) of what was written into the field: nothing, one, or each element of a list."""
    place = _join(path, field.name)
    if field.is_repeated:
        yield from ((f'{place}[{i}]', value) for i, value in enumerate(getattr(message, field.name)))
    elif message.HasField(field.name):
        yield place, getattr(message, field.name)


def _value_problems(message: str, field: str, place: str, value: Any) -> Iterator[str]:
    allowed = tables.RANGES.get(message, {}).get(field)
    if allowed is not None and value not in allowed:
        yield f'{place}: got {_short(value)}, choose {allowed.text}'
    choices = tables.CHOICES.get(message, {}).get(field)
    if choices is not None and value and value not in choices:
        yield f'{place}: got {value!r}{suggestion(value, choices)}'
    fixed = tables.FIXED.get(message, {}).get(field)
    if fixed is not None and value != fixed[0]:
        yield f'{place}: got {value}; {fixed[1]}, remove the field'
    if isinstance(value, str) and _PLACEHOLDER in value:
        yield f'{place}: got {value!r}, a placeholder; write your own value'


def _order_problems(message: Message, path: str) -> Iterator[str]:
    if message.DESCRIPTOR.name in tables.ORDERED:
        low, high = tables.ORDERED[message.DESCRIPTOR.name]
        if getattr(message, low) > getattr(message, high):
            values = f'{_short(getattr(message, low))} > {_short(getattr(message, high))}'
            yield f'{path}: {low} is above {high} ({values})'


def _missing_blocks(config: PipelineConfig, purpose: str | None) -> Iterator[str]:
    yield from (block for block in _NEEDED_BLOCKS[purpose] if not config.HasField(block))


def _class_problems(config: PipelineConfig, purpose: str | None) -> Iterator[str]:
    """Number of classes against ignore labels and class weights."""
    kind = config.model.WhichOneof('model')
    if kind is None:
        return
    model, path = getattr(config.model, kind), f'model.{kind}'
    num_classes, ignore_label = model.num_classes, model.loss.ignore_label
    if ignore_label < num_classes <= tables.CLASSES.high:
        yield (
            f'{path}.loss.ignore_label: got {ignore_label}, which is one of the classes 0..{num_classes - 1}; '
            f'choose {num_classes}..255'
        )
    yield from training_checks.loss_problems(model.loss, f'{path}.loss', num_classes)
    evaluates = (purpose in (None, 'eval') or config.train_config.eval_interval) and config.HasField(
        'eval_input_reader'
    )
    if (evaluates or config.HasField('eval_config')) and config.eval_config.ignore_label != ignore_label:
        yield (
            f'eval_config.ignore_label: got {config.eval_config.ignore_label}, but {path}.loss.ignore_label is '
            f'{ignore_label}; make them equal'
        )


def _network_problems(config: PipelineConfig) -> Iterator[str]:
    """Does the extractor suit the architecture, one kind of normalisation, one width for each layer?"""
    scopes = [layer.scope for layer in config.model.layer_width]
    for i, scope in enumerate(scopes):
        if scope in scopes[:i]:
            yield f'model.layer_width[{i}].scope: {scope!r} was named before; keep one'
    kind = config.model.WhichOneof('model')
    if kind is None:
        return
    model, path = getattr(config.model, kind), f'model.{kind}'
    if model.hyperparams.HasField('batch_norm') and model.hyperparams.HasField('group_norm'):
        yield f'{path}.hyperparams: batch_norm and group_norm are both set; keep one'
    yield from pairs.problems(kind, model, path)


def _evaluation_problems(evaluation: EvalConfig) -> Iterator[str]:
    """Relations within eval_config, and its regular expression."""
    try:
        re.compile(evaluation.group_pattern)
    except re.error as error:
        yield f'eval_config.group_pattern: got {evaluation.group_pattern!r}, not a regular expression: {error}'
    if evaluation.inference.HasField('sliding_window') and evaluation.eval_input_type.HasField('padded_eval_input'):
        yield (
            'eval_config.inference.sliding_window: set together with eval_input_type.padded_eval_input, which would '
            'pad every window; keep one'
        )


def _channel_problems(config: PipelineConfig, purpose: str | None) -> Iterator[str]:
    """The number of input channels against means, augmentations, and what files can hold."""
    kind = config.model.WhichOneof('model')
    if kind is None:
        return
    extractor = getattr(config.model, kind).feature_extractor
    channels, place = extractor.input_channels, f'model.{kind}.feature_extractor'
    if len(extractor.channel_mean) not in (0, channels):
        yield (
            f'{place}.channel_mean: got {len(extractor.channel_mean)} numbers for {channels} input_channels; write '
            'one for each, red, green and blue first, or none'
        )
    reads = purpose == 'predict' or config.HasField('train_input_reader') or config.HasField('eval_input_reader')
    if reads and channels not in tables.CHANNELS_OF_FILES.values and channels > 0:
        yield (
            f'{place}.input_channels: got {channels}, but records and pictures hold {tables.CHANNELS_OF_FILES.text}; '
            'more need a tf.data pipeline of your own, and a config without the readers (docs/datasets.md)'
        )
    for i, step in enumerate(config.train_config.preprocessor_step):
        name = step.WhichOneof('preprocessing_step')
        where = f'train_config.preprocessor_step[{i}].{name}'
        if name in _COLOUR_STEPS and channels != 3:
            yield f'{where}: needs red, green and blue, but {place}.input_channels is {channels}; remove the step'
        if name in _SIZED_STEPS and getattr(step, name).HasField('images_channel_dim'):
            said = getattr(step, name).images_channel_dim
            if said != channels:
                yield f'{where}.images_channel_dim: got {said}; images have {channels} channels, remove the field'


def _training_problems(train: TrainConfig) -> Iterator[str]:
    """Relations within train_config."""
    yield from training_checks.batch_problems(train)
    yield from training_checks.precision_problems(train)
    yield from training_checks.optimizer_problems(train.optimizer, 'train_config.optimizer')
    if train.fine_tune_checkpoint and not train.fine_tune_checkpoint_type:
        yield (
            'train_config.fine_tune_checkpoint_type: not set, needed with fine_tune_checkpoint; choose '
            + alternatives(tables.FINE_TUNE_TYPES)
        )
    sized_by = f'end it with {alternatives(_FIXING_STEPS)}'
    problem = f'train_config.preprocessor_step: leaves images at their own sizes; {sized_by}'
    for i, step in enumerate(train.preprocessor_step):
        kind = step.WhichOneof('preprocessing_step')
        padded = kind == 'aspect_ratio_image_resize' and step.aspect_ratio_image_resize.pad_to_max_dimension
        if kind in _FIXING_STEPS or padded:
            problem = ''
        elif kind in ('random_image_scale', 'aspect_ratio_image_resize'):
            problem = (
                f'train_config.preprocessor_step[{i}].{kind}: gives images of different sizes, which do not fit into '
                'one batch; add random_image_crop behind it'
            )
    if problem:
        yield problem
    budget = train.gradient_checkpointing.memory_budget
    try:
        if budget:
            parse_budget(budget, 'train_config.gradient_checkpointing.memory_budget')
    except UsageError as error:
        yield str(error)


def _evaluation_in_training_problems(config: PipelineConfig) -> Iterator[str]:
    train = config.train_config
    yield from training_checks.average_problems(config)
    if train.eval_interval and not config.HasField('eval_input_reader'):
        yield 'eval_input_reader: not set, needed with train_config.eval_interval; write eval_input_reader { ... }'
    for field in ('best_metric', 'patience'):
        if not train.eval_interval and getattr(train, field) and train.HasField(field):
            yield f'train_config.{field}: has no effect without train_config.eval_interval; set that too'
    if not train.best_metric:
        yield 'train_config.best_metric: is empty, name a number of metrics.json, for example mean_iou'


def _is_set(message: Message, field: str) -> bool:
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    if descriptor.is_repeated:
        return len(getattr(message, field)) > 0
    return message.HasField(field) and getattr(message, field) != ''


def _what_to_set(message: Message, field: str) -> str:
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    if descriptor.message_type is not None and descriptor.message_type.oneofs:
        return f'; choose {alternatives([member.name for member in descriptor.message_type.oneofs[0].fields])}'
    choices = tables.CHOICES.get(message.DESCRIPTOR.name, {}).get(field)
    if choices:
        return f'; choose from {list(choices)}'
    allowed = tables.RANGES.get(message.DESCRIPTOR.name, {}).get(field)
    if allowed is not None:
        return f'; choose {"one or more values, each " if descriptor.is_repeated else ""}{allowed.text}'
    return f'; write {field} {{ ... }}' if descriptor.message_type else '; must be written'


def _short(value: float) -> str:
    """A float32 as it was written: 0.1, not 0.10000000149."""
    return str(value) if isinstance(value, int) else f'{value:.7g}'


def _join(path: str, field: str) -> str:
    return f'{path}.{field}' if path else field
