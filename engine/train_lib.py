"""Training: a config and a log directory in, checkpoints and metrics out."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from builders import config_loader, input_builder, losses_builder, model_builder, optimizer_builder
from builders.names import suggestion
from core import fields
from core.errors import ConfigError, UsageError
from core.model import SegmentationModel
from core.optimizers import Optimizer
from engine import checkpoints, devices, memory, output_folder, recompute_plan
from engine.distillation import Teacher
from engine.eval_lib import Evaluator
from engine.loss_scale import LossScale
from engine.summaries import PicturePanels
from engine.train_evaluation import SharedEvaluation, TrainEvaluation
from engine.train_input import DatasetBuilder, TrainInput
from engine.train_loop import NotFinitePolicy, Pace, TrainLoop
from engine.train_options import TrainOptions
from engine.train_state import TrainState, fine_tune, resume
from engine.train_step import make_train_step
from engine.workers import Workers
from protos.pipeline_pb2 import PipelineConfig
from protos.train_pb2 import TrainConfig
from recompute.plan import Mode, Plan, Planner, Request

_LOGGER = logging.getLogger(__name__)

ModelBuilder = Callable[..., SegmentationModel]


def train(
    config: PipelineConfig,
    options: TrainOptions,
    *,
    build_model: ModelBuilder = model_builder.build,
    build_dataset: DatasetBuilder | None = None,
) -> int:
    """Trains until `train_config.num_steps`, a signal, or the end of the data; returns the last step.

    The effective config is saved as `<logdir>/pipeline.config`. Raises NotFiniteError if a loss or gradient is not
    finite, CheckpointError for checkpoints that cannot be used or written, DataError for records that cannot be used,
    UsageError for options that do not fit the machine or the config.
    """
    strategy = prepare_devices(config.train_config, options)
    workers = Workers(options.cluster, strategy)
    with workers.watched(options.logdir):
        return _train(config, options, strategy, workers, build_model, build_dataset)


def _train(
    config: PipelineConfig,
    options: TrainOptions,
    strategy: tf.distribute.Strategy,
    workers: Workers,
    build_model: ModelBuilder,
    build_dataset: DatasetBuilder | None,
) -> int:
    train_config = config.train_config
    _check_alike(config, options, strategy, workers)
    output_folder.make(options.logdir, '--logdir')
    if workers.is_chief:
        checkpoints.remove_unfinished(options.logdir)
    train_input = TrainInput(config, strategy, logdir=options.logdir, build_dataset=build_dataset, workers=workers)
    config = losses_builder.count_class_weights(config)
    optimizer = optimizer_builder.build(train_config.optimizer, moving_average_decay=train_config.moving_average_decay)
    model, state = make_state(config, strategy, optimizer, build_model)
    started_from = _initial_values(model, state, train_config, options.logdir, workers)
    if workers.is_chief:
        config_loader.save(config, os.path.join(options.logdir, 'pipeline.config'))
    _describe(config, state, strategy, workers)
    first_step = int(state.step.numpy())
    evaluation = _evaluation(config, model, state, options.logdir, first_step, workers)
    if 0 < train_config.num_steps <= first_step:
        _LOGGER.info('nothing to train: %s is at step %d of %d', options.logdir, first_step, train_config.num_steps)
        if evaluation is None:
            return first_step
    loop = TrainLoop(
        logdir=options.logdir,
        pace=_pace(train_config, options),
        state=state,
        train_step=make_step(config, options, model, state, optimizer, strategy),
        local_results=strategy.experimental_local_results,
        batch_size=train_config.batch_size,
        last_checkpoint=started_from,
        panels=_panels(config, model) if options.image_summaries and workers.is_chief else None,
        measured=lambda: {**train_input.counts(), **(_memory() if options.log_memory else {})},
        evaluation=evaluation,
        not_finite=_not_finite(train_config),
        log_examples=options.log_examples,
        workers=workers,
    )
    return loop.run(train_input.batches)


def _check_alike(
    config: PipelineConfig, options: TrainOptions, strategy: tf.distribute.Strategy, workers: Workers
) -> None:
    """Processes that do not train the same would wait for each other for ever, or train nonsense."""
    alike = (options.save_interval_secs, options.image_summaries, options.log_examples, str(options.recompute))
    workers.check_alike(config.SerializeToString(deterministic=True), 'the config')
    workers.check_alike(str(len(strategy.extended.worker_devices)).encode(), 'the number of devices')
    workers.check_alike(repr(alike).encode(), 'a flag')


def plan(config: PipelineConfig, options: TrainOptions, *, build_model: ModelBuilder = model_builder.build) -> dict:
    """What `recompute_plan.json` would hold, for one replica's share of the batch; trains nothing.

    Raises UsageError for a budget that cannot be met or a node that does not exist.
    """
    check_batch_size(config.train_config, num_replicas=options.num_replicas)
    config = losses_builder.count_class_weights(config)
    single = dataclasses.replace(options, num_clones=1, cluster=None)
    batch_size = config.train_config.batch_size // options.num_replicas
    strategy = prepare_devices(config.train_config, single)
    optimizer = optimizer_builder.build(config.train_config.optimizer)
    model, state = make_state(config, strategy, optimizer, build_model)
    records = input_builder.build_train_records(config, cache_limit_bytes=0)
    spec = records.batches(batch_size=batch_size, seed=0).element_spec
    plans: list[Plan] = []
    make_train_step(
        model=model,
        optimizer=optimizer,
        state=state,
        strategy=strategy,
        add_regularization_loss=config.train_config.add_regularization_loss,
        num_parts=config.train_config.gradient_accumulation_steps,
        planner=_planner(config.train_config, options),
        on_plan=plans.append,
        skip_not_finite=config.train_config.non_finite_policy == TrainConfig.SKIP,
        teacher=_teacher(config, model, strategy),
    ).get_concrete_function({name: spec[name] for name in (fields.IMAGE, fields.LABEL)})
    output_folder.make(options.logdir, '--logdir')
    return recompute_plan.report(
        plans[-1],
        options.logdir,
        replicas=options.num_replicas,
        num_parts=config.train_config.gradient_accumulation_steps,
        plain=False,
    )


def make_state(
    config: PipelineConfig, strategy: tf.distribute.Strategy, optimizer: Optimizer, build_model: ModelBuilder
) -> tuple[SegmentationModel, TrainState]:
    """The model with its variables, and what training changes. Raises ConfigError for a scope that is not there."""
    with strategy.scope():
        model = build_model(config.model, freeze_backbone=config.train_config.freeze_fine_tune_backbone)
        model.build()
        if strategy.num_replicas_in_sync > 1 and model.hyperparams.batch_norm.synchronized:
            model.synchronize(devices.gather_replicas)
        state = TrainState(model, optimizer, loss_scale=_loss_scale(config.train_config))
    idle = optimizer.idle_scopes(state.trainable)
    if idle:
        scopes = sorted({name.partition('/')[0] for name in state.trainable})
        raise ConfigError(
            f'train_config.optimizer.learning_rate_multiplier: no trained variable is in {idle[0]!r}'
            f'{suggestion(idle[0], scopes)}, or a scope within'
        )
    return model, state


def _request(train_config: TrainConfig, options: TrainOptions) -> Request:
    if options.recompute:
        return options.recompute
    if train_config.HasField('gradient_checkpointing'):
        return recompute_plan.request_from_config(train_config.gradient_checkpointing)
    return Request(mode=Mode.NONE)


def _planner(train_config: TrainConfig, options: TrainOptions) -> Planner:
    return Planner(_request(train_config, options), bfloat16=devices.computes_in_16_bits())


def _loss_scale(train_config: TrainConfig) -> LossScale | None:
    """To be called in the strategy's scope."""
    if train_config.mixed_precision != TrainConfig.FLOAT16:
        return None
    scale = train_config.loss_scale
    return LossScale(initial_scale=scale.initial_scale, dynamic_growth_steps=scale.dynamic_growth_steps)


