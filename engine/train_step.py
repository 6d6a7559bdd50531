"""One step of training as one compiled function; nothing of it waits for the host."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from core import fields
from core.model import SegmentationModel
from core.optimizers import LEARNING_RATE, Optimizer
from engine.distillation import Teacher
from engine.gradient_accumulation import AccumulatingStep
from engine.shared_averages import SharedAverages
from engine.train_state import TrainState
from recompute import backward
from recompute.forward import ForwardGraph
from recompute.plan import Plan, Planner

_LOGGER = logging.getLogger(__name__)

REGULARIZATION_LOSS = 'regularization_loss'
DISTILLATION_LOSS = 'distillation_loss'
TOTAL_LOSS = 'total_loss'
GRADIENT_NORM = 'gradient_norm'
SKIPPED = 'skipped'
LOSS_SCALE = 'loss_scale'
OVERFLOW = 'overflow'

Scalars = Mapping[str, tf.Tensor]


def make_train_step(
    *,
    model: SegmentationModel,
    optimizer: Optimizer,
    state: TrainState,
    strategy: tf.distribute.Strategy,
    add_regularization_loss: bool,
    num_parts: int = 1,
    planner: Planner | None = None,
    on_plan: Callable[[Plan], object] | None = None,
    skip_not_finite: bool = False,
    teacher: Teacher | None = None,
) -> Any:
    """The function {image, label} of one replica batch each -> scalars on the device.

    The scalars are each loss of the model (mean over replicas), `distillation_loss` with a `teacher`,
    `regularization_loss` when added, `total_loss`, the `learning_rate` used and the `gradient_norm` before clipping.
    Each call moves variables and slots once and adds 1 to `state.step`. Gradients are those of the mean over replicas
    of the total loss; a `planner` decides which activations are computed twice for them, which changes no number, and
    `on_plan` is told. With `num_parts` above 1 the batch is cut into so many parts: see `gradient_accumulation`.

    With `skip_not_finite` a step whose total loss or gradient norm is not finite, on any replica, leaves every variable
    and slot as it was, and only the step is counted; the scalar `skipped` is 1 then, else 0.

    With `state.loss_scale` the loss is scaled for its gradients. A step whose loss is finite and whose gradients are
    not moves no weight and no slot, but the scale, as long as that can fall: then the scalar `overflow` is 1, else 0,
    and it does not count as skipped. `loss_scale` is the one used.
    """
    step = _Step(
        model=model,
        optimizer=optimizer,
        state=state,
        strategy=strategy,
        add_regularization_loss=add_regularization_loss,
        num_parts=num_parts,
        planner=planner,
        on_plan=on_plan,
        skip_not_finite=skip_not_finite,
        teacher=teacher,
    )
    if num_parts > 1:
        if skip_not_finite:
            raise ValueError('a step in several parts cannot be skipped: batch norm has moved with the first part')
        return AccumulatingStep(
            model=model,
            trainable=state.trainable,
            strategy=strategy,
            num_parts=num_parts,
            gradients_of=step.gradients_of,
            apply=step.apply,
            finished=lambda scalars: step.finished(step.learning_rate(), scalars),
        )

    @tf.function(autograph=False, reduce_retracing=True)
    def train_step(batch: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        rate = step.learning_rate()
        with model.entered():
            scalars = _means(strategy, step.of_replica, batch)
        return {**scalars, **step.finished(rate, scalars)}

    return train_step


class _Step:
    """The pieces of a step, all of them traced; see `make_train_step` for the arguments."""

    def __init__(
        self,
        *,
        model: SegmentationModel,
        optimizer: Optimizer,
        state: TrainState,
        strategy: tf.distribute.Strategy,
        add_regularization_loss: bool,
        num_parts: int,
        planner: Planner | None,
        on_plan: Callable[[Plan], object] | None,
        skip_not_finite: bool,
        teacher: Teacher | None,
    ):
        self._model, self._optimizer, self._state = model, optimizer, state
        self._add_regularization_loss, self._teacher = add_regularization_loss, teacher
        self._planner, self._on_plan, self._skip_not_finite = planner, on_plan, skip_not_finite
        num_replicas = strategy.num_replicas_in_sync
        self._num_shares = num_replicas * num_parts
        self._averages_together: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
        if num_replicas > 1:
            shared = SharedAverages()
            model.note_averages(shared.note)
            self._averages_together = shared.collected
        held_back = skip_not_finite or state.loss_scale is not None
        self._gradients_wait = bool(optimizer.clipping_norm) or num_replicas > 1 or held_back

    def of_replica(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Losses, gradients and updates, in a replica -> the scalars."""
        averages = [variable.read_value() for variable in self._state.averages] if self._skip_not_finite else None
        gates: dict[int, tf.Operation] = {}
        losses, gradients = self.gradients_of(batch, gates)
        applied = _apply(self._optimizer, self._state, gradients, total_loss=losses[TOTAL_LOSS], averages=averages)
        if not self._gradients_wait:
            backward.spend_early(gradients.values(), gates)
        return {**losses, **applied}

    def gradients_of(
        self, batch: Mapping[str, tf.Tensor], gates: dict[int, tf.Operation] | None = None
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """(losses, gradients by name), in a replica; where there are several, each is a share of the mean's."""
        state, planner = self._state, self._planner
        variables = list(state.trainable.values())
        with self._averages_together():
            losses = _losses(self._model, batch, self._teacher, add_regularization_loss=self._add_regularization_loss)
        objective = losses[TOTAL_LOSS] / self._num_shares
        forward = ForwardGraph(state.loss_scale.scaled(objective) if state.loss_scale else objective)
        known = planner.plan if planner else None
        schedule = planner(forward, variables, gradients_wait=self._gradients_wait) if planner else None
        if planner and planner.plan and self._on_plan and planner.plan is not known:
            self._on_plan(planner.plan)
        gradients = _present(state, backward.gradients(forward, variables, schedule, gates=gates))
        return losses, gradients

    def apply(self, gradients: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Updates by the sums of all parts, in a replica."""
        return _apply(self._optimizer, self._state, gradients, total_loss=None, averages=None)

    def learning_rate(self) -> tf.Tensor:
        """Of the step that comes."""
        return self._optimizer.scalars(self._state.step)[LEARNING_RATE]

    def finished(self, learning_rate: tf.Tensor, scalars: Scalars) -> dict[str, tf.Tensor]:
        """Counts the step, moves the loss scale; outside of replicas."""
        used, state = {}, self._state
        if state.loss_scale:
            used[LOSS_SCALE] = state.loss_scale.scale.read_value()
            with tf.control_dependencies([used[LOSS_SCALE]]):
                state.loss_scale.move(scalars[OVERFLOW] > 0)
        state.step.assign_add(1)
        return {LEARNING_RATE: learning_rate, **used}


def _means(
    strategy: tf.distribute.Strategy, replica_step: Callable[..., Scalars], batch: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Each scalar of `replica_step`, the mean over replicas, which exchange all of them at once."""
    if strategy.num_replicas_in_sync == 1:
        return {name: strategy.reduce('MEAN', v, axis=None) for name, v in strategy.run(replica_step, (batch,)).items()}
    names: list[str] = []

    def together(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        scalars = replica_step(batch)
        names[:] = scalars
        return tf.stack(list(scalars.values()))

    means = strategy.reduce('MEAN', strategy.run(together, (batch,)), axis=None)
    return dict(zip(names, tf.unstack(means, len(names)), strict=True))


def _losses(
    model: SegmentationModel, batch: Mapping[str, tf.Tensor], teacher: Teacher | None, *, add_regularization_loss: bool
) -> dict[str, tf.Tensor]:
    predictions = model.predict(model.preprocess(batch[fields.IMAGE]), is_training=True)
    losses = dict(model.loss(predictions, batch[fields.LABEL]))
    if teacher:
        losses[DISTILLATION_LOSS] = teacher.loss(batch, predictions)
    if add_regularization_loss:
        losses[REGULARIZATION_LOSS] = model.regularization_loss()
    # Two at a time: the order of add_n's sum depends on which memory is free.
    losses[TOTAL_LOSS] = functools.reduce(tf.add, list(losses.values()))
    return losses


def _present(state: TrainState, gradients: list[tf.Tensor | None]) -> dict[str, tf.Tensor]:
    """The gradients by variable name; a variable that no loss depends on is named once and left alone."""
    by_name = dict(zip(state.trainable, gradients, strict=True))
    absent = sorted(name for name, gradient in by_name.items() if gradient is None)
    if absent:
        _LOGGER.warning('no loss depends on %d variables, they stay as they are: %s', len(absent), ', '.join(absent))
    return {name: tf.convert_to_tensor(gradient) for name, gradient in by_name.items() if gradient is not None}


def _apply(
    optimizer: Optimizer,
    state: TrainState,
    gradients: Mapping[str, tf.Tensor],
    *,
    total_loss: tf.Tensor | None,
    averages: list[tf.Tensor] | None,
) -> dict[str, tf.Tensor]:
    """Sums gradients over replicas, clips, updates every copy; returns the norm before clipping.

    On one replica and without clipping a variable is updated as soon as its gradient is there, which is then freed.
    Where `averages` are given, values of `state.averages` from before the forward pass, a step that is not finite puts
    them back instead of updating, and whether it did is returned too. With a loss scale it does not update either.
    """
    replica = tf.distribute.get_replica_context()
    assert replica is not None
    summed = list(gradients.values())
    if replica.num_replicas_in_sync > 1:  # even a sum of one would make each gradient wait for all
        summed = replica.all_reduce(tf.distribute.ReduceOp.SUM, summed)
    if state.loss_scale:
        summed = state.loss_scale.unscaled(summed)
    clipped, norm = optimizer.clip(summed)

    def update_all(strategy: tf.distribute.Strategy, *per_replica: Any) -> None:
        _update_all(optimizer, state, strategy, dict(zip(gradients, per_replica, strict=True)))

    if averages is None and state.loss_scale is None:
        replica.merge_call(update_all, args=tuple(clipped))
        return {GRADIENT_NORM: norm}
    sound_loss = tf.constant(True)
    if total_loss is not None:
        sound_loss = tf.math.is_finite(replica.all_reduce(tf.distribute.ReduceOp.SUM, total_loss))
    finite = tf.math.is_finite(norm) & sound_loss

    def update_or_not(strategy: tf.distribute.Strategy, finite: Any, averages: Any, *per_replica: Any) -> None:
        def update() -> tf.Tensor:
            update_all(strategy, *per_replica)
            return tf.constant(True)

        def put_back() -> tf.Tensor:
            for variable, before in zip(state.averages if averages else (), averages, strict=True):
                strategy.extended.update(variable, lambda v, value: v.assign(value), args=(before,), group=False)
            return tf.constant(False)

        tf.cond(strategy.experimental_local_results(finite)[0], update, put_back)

    replica.merge_call(update_or_not, args=(finite, averages or [], *clipped))
    return {GRADIENT_NORM: norm, **_verdict(state, finite, sound_loss, skips=averages is not None)}


def _update_all(
    optimizer: Optimizer, state: TrainState, strategy: tf.distribute.Strategy, gradients: Mapping[str, Any]
) -> None:
    """Moves every copy of each variable and its slots, outside of replicas."""
    scalars = optimizer.scalars(state.step)
    for name, gradient in gradients.items():
        own = optimizer.scalars_of(name, scalars)
        strategy.extended.update(
            state.trainable[name],
            lambda variable, gradient, *slots, own=own: optimizer.update(variable, gradient, slots, own),
            args=(gradient, *state.slots[name]),
            group=False,
        )


def _verdict(state: TrainState, finite: tf.Tensor, sound_loss: tf.Tensor, *, skips: bool) -> dict[str, tf.Tensor]:
    """Why a step moved nothing, as 0 or 1 each."""
    found, overflow = {}, tf.constant(False)
    if state.loss_scale:
        overflow = ~finite & sound_loss & state.loss_scale.can_fall()
        found[OVERFLOW] = tf.cast(overflow, tf.float32)
    if skips:
        found[SKIPPED] = tf.cast(~finite & ~overflow, tf.float32)
    return found
