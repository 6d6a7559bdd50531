"""A short training whose learning rate rises exponentially at every step; it leaves a curve and no checkpoint."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from builders import losses_builder, model_builder, optimizer_builder
from core import fields, schedules
from core.errors import DataError
from core.learning_rate_range import SmoothedLoss, Suggestion, suggest
from engine import output_folder, train_lib
from engine.train_input import DatasetBuilder, TrainInput
from engine.train_lib import ModelBuilder, TrainOptions
from engine.train_step import TOTAL_LOSS
from protos.pipeline_pb2 import PipelineConfig
from reports import learning_rate_curve

JSON_NAME, PICTURE_NAME = 'learning_rates.json', 'learning_rates.png'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """Which rates are tried: `num_steps` from `first` to `last`, each times the same factor.

    Attributes:
      first, last: learning rates above 0.
      num_steps: 10 or more.
      smoothing: of the loss, from 0 to below 1; see `learning_rate_range`.
    """

    first: float = 1e-7
    last: float = 10.0
    num_steps: int = 100
    smoothing: float = 0.98


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What a sweep showed; lists have one entry for each step.

    Attributes:
      learning_rates: in order.
      losses: the total loss, before the step.
      smoothed: the same, smoothed.
      exploded: it ended before the last rate.
      suggestion: None if the loss did not fall.
    """

    learning_rates: list[float]
    losses: list[float]
    smoothed: list[float]
    exploded: bool
    suggestion: Suggestion | None


def find(
    config: PipelineConfig,
    options: TrainOptions,
    sweep: Sweep,
    *,
    build_model: ModelBuilder = model_builder.build,
    build_dataset: DatasetBuilder | None = None,
) -> Found:
    """Trains with every optimiser setting of the config but its schedule, from `fine_tune_checkpoint` or from scratch.

    Writes `learning_rates.json` and `learning_rates.png` into `options.logdir`, where no training is looked for. Raises
    as `train_lib.train`, but a loss that is not finite only ends the sweep; DataError if there are too few records.
    """
    train_config = config.train_config
    strategy = train_lib.prepare_devices(train_config, options)
    output_folder.make(options.logdir, '--output_dir')
    config = losses_builder.count_class_weights(config)
    schedule = schedules.exponential_sweep(
        first_learning_rate=sweep.first, last_learning_rate=sweep.last, num_steps=sweep.num_steps
    )
    optimizer = optimizer_builder.build(train_config.optimizer, schedule=schedule)
    model, state = train_lib.make_state(config, strategy, optimizer, build_model)
    train_lib.first_values(model, state, train_config)
    train_step = train_lib.make_step(config, options, model, state, optimizer, strategy)
    losses: list[float] = []
    smoothed = SmoothedLoss(sweep.smoothing)
    train_input = TrainInput(config, strategy, logdir=options.logdir, build_dataset=build_dataset)
    for batch in train_input.batches(0, 0):
        scalars = train_step({name: batch[name] for name in (fields.IMAGE, fields.LABEL)})
        losses.append(float(scalars[TOTAL_LOSS]))
        smoothed.add(losses[-1])
        if len(losses) == sweep.num_steps or smoothed.has_exploded():
            break
    else:
        raise DataError(f'the records ended at step {len(losses)} of {sweep.num_steps}')
    found = _found(sweep, losses, smoothed)
    _write(found, config, options.logdir)
    return found


def _found(sweep: Sweep, losses: list[float], smoothed: SmoothedLoss) -> Found:
    rates = np.geomspace(sweep.first, sweep.last, sweep.num_steps)[: len(losses)].tolist()
    return Found(
        learning_rates=rates,
        losses=losses,
        smoothed=smoothed.values,
        exploded=smoothed.has_exploded(),
        suggestion=suggest(rates, smoothed.values),
    )


def _write(found: Found, config: PipelineConfig, folder: str) -> None:
    """Both files beside and renamed; a loss that is not finite is null."""
    optimizer = config.train_config.optimizer.WhichOneof('optimizer')
    content = {
        'optimizer': optimizer,
        'batch_size': config.train_config.batch_size,
        'suggestion': {**dataclasses.asdict(found.suggestion), 'range': found.suggestion.range}
        if found.suggestion
        else None,
        'exploded': found.exploded,
        'learning_rates': found.learning_rates,
        'losses': _finite(found.losses),
        'smoothed_losses': _finite(found.smoothed),
    }
    _replace(os.path.join(folder, JSON_NAME), (json.dumps(content, indent=1) + '\n').encode())
    picture = learning_rate_curve.draw(
        learning_rates=found.learning_rates,
        losses=found.losses,
        smoothed=found.smoothed,
        marks=_marks(found.suggestion),
        title=f'{optimizer}, batch of {config.train_config.batch_size}',
    )
    _replace(os.path.join(folder, PICTURE_NAME), picture)


def _marks(suggestion: Suggestion | None) -> Mapping[str, float]:
    if suggestion is None:
        return {}
    return {'steepest': suggestion.steepest, 'minimum / 10': suggestion.tenth_of_minimum}


def _finite(values: list[float]) -> list[Any]:
    return [value if np.isfinite(value) else None for value in values]


def _replace(path: str, content: bytes) -> None:
    with tf.io.gfile.GFile(f'{path}.unfinished', 'wb') as file:
        file.write(content)
    tf.io.gfile.rename(f'{path}.unfinished', path, overwrite=True)
