"""The outer loop: plain Python around the compiled step, which waits for the device only to log, draw or save."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from core import fields
from core.errors import DataError
from engine import checkpoints
from engine.interruption import Interruption
from engine.metrics_log import MetricsLog
from engine.progress import Progress
from engine.step_records import StepRecords
from engine.summaries import PicturePanels, Summaries
from engine.train_state import TrainState

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
    ):
        self._logdir, self._pace, self._state = logdir, pace, state
        self._train_step, self._local_results, self._batch_size = train_step, local_results, batch_size
        self._last_checkpoint, self._panels, self._measured = last_checkpoint, panels, measured
        self._first_step = self._step = int(state.step.numpy())
        self._metrics = MetricsLog(logdir, resumed_step=self._first_step)
        self._summaries = Summaries(logdir)
        self._progress = Progress(first_step=self._first_step, num_steps=pace.num_steps)
        self._records = StepRecords()
        self._started = self._logged_at = self._saved_at = time.monotonic()
        self._logged_step = self._saved_step = self._summarized_step = self._first_step

    def run(self, batches: Iterable[Mapping[str, Any]]) -> int:
        """Steps until the last, a signal, or the end of `batches`; saves the last step and returns its number."""
        with Interruption() as interruption, self._progress:
            try:
                for batch in batches:
                    self._one_step(batch)
                    if interruption.requested or self._step == self._pace.num_steps:
                        break
                else:
                    _LOGGER.info('the records ended at step %d', self._step)
            except DataError:
                self._finish()
                raise
            self._finish()
        if interruption.requested:
            _LOGGER.info(
                '%s: stopped after step %d, saved as %s; the same command goes on from there',
                interruption.requested,
                self._step,
                self._last_checkpoint,
            )
        return self._step

    def _finish(self) -> None:
        self._log()
        if self._step > self._saved_step:
            self._save()
        self._summaries.close()

    def _one_step(self, batch: Mapping[str, Any]) -> None:
        scalars = self._train_step({name: batch[name] for name in (fields.IMAGE, fields.LABEL)})
        self._step += 1
        filenames = self._local_results(batch[fields.FILENAME]) if fields.FILENAME in batch else ()
        self._records.add(self._step, scalars, filenames)
        self._progress.advance()
        if self._step == self._first_step + 1:
            self._first_step_done()
        if self._step % self._pace.log_every == 0:
            self._log()
        if self._panels and self._step % self._pace.summary_every == 0:
            self._draw(self._panels, batch)
        if self._save_is_due():
            self._save()

    def _first_step_done(self) -> None:
        """Waits for the step that was compiled, so that speeds and times left are those of later ones."""
        self._records.drain(self._last_checkpoint)
        self._logged_at, self._logged_step = time.monotonic(), self._step
        self._progress.first_step_done()
        _LOGGER.info('first step compiled and run in %.1f s', self._logged_at - self._started)

    def _log(self) -> None:
        self._records.drain(self._last_checkpoint)
        means = self._records.take_means()
        if not means:
            return
        now = time.monotonic()
        steps = self._step - self._logged_step
        seconds = now - (self._logged_at if steps else self._started)
        speed = {'images_per_second': max(steps, 1) * self._batch_size / max(seconds, 1e-9)}
        values = {**means, **speed, **self._measured()}
        self._metrics.append(self._step, values)
        self._progress.show(self._step, values)
        if self._step - self._summarized_step >= self._pace.summary_every or self._step == self._pace.num_steps:
            self._summaries.scalars(self._step, values)
            self._summarized_step = self._step
        self._logged_at, self._logged_step = now, self._step

    def _draw(self, panels: PicturePanels, batch: Mapping[str, Any]) -> None:
        image, label = (self._local_results(batch[name])[0] for name in (fields.IMAGE, fields.LABEL))
        self._summaries.pictures(self._step, panels.draw(image, label))

    def _save_is_due(self) -> bool:
        by_step = self._pace.save_every and self._step % self._pace.save_every == 0
        return bool(by_step) or time.monotonic() - self._saved_at >= self._pace.save_seconds

    def _save(self) -> None:
        """Checks first: a checkpoint of weights that are not finite would be worth less than none."""
        self._records.drain(self._last_checkpoint)
        self._last_checkpoint = checkpoints.save(self._logdir, self._step, self._state.tensors())
        checkpoints.rotate(
            self._logdir, max_to_keep=self._pace.max_to_keep, keep_every_n_hours=self._pace.keep_every_n_hours
        )
        self._saved_at, self._saved_step = time.monotonic(), self._step