def make_step(
    config: PipelineConfig,
    options: TrainOptions,
    model: SegmentationModel,
    state: TrainState,
    optimizer: Optimizer,
    strategy: tf.distribute.Strategy,
) -> Callable[[Mapping[str, Any]], Mapping[str, tf.Tensor]]:
    """The compiled step of a training, see `train_step.make_train_step`; its plan is reported when it is traced."""
    request = _request(config.train_config, options)
    replicas = strategy.num_replicas_in_sync

    def on_plan(plan: Plan) -> None:
        recompute_plan.report(
            plan,
            options.logdir,
            replicas=replicas,
            num_parts=config.train_config.gradient_accumulation_steps,
            plain=recompute_plan.is_plain(request),
        )
        memory.reserve(recompute_plan.to_reserve(plan) * replicas)

    step = make_train_step(
        model=model,
        optimizer=optimizer,
        state=state,
        strategy=strategy,
        add_regularization_loss=config.train_config.add_regularization_loss,
        num_parts=config.train_config.gradient_accumulation_steps,
        planner=_planner(config.train_config, options),
        on_plan=on_plan,
        skip_not_finite=config.train_config.non_finite_policy == TrainConfig.SKIP,
        teacher=_teacher(config, model, strategy),
    )
    return step if recompute_plan.is_plain(request) else memory.frugal_at_first(step)


