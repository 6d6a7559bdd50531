"""Relations within what training minimises and how; imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from google.protobuf.message import Message

from protos.losses_pb2 import Loss, SoftmaxClassificationLoss, WeightedSumLoss
from protos.optimizer_pb2 import Optimizer, PiecewiseConstantLearningRate
from protos.pipeline_pb2 import PipelineConfig
from protos.train_pb2 import TrainConfig


def loss_problems(loss: Loss, path: str, num_classes: int) -> Iterator[str]:
    """Class weights against the number of classes, and weights of sums."""
    for place, message in _messages(loss, path):
        if isinstance(message, SoftmaxClassificationLoss):
            yield from _class_weight_problems(message, f'{place}.class_weight', num_classes)
        if isinstance(message, WeightedSumLoss) and message.term and not any(t.weight for t in message.term):
            yield f'{place}.term: every weight is 0, so nothing would be learned; one at least must be above 0'


def _class_weight_problems(message: SoftmaxClassificationLoss, place: str, num_classes: int) -> Iterator[str]:
    weights = message.class_weight
    if weights and len(weights) != num_classes:
        yield f'{place}: got {len(weights)} weights for {num_classes} classes; write one per class or none'
    if weights and not any(weights):
        yield f'{place}: every weight is 0, so nothing would be learned; one at least must be above 0'
    if weights and message.class_weighting:
        yield f'{place}: set together with class_weighting, which counts them; keep one'


def optimizer_problems(optimizer: Optimizer, path: str) -> Iterator[str]:
    """Clipping, multipliers and schedules."""
    if optimizer.gradient_clipping_norm and optimizer.gradient_clipping_value:
        yield f'{path}.gradient_clipping_value: set together with gradient_clipping_norm; keep one'
    scopes = [multiplier.scope for multiplier in optimizer.learning_rate_multiplier]
    for i, scope in enumerate(scopes):
        if scope in scopes[:i]:
            yield f'{path}.learning_rate_multiplier[{i}].scope: got {scope!r} a second time; keep one'
    for place, message in _messages(optimizer, path):
        if isinstance(message, PiecewiseConstantLearningRate):
            yield from _piecewise_problems(message, place)


def _piecewise_problems(message: PiecewiseConstantLearningRate, place: str) -> Iterator[str]:
    boundaries, rates = list(message.boundary), len(message.learning_rate)
    if any(a >= b for a, b in pairwise(boundaries)):
        yield f'{place}.boundary: got {boundaries}, choose ascending steps'
    if boundaries and rates and rates != len(boundaries) + 1:
        yield f'{place}.learning_rate: got {rates} for {len(boundaries)} boundaries; write one more than boundaries'


def batch_problems(train: TrainConfig) -> Iterator[str]:
    """Do the parts of a batch come out even?"""
    parts = train.gradient_accumulation_steps
    if parts > 1 and train.batch_size % parts:
        yield (
            f'train_config.gradient_accumulation_steps: got {parts}, which does not divide '
            f'train_config.batch_size {train.batch_size}'
        )
    if parts > 1 and train.non_finite_policy == TrainConfig.SKIP:
        yield (
            f'train_config.non_finite_policy: SKIP does not go with gradient_accumulation_steps {parts}, as batch norm '
            'has moved with the first part; choose STOP or ROLLBACK'
        )


def precision_problems(train: TrainConfig) -> Iterator[str]:
    """A loss scale is for float16 alone."""
    if train.HasField('loss_scale') and train.mixed_precision != TrainConfig.FLOAT16:
        yield (
            'train_config.loss_scale: has no effect without train_config.mixed_precision: FLOAT16; set that too, or '
            'remove it'
        )


def average_problems(config: PipelineConfig) -> Iterator[str]:
    """Evaluation within a training can only use averages that the training keeps."""
    train = config.train_config
    if config.eval_config.use_moving_averages and train.eval_interval and not train.moving_average_decay:
        yield (
            'eval_config.use_moving_averages: the training keeps none; set train_config.moving_average_decay, '
            'for example 0.999, or train_config.eval_interval: 0'
        )


def _messages(message: Message, path: str) -> Iterator[tuple[str, Any]]:
    """(path, message) of it and of all messages set within."""
    yield path, message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        inner = [(f'{field.name}[{i}]', m) for i, m in enumerate(value)] if field.is_repeated else [(field.name, value)]
        for name, one in inner:
            yield from _messages(one, f'{path}.{name}')
