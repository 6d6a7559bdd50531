"""What training changes and a checkpoint holds: model variables, optimiser slots and the step."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import tensorflow as tf

from core.errors import CheckpointError
from core.model import SegmentationModel
from core.optimizers import Optimizer
from core.weight_averages import MOVING_AVERAGE
from engine import checkpoints, devices
from engine.loss_scale import LossScale
from engine.workers import Workers

_LOGGER = logging.getLogger(__name__)

_SKIPPED_STEPS = f'{checkpoints.TRAINING_PREFIX}skipped_steps'
_ROLLBACKS = f'{checkpoints.TRAINING_PREFIX}rollbacks'
_OVERFLOW_STEPS = f'{checkpoints.TRAINING_PREFIX}overflow_steps'
_LOSS_SCALE = f'{checkpoints.TRAINING_PREFIX}loss_scale'
_GOOD_STEPS = f'{checkpoints.TRAINING_PREFIX}loss_scale_good_steps'
_THREADS = f'{checkpoints.TRAINING_PREFIX}threads'
_REPLICAS = f'{checkpoints.TRAINING_PREFIX}replicas'
_NUMBERS = (_SKIPPED_STEPS, _ROLLBACKS, _OVERFLOW_STEPS, _THREADS, _REPLICAS)


class TrainState:
    """Variables of one training, to be made in the strategy's scope after `model.build()`.

    Args:
      loss_scale: of gradients in float16; None for none.

    Attributes:
      step: int64 variable, steps finished.
      variables: every variable of the model by name.
      trainable: those that gradients move, by name.
      slots: the optimiser's slot variables of each trainable variable, in the order of `optimizer.slot_names`.
      averages: variables that no gradient moves, but the forward pass may: batch norm's averages.
      skipped_steps: of all steps so far, those that moved nothing because something was not finite.
      rollbacks: how often training went back to a checkpoint because something was not finite.
      overflow_steps: of all steps so far, those that moved nothing because a gradient was too large for its scale.
    """

    def __init__(self, model: SegmentationModel, optimizer: Optimizer, *, loss_scale: LossScale | None = None):
        self.variables = model.variables_by_name()
        moved = {id(variable) for variable in model.trainable_variables}
        self.trainable = {name: variable for name, variable in self.variables.items() if id(variable) in moved}
        self.averages = [variable for name, variable in self.variables.items() if name not in self.trainable]
        if not self.trainable:
            raise ValueError('the model has no trainable variable')
        self.slots = {
            name: [_slot(variable, f'{name}/{slot}') for slot in optimizer.slot_names]
            for name, variable in self.trainable.items()
        }
        self.skipped_steps = self.rollbacks = self.overflow_steps = 0
        self.loss_scale = loss_scale
        self._num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._optimizer = optimizer
        self.start_slots()
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name=checkpoints.GLOBAL_STEP)

    def tensors(self) -> dict[str, tf.Variable | np.int64]:
        """Everything a checkpoint holds, by its name there."""
        numbers = {_SKIPPED_STEPS: self.skipped_steps, _ROLLBACKS: self.rollbacks, **self._made_with()}
        if self.loss_scale:
            numbers[_OVERFLOW_STEPS] = self.overflow_steps
        return {
            **self.variables,
            **self._named_slots(),
            **self._named_scale(),
            **{name: np.int64(number) for name, number in numbers.items()},
            checkpoints.GLOBAL_STEP: self.step,
        }

    def not_finite(self) -> list[str]:
        """Names of variables and slots that hold an infinite value or one that is not a number."""
        everything = {**self.variables, **self._named_slots()}
        return [
            name
            for name, variable in everything.items()
            if variable.dtype.is_floating and not bool(tf.reduce_all(tf.math.is_finite(variable)))
        ]

    def parameter_count(self) -> int:
        """Numbers that gradients move."""
        return sum(int(np.prod(variable.shape)) for variable in self.trainable.values())

    def start_slots(self, names: Collection[str] | None = None) -> None:
        """Gives slots their values before the first step, those of `names` (as in a checkpoint) or all.

        To be called again once the variables have got other first values: a moving average starts as the weight.
        """
        for name, slots in self.slots.items():
            for slot_name, slot in zip(self._optimizer.slot_names, slots, strict=True):
                if names is None or f'{name}/{slot_name}' in names:
                    slot.assign(self._optimizer.first_slot_value(slot_name, self.trainable[name]))

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the weights are their moving averages, which the optimiser must keep; then what they were."""
        index = self._optimizer.slot_names.index(MOVING_AVERAGE)
        weights = {name: variable.numpy() for name, variable in self.trainable.items()}
        try:
            for name, variable in self.trainable.items():
                variable.assign(self.slots[name][index])
            yield
        finally:
            for name, weight in weights.items():
                self.trainable[name].assign(weight)

    def restore(self, path: str) -> None:
        """Continues the checkpoint `path` of this same training.

        Slots it lacks (another optimiser before) start anew, with a warning. Raises CheckpointError if it is damaged,
        of another model, or without `global_step`.
        """
        reader = checkpoints.read(path)
        if checkpoints.GLOBAL_STEP not in reader.shapes:
            raise CheckpointError(f'{path}: no {checkpoints.GLOBAL_STEP}, so training cannot be resumed from it')
        checkpoints.restore_variables(self.variables, path, strict=True)
        slots = self._named_slots()
        stored = {name: slot for name, slot in slots.items() if list(slot.shape) == reader.shapes.get(name)}
        if len(stored) < len(slots):
            _LOGGER.warning(
                '%s: %d of %d optimiser slots are not in it (another optimiser before?); they start anew',
                path,
                len(slots) - len(stored),
                len(slots),
            )
            self.start_slots(set(slots) - set(stored))
        for name, slot in stored.items():
            slot.assign(reader.tensor(name))
        self.step.assign(int(reader.tensor(checkpoints.GLOBAL_STEP)))
        numbers = {name: int(reader.tensor(name)) for name in _NUMBERS if name in reader.shapes}
        self.skipped_steps, self.rollbacks = numbers.get(_SKIPPED_STEPS, 0), numbers.get(_ROLLBACKS, 0)
        self.overflow_steps = numbers.get(_OVERFLOW_STEPS, 0)
        for name, variable in self._named_scale().items():
            if name in reader.shapes:
                variable.assign(reader.tensor(name))
        for name, now in self._made_with().items():
            before = numbers.get(name, now)
            if before != now:
                _LOGGER.warning(
                    '%s: written with %d %s, this is a run with %d: sums are rounded differently, so the weights will '
                    'differ in their last bits from those of a run that was never stopped',
                    path,
                    before,
                    name.removeprefix(checkpoints.TRAINING_PREFIX),
                    now,
                )

    def _made_with(self) -> dict[str, int]:
        """What the order of sums, and so their last bits, depends on."""
        return {_THREADS: devices.num_threads(), _REPLICAS: self._num_replicas}

    def _named_scale(self) -> dict[str, tf.Variable]:
        return {_LOSS_SCALE: self.loss_scale.scale, _GOOD_STEPS: self.loss_scale.good_steps} if self.loss_scale else {}

    def _named_slots(self) -> dict[str, tf.Variable]:
        return {
            f'{name}/{slot_name}': slot
            for name, slots in self.slots.items()
            for slot_name, slot in zip(self._optimizer.slot_names, slots, strict=True)
        }