def _teacher(config: PipelineConfig, model: SegmentationModel, strategy: tf.distribute.Strategy) -> Teacher | None:
    if not config.train_config.HasField('distillation'):
        return None
    kind = config.model.WhichOneof('model') or ''
    with strategy.scope():
        return Teacher(
            config.train_config.distillation,
            num_classes=model.num_classes,
            input_channels=model.input_channels,
            ignore_label=getattr(config.model, kind).loss.ignore_label,
        )


def _memory() -> dict[str, float]:
    return {'peak_memory_mb': round(memory.peak_bytes() / 1e6, 1)}


def prepare_devices(train_config: TrainConfig, options: TrainOptions) -> tf.distribute.Strategy:
    """Devices, number format and seeds, all of which have to be set before anything runs."""
    strategy = devices.make_strategy(
        train_config.distribution,
        num_clones=options.num_clones,
        clone_on_cpu=options.clone_on_cpu,
        cluster=options.cluster,
    )
    check_batch_size(train_config, num_replicas=strategy.num_replicas_in_sync)
    devices.keep_order_of_sums()
    devices.use_bfloat16(train_config.mixed_precision == TrainConfig.BFLOAT16)
    devices.use_float16(train_config.mixed_precision == TrainConfig.FLOAT16)
    tf.random.set_seed(train_config.random_seed)
    if train_config.deterministic:
        tf.config.experimental.enable_op_determinism()
    return strategy


def check_batch_size(train_config: TrainConfig, *, num_replicas: int) -> None:
    """UsageError unless devices and the parts of an accumulated step get equal shares."""
    parts = train_config.gradient_accumulation_steps
    if train_config.batch_size % (num_replicas * parts):
        times = f' * train_config.gradient_accumulation_steps={parts}' if parts > 1 else ''
        raise UsageError(
            f'train_config.batch_size: got {train_config.batch_size}, choose a multiple of the number of devices, '
            f'{num_replicas}{times} (--num_clones on each worker)'
        )


def _initial_values(
    model: SegmentationModel, state: TrainState, train_config: TrainConfig, logdir: str, workers: Workers
) -> str | None:
    """Resumes, else fine-tunes, else leaves the initialisers' values; returns the checkpoint taken."""
    resumed = resume(state, logdir, workers)
    if resumed:
        _LOGGER.info('resumed from %s', resumed)
        return resumed
    return first_values(model, state, train_config)


