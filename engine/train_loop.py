"""The outer loop: plain Python around the compiled step, which waits for the device only to log, draw or save."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from core import fields
from core.errors import CheckpointError, DataError
from engine import checkpoints, metrics_log
from engine.interruption import Interruption
from engine.metrics_log import MetricsLog
from engine.progress import Progress
from engine.step_records import NotFiniteError, StepRecords, file_names
from engine.summaries import PicturePanels, Summaries
from engine.train_evaluation import SharedEvaluation, TrainEvaluation
from engine.train_state import TrainState
from engine.workers import Workers

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pace:
    """How often the loop does what costs time, and when it ends.

    Attributes:
      num_steps: the last step; 0 = none.
      log_every: steps between two lines of metrics.
      summary_every: steps between two TensorBoard summaries.
      save_every: steps between two checkpoints; 0 = by time only.
      save_seconds: seconds between two checkpoints.
      max_to_keep, keep_every_n_hours: see `checkpoints.rotate`.
    """

    num_steps: int
    log_every: int
    summary_every: int
    save_every: int
    save_seconds: float
    max_to_keep: int
    keep_every_n_hours: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class NotFinitePolicy:
    """What follows a loss or gradient that is not finite; with both bounds None, the run ends.

    Attributes:
      max_skipped_steps: `train_step` skips such steps; the run ends when there were more of them. None: it does not.
      max_rollbacks: the last good checkpoint is restored, and other batches are drawn; the run ends when that would
        happen more often. None: it does not.
    """

    max_skipped_steps: int | None = None
    max_rollbacks: int | None = None


# (first step, how often training was rolled back) -> the batches of that step and all later ones.
Batches = Callable[[int, int], Iterable[Mapping[str, Any]]]


class TrainLoop:
    """Runs steps and keeps `logdir` up to date.

    Args:
      logdir: directory of checkpoints, metrics and summaries.
      pace: how often.
      state: what the steps change.
      train_step: {image, label} per replica -> scalars on the device.
      local_results: per-replica value -> one value per replica.
      batch_size: examples per step.
      last_checkpoint: the one this run started from.
      panels: draws training examples; None for no pictures.
      measured: further values of each line of metrics.
      evaluation: scores the model now and then; None for never.
      not_finite: what follows a loss or gradient that is not finite.
      log_examples: write the file names of each step's batch, as far as this process sees it, into `examples.jsonl`.
      workers: the processes that train together. All of them run this loop; the chief alone writes the rest.
    """

    def __init__(
        self,
        *,
        logdir: str,
        pace: Pace,
        state: TrainState,
        train_step: Callable[[Mapping[str, Any]], Mapping[str, tf.Tensor]],
        local_results: Callable[[Any], Sequence[tf.Tensor]],
        batch_size: int,
        last_checkpoint: str | None,
        panels: PicturePanels | None,
        measured: Callable[[], Mapping[str, float]] = dict,
        evaluation: TrainEvaluation | SharedEvaluation | None = None,
        not_finite: NotFinitePolicy = NotFinitePolicy(),
        log_examples: bool = False,
        workers: Workers | None = None,
    ):
        self._logdir, self._pace, self._state = logdir, pace, state
        self._train_step, self._local_results, self._batch_size = train_step, local_results, batch_size
        self._last_checkpoint, self._panels = last_checkpoint, panels
        self._measured, self._evaluation, self._not_finite = measured, evaluation, not_finite
        self._first_step = self._step = int(state.step.numpy())
        self._logs_examples = log_examples
        self._workers = workers or Workers()
        self._open_logs()
        self._summaries = Summaries(logdir) if self._workers.is_chief else None
        self._progress = Progress(first_step=self._first_step, num_steps=pace.num_steps, shown=self._workers.is_chief)
        self._stop_asked = self._save_asked = False
        self._records = StepRecords()
        self._started = self._logged_at = self._saved_at = time.monotonic()
        self._logged_step = self._saved_step = self._summarized_step = self._written_step = self._first_step

    def _open_logs(self) -> None:
        """Lines of steps that are to be done again are dropped."""
        with self._writing():
            if self._workers.is_chief:
                self._metrics = MetricsLog(self._logdir, resumed_step=self._step)
            if self._logs_examples:
                filename = metrics_log.examples_of(self._workers.rank)
                self._examples = MetricsLog(self._logdir, resumed_step=self._step, filename=filename)

    def run(self, batches: Batches) -> int:
        """Steps until the last, a signal, or the end of `batches`; saves the last step and returns its number."""
        with Interruption() as interruption, self._progress:
            rolls_back = self._not_finite.max_rollbacks is not None
            if rolls_back and self._workers.from_chief(checkpoints.latest(self._logdir) is None):
                self._save()
            while True:
                try:
                    self._run_on(batches, interruption)
                    break
                except NotFiniteError as error:
                    self._roll_back(error)
        if self._stop_asked:
            _LOGGER.info(
                '%s: stopped after step %d, saved as %s; the same command goes on from there',
                interruption.requested or 'another worker was asked to end',
                self._step,
                self._last_checkpoint,
            )
        elif self._evaluation and (reason := self._evaluation.stop_reason()):
            _LOGGER.info(reason)
        return self._step

    def _run_on(self, batches: Batches, interruption: Interruption) -> None:
        try:
            if self._step:
                self._evaluate_if_due()
            for batch in () if self._is_over() else batches(self._step, self._state.rollbacks):
                self._one_step(batch, interruption)
                if self._stop_asked or self._is_over():
                    break
            else:
                if not self._is_over():
                    _LOGGER.info('the records ended at step %d', self._step)
        except DataError:
            self._finish()
            raise
        self._finish()

    def _roll_back(self, error: NotFiniteError) -> None:
        """Goes back to the last good checkpoint, or raises `error` where that is not wanted any more."""
        bound, rollbacks = self._not_finite.max_rollbacks, self._state.rollbacks
        if bound is None:
            raise error
        if rollbacks >= bound:
            raise NotFiniteError(
                f'{error}\nrolled back {rollbacks} times before (train_config.max_rollbacks)'
            ) from error
        path = self._newest_sound()
        if path is None:
            raise error
        _LOGGER.warning('%s\nrolled back to %s, time %d of at most %d', error, path, rollbacks + 1, bound)
        self._state.restore(path)
        self._state.rollbacks = rollbacks + 1
        self._last_checkpoint = path
        self._step = self._logged_step = self._saved_step = self._summarized_step = int(self._state.step.numpy())
        self._records = StepRecords()
        self._open_logs()
        self._progress.move_to(self._step)

    def _newest_sound(self) -> str | None:
        """As the chief finds it: another process might meanwhile see other files."""
        found = checkpoints.newest_sound(self._logdir) if self._workers.is_chief else None
        step = self._workers.from_chief(-1 if found is None else checkpoints.step_of(found) or 0)
        return None if step < 0 else checkpoints.path_of(self._logdir, step)

    def _is_over(self) -> bool:
        if 0 < self._pace.num_steps <= self._step:
            return True
        return self._evaluation is not None and self._evaluation.stop_reason() is not None

    def _evaluate_if_due(self) -> None:
        """Saves first, so that a kill during the evaluation costs the evaluation and not the steps before it."""
        if not self._evaluation or not self._evaluation.is_due(self._step):
            return
        self._log()
        if self._step > self._saved_step or not self._last_checkpoint:
            self._save()
        started = time.monotonic()
        scores = self._evaluation.scores(self._step, self._last_checkpoint or '')
        if self._workers.is_chief:
            with self._writing():
                self._metrics.merge(self._step, scores)
        self._logged_at += time.monotonic() - started

    def _finish(self) -> None:
        self._log()
        if self._step > self._saved_step:
            self._save()
        if self._summaries:
            self._summaries.close()

    def _one_step(self, batch: Mapping[str, Any], interruption: Interruption) -> None:
        scalars = self._train_step({name: batch[name] for name in (fields.IMAGE, fields.LABEL)})
        self._step += 1
        filenames = self._local_results(batch[fields.FILENAME]) if fields.FILENAME in batch else ()
        self._records.add(self._step, scalars, filenames)
        if self._logs_examples:
            with self._writing():
                self._examples.append(self._step, {'files': file_names(filenames)})
        self._progress.advance()
        if self._step == self._first_step + 1:
            self._first_step_done()
        if self._step % self._pace.log_every == 0:
            self._log()
        self._listen(interruption)
        if self._panels and self._step % self._pace.summary_every == 0:
            self._draw(self._panels, batch)
        if self._save_is_due():
            self._save()
        self._evaluate_if_due()

    def _listen(self, interruption: Interruption) -> None:
        """Is the run to end, or is it time to save? Several processes ask each other, now and then, and act alike."""
        asked, due = interruption.requested is not None, time.monotonic() - self._saved_at >= self._pace.save_seconds
        if self._workers.count == 1:
            self._stop_asked, self._save_asked = asked, due
        elif self._step % self._pace.log_every == 0:
            answers = self._workers.gather([asked, due])
            self._stop_asked, self._save_asked = bool(answers[:, 0].any()), bool(answers[0, 1])

    def _drain(self) -> None:
        """Waits for the device; counts the steps that were skipped, and ends the run when there were too many."""
        before = self._records.overflows
        self._state.skipped_steps += self._records.drain(self._last_checkpoint)
        self._state.overflow_steps += self._records.overflows - before
        bound = self._not_finite.max_skipped_steps
        if bound is not None and self._state.skipped_steps > bound:
            raise NotFiniteError(
                f'step {self._step}: {self._state.skipped_steps} steps were skipped because a loss or gradient was not '
                f'finite, more than train_config.max_skipped_steps = {bound}; last good checkpoint: '
                f'{self._last_checkpoint or "none yet"}; lower the learning rate, or check the files in the warnings'
            )

    def _first_step_done(self) -> None:
        """Waits for the step that was compiled, so that speeds and times left are those of later ones."""
        self._drain()
        self._logged_at, self._logged_step = time.monotonic(), self._step
        self._progress.first_step_done()
        _LOGGER.info('first step compiled and run in %.1f s', self._logged_at - self._started)

    def _log(self) -> None:
        self._drain()
        means = self._records.take_means()
        if not means and (not self._counts() or self._step == self._written_step):
            return
        now = time.monotonic()
        values = {**means, **self._speed(now), **self._counts(), **self._measured()}
        self._progress.show(self._step, values)
        if self._summaries:
            self._write(values, self._summaries)
        self._written_step = self._step
        self._logged_at, self._logged_step = now, self._step

    def _speed(self, now: float) -> dict[str, float]:
        """Of the steps since the last line; none where that was only the one that was compiled."""
        steps = self._step - self._logged_step
        return {'images_per_second': steps * self._batch_size / max(now - self._logged_at, 1e-9)} if steps else {}

    def _write(self, values: Mapping[str, float], summaries: Summaries) -> None:
        with self._writing():
            self._metrics.append(self._step, values)
            if self._step - self._summarized_step >= self._pace.summary_every or self._step == self._pace.num_steps:
                summaries.scalars(self._step, values)
                self._summarized_step = self._step

    def _counts(self) -> dict[str, int]:
        """What the policy for values that are not finite has done so far, in all processes of this training."""
        counts = {}
        if self._state.loss_scale:
            counts['overflow_steps'] = self._state.overflow_steps
        if self._not_finite.max_skipped_steps is not None:
            counts['skipped_steps'] = self._state.skipped_steps
        if self._not_finite.max_rollbacks is not None:
            counts['rollbacks'] = self._state.rollbacks
        return counts

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One line for what the file system refuses: what is kept, and what to do."""
        try:
            yield
        except (CheckpointError, OSError, tf.errors.OpError) as error:
            if not tf.io.gfile.isdir(self._logdir):
                raise CheckpointError(
                    f'{self._logdir}: the log directory is gone, removed while training; ended after step {self._step}'
                ) from error
            # A checkpoint whose index is there is whole, also where what is written after it was refused.
            kept = checkpoints.latest(self._logdir) or self._last_checkpoint or 'none yet'
            raise CheckpointError(
                f'{self._logdir}: step {self._step}: {checkpoints.first_line(error)}; last good checkpoint: {kept}; '
                'make room, or the folder writable, and run the same command'
            ) from error

    def _draw(self, panels: PicturePanels, batch: Mapping[str, Any]) -> None:
        image, label = (self._local_results(batch[name])[0] for name in (fields.IMAGE, fields.LABEL))
        if self._summaries:
            drawn = panels.draw(image, label)
            with self._writing():
                self._summaries.pictures(self._step, drawn)

    def _save_is_due(self) -> bool:
        by_step = self._pace.save_every and self._step % self._pace.save_every == 0
        return bool(by_step) or self._save_asked

    def _save(self) -> None:
        """Checks first: a checkpoint of weights that are not finite would be worth less than none."""
        self._drain()
        if wrong := self._state.not_finite():
            raise NotFiniteError(
                f'step {self._step}: {len(wrong)} variables are not finite, {wrong[0]} for one; last good checkpoint: '
                f'{self._last_checkpoint or "none yet"}; lower the learning rate, or add gradient_clipping_norm'
            )
        if self._workers.is_chief:
            self._write_checkpoint()
        self._last_checkpoint = checkpoints.path_of(self._logdir, self._step)
        self._saved_at, self._saved_step, self._save_asked = time.monotonic(), self._step, False

    def _write_checkpoint(self) -> None:
        with self._writing():
            if not tf.io.gfile.isdir(self._logdir):
                raise CheckpointError(f'{self._logdir}: no such directory')
            checkpoints.save(self._logdir, self._step, self._state.tensors())
            checkpoints.rotate(
                self._logdir, max_to_keep=self._pace.max_to_keep, keep_every_n_hours=self._pace.keep_every_n_hours
            )