def resume(state: TrainState, directory: str, workers: Workers | None = None) -> str | None:
    """Restores the newest checkpoint of `directory` whose every byte reads well; None if there is none at all.

    A damaged one is reported, set aside, and the one before it is tried. The chief of several workers looks, all
    restore what it found. Raises CheckpointError if all are damaged, or if the newest sound one is of another model.
    """
    workers = workers or Workers()
    found = _newest(directory) if workers.is_chief else None
    step = workers.from_chief(-1 if found is None else checkpoints.step_of(found) or 0)
    if step < 0:
        return None
    path = checkpoints.path_of(directory, step)
    if not tf.io.gfile.exists(f'{path}.index'):
        raise CheckpointError(
            f'{path}: worker 0 goes on from it, but {workers.name} does not see it; --logdir must be one folder, which '
            'all workers share'
        )
    try:
        state.restore(path)
    except CheckpointError as error:
        raise CheckpointError(
            f'{error}\n{directory} holds another training: choose a new --logdir, or the config it was made with'
        ) from error
    return path


def _newest(directory: str) -> str | None:
    if not checkpoints.all_checkpoints(directory):
        return None
    try:
        return checkpoints.newest_sound(directory, damaged=checkpoints.set_aside)
    except CheckpointError as error:
        raise CheckpointError(f'{error}; choose a new --logdir') from error


def fine_tune(
    model: SegmentationModel, variables: Mapping[str, tf.Variable], path: str, kind: str, *, strict: bool = False
) -> checkpoints.RestoreReport:
    """Initial values from the checkpoint `path`; what does not fit keeps its own initial value.

    A checkpoint for RGB fits a model of other `input_channels`: `restore.inflate_kernel`.

    Args:
      kind: `classification` (slim ImageNet names: the backbone's without its scope), `segmentation`, or
        `segmentation-finetune`, which is the same without the final classifier under `Predictions`.
      strict: CheckpointError instead, with the list.
    """
    wanted = {
        'classification': model.classification_variables(),
        'segmentation': dict(variables),
        'segmentation-finetune': {n: variable for n, variable in variables.items() if not n.startswith('Predictions/')},
    }
    if kind not in wanted:
        raise ValueError(f'unknown kind of checkpoint: {kind!r}')
    try:
        return checkpoints.restore_variables(wanted[kind], path, strict=strict, input_channels=model.input_channels)
    except CheckpointError as error:
        other = 'segmentation' if kind == 'classification' else 'classification'
        if not _fits(wanted[other], path):
            raise
        raise CheckpointError(
            f'{path}: holds no {kind} checkpoint of this model but a {other} one; '
            f'set train_config.fine_tune_checkpoint_type: {other!r}'
        ) from error


def _fits(variables: Mapping[str, tf.Variable], path: str) -> bool:
    """Whether the checkpoint can be read and holds at least one of the variables."""
    try:
        return bool(checkpoints.compare(variables, checkpoints.read(path)).matched)
    except CheckpointError:
        return False


def _slot(variable: tf.Variable, name: str) -> tf.Variable:
    """Zeros beside `variable`; on each device where it has a copy."""
    return tf.Variable(tf.zeros(variable.shape, variable.dtype), trainable=False, name=name)