def first_values(model: SegmentationModel, state: TrainState, train_config: TrainConfig) -> str | None:
    """Fine-tunes, or leaves the initialisers' values; returns the checkpoint taken."""
    path = train_config.fine_tune_checkpoint
    if not path:
        _LOGGER.info('training from scratch')
        if train_config.freeze_fine_tune_backbone:
            _LOGGER.warning(
                'train_config.freeze_fine_tune_backbone: without fine_tune_checkpoint, '
                'the backbone stays at its random first values'
            )
        return None
    kind, strict = train_config.fine_tune_checkpoint_type, train_config.fine_tune_checkpoint_strict
    report = fine_tune(model, state.variables, path, kind, strict=strict)
    state.start_slots()
    _LOGGER.info('initial values from %s', report.table())
    return report.path


def _pace(train_config: TrainConfig, options: TrainOptions) -> Pace:
    return Pace(
        num_steps=train_config.num_steps,
        log_every=train_config.log_every_n_steps,
        summary_every=train_config.summary_every_n_steps,
        save_every=train_config.save_checkpoint_every_n_steps,
        save_seconds=options.save_interval_secs,
        max_to_keep=options.max_checkpoints_to_keep,
        keep_every_n_hours=train_config.keep_checkpoint_every_n_hours,
    )


def _not_finite(train_config: TrainConfig) -> NotFinitePolicy:
    policy = train_config.non_finite_policy
    return NotFinitePolicy(
        max_skipped_steps=train_config.max_skipped_steps if policy == TrainConfig.SKIP else None,
        max_rollbacks=train_config.max_rollbacks if policy == TrainConfig.ROLLBACK else None,
    )


def _evaluation(
    config: PipelineConfig, model: SegmentationModel, state: TrainState, logdir: str, first_step: int, workers: Workers
) -> TrainEvaluation | SharedEvaluation | None:
    """By the chief, on the variables that are trained: it costs no second model. None if the config asks for none."""
    train_config = config.train_config
    if not train_config.eval_interval:
        return None
    found = _own_evaluation(config, model, state, logdir, first_step) if workers.is_chief else None
    if found and workers.count == 1:
        return found
    return SharedEvaluation(workers, found, interval=train_config.eval_interval, num_steps=train_config.num_steps)


def _own_evaluation(
    config: PipelineConfig, model: SegmentationModel, state: TrainState, logdir: str, first_step: int
) -> TrainEvaluation:
    train_config = config.train_config
    return TrainEvaluation(
        evaluator=Evaluator(config, model),
        logdir=logdir,
        config_path=os.path.join(logdir, 'pipeline.config'),
        interval=train_config.eval_interval,
        num_steps=train_config.num_steps,
        best_metric=train_config.best_metric,
        patience=train_config.patience,
        first_step=first_step,
        weights=state.averaged if config.eval_config.use_moving_averages else contextlib.nullcontext,
    )


def _panels(config: PipelineConfig, model: SegmentationModel) -> PicturePanels:
    label_map = input_builder.build_label_map(config.train_input_reader, model.num_classes)
    return PicturePanels(model=model, colors=label_map.colors, ignore_label=label_map.ignore_label)


def _describe(config: PipelineConfig, state: TrainState, strategy: tf.distribute.Strategy, workers: Workers) -> None:
    train_config, num_examples = config.train_config, config.train_input_reader.num_examples
    per_epoch = (
        f'{num_examples} examples per epoch ({math.ceil(num_examples / train_config.batch_size)} steps)'
        if num_examples
        else 'examples per epoch not given (train_input_reader.num_examples)'
    )
    replicas = strategy.num_replicas_in_sync
    shared = f' ({train_config.batch_size // replicas} for each of {replicas} devices)' if replicas > 1 else ''
    _LOGGER.info(
        '%s, %.2f M parameters to train, %s steps, batch of %d%s, %s',
        devices.describe(strategy, num_workers=workers.count),
        state.parameter_count() / 1e6,
        train_config.num_steps or 'endless',
        train_config.batch_size,
        shared,
        per_epoch,
    )
