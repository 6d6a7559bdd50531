"""Evaluation within a training: it keeps the best checkpoint, and tells when the scores no longer rise.

What was evaluated is read off the files: `<logdir>/evaluation/metrics-<step>.json`, as eval.py writes them, and
`<logdir>/best/best.json`. The checkpoint of a step is saved before its evaluation begins, so a run that is killed
anywhere goes on with exactly what is missing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from core.errors import DataError, UsageError
from engine import best_checkpoint, eval_results, inference
from engine.eval_lib import Evaluator
from engine.workers import Workers

_LOGGER = logging.getLogger(__name__)

DIRNAME = 'evaluation'
# Of these the lowest value is the best.
LOWER_IS_BETTER = ('cross_entropy', 'ece')
_LOGGED = ('mean_iou', 'mean_accuracy', 'pixel_accuracy', 'cross_entropy')


class TrainEvaluation:
    """Evaluates the model that is being trained, on its own variables.

    Args:
      evaluator: of the model that is trained.
      logdir: of the training; results go to `evaluation/` and `best/` in it.
      config_path: noted in the results.
      interval: steps between two evaluations.
      num_steps: the last step, which is evaluated too; 0 = none.
      best_metric: a number of `metrics.json`, keys inside others joined by dots: `class_iou.road`.
      patience: evaluations without a better one after which training ends; 0 = never.
      first_step: where the training stands; results of later steps, which will be done again, are removed.
      weights: entered while the model is evaluated: gives its variables the values to evaluate.
    """

    def __init__(
        self,
        *,
        evaluator: Evaluator,
        logdir: str,
        config_path: str,
        interval: int,
        num_steps: int,
        best_metric: str,
        patience: int,
        first_step: int,
        weights: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ):
        self._evaluator, self._config_path, self._weights = evaluator, config_path, weights
        self._directory = os.path.join(logdir, DIRNAME)
        self._best_directory = os.path.join(logdir, best_checkpoint.DIRNAME)
        self._interval, self._num_steps, self._patience = interval, num_steps, patience
        self._metric, self._sign = best_metric, -1 if best_metric.rpartition('.')[2] in LOWER_IS_BETTER else 1
        self._forget_after(first_step)
        self._best = best_checkpoint.read(self._best_directory)
        if self._best and self._best.metric != best_metric:
            _LOGGER.warning('%s is by %s; from now on by %s', self._best_directory, self._best.metric, best_metric)
            self._best = None
        if self._best:
            best_checkpoint.tidy(self._best_directory, self._best)
        if not eval_results.evaluated_steps(self._directory):
            self._try_out()

    def is_due(self, step: int) -> bool:
        """Whether the model is evaluated after `step`."""
        return _is_due(step, self._interval, self._num_steps)

    def scores(self, step: int, checkpoint: str) -> dict[str, float]:
        """Evaluates `step`, unless its results are there already, and keeps its checkpoint if it is the best.

        Args:
          step: the model's variables are those of this step.
          checkpoint: where they are saved.

        Returns:
          {`eval/<metric>`: value} for the log.
        """
        metrics = self._read(step)
        if metrics is None:
            restored = inference.Restored(path=checkpoint, step=step)
            with self._weights():
                evaluation = self._evaluator.evaluate(restored, eval_dir=self._directory)
            eval_results.write(
                evaluation, self._directory, label_map=self._evaluator.label_map, config_path=self._config_path
            )
            metrics = evaluation.metrics
        value = metric_value(metrics, self._metric)
        if value is not None and self._is_better(value):
            self._best = best_checkpoint.keep(
                self._best_directory, checkpoint, metric=self._metric, value=value, step=step
            )
        _LOGGER.info('step %d: %s %s%s', step, self._metric, _shown(value), self._compared(step))
        named = {name: metrics.get(name) for name in _LOGGED} | {self._metric: value}
        return {f'eval/{name}': value for name, value in named.items() if value is not None}

    def stop_reason(self) -> str | None:
        """One line if the patience is at its end, else None."""
        if not self._patience or self._best is None:
            return None
        later = [step for step in eval_results.evaluated_steps(self._directory) if step > self._best.step]
        if len(later) < self._patience:
            return None
        return (
            f'stopped early: no better {self._metric} than {_shown(self._best.value)} of step {self._best.step} in '
            f'{len(later)} evaluations (train_config.patience); its checkpoint is in {self._best_directory}'
        )

    def _try_out(self) -> None:
        """One example, before hours of training: can it be evaluated, and is there such a metric?"""
        trial = self._evaluator.evaluate(inference.Restored(path='', step=0), max_examples=1)
        metric_value(trial.metrics, self._metric)

    def _is_better(self, value: float) -> bool:
        return self._best is None or self._sign * value > self._sign * self._best.value

    def _compared(self, step: int) -> str:
        if self._best is None:
            return ''
        return (
            ', the best so far'
            if self._best.step == step
            else f'; best: {_shown(self._best.value)} of step ' + str(self._best.step)
        )

    def _read(self, step: int) -> dict[str, Any] | None:
        path = eval_results.path_of_step(self._directory, step)
        if not tf.io.gfile.exists(path):
            return None
        with tf.io.gfile.GFile(path) as file:
            try:
                return json.loads(file.read())
            except ValueError as error:
                raise DataError(f'{path}: not JSON ({error}); remove it, and the step is evaluated again') from error

    def _forget_after(self, step: int) -> None:
        for later in eval_results.evaluated_steps(self._directory):
            if later > step:
                tf.io.gfile.remove(eval_results.path_of_step(self._directory, later))


class SharedEvaluation:
    """An evaluation by the chief, as every process of a training sees it: all wait for it, and end when it says so.

    Args:
      workers: the processes.
      evaluation: the chief's; None in the others.
      interval, num_steps: see `TrainEvaluation`.
    """

    def __init__(self, workers: Workers, evaluation: TrainEvaluation | None, *, interval: int, num_steps: int):
        self._workers, self._evaluation = workers, evaluation
        self._interval, self._num_steps = interval, num_steps
        self._ends = False
        self._agree()

    def is_due(self, step: int) -> bool:
        """Whether the model is evaluated after `step`."""
        return _is_due(step, self._interval, self._num_steps)

    def scores(self, step: int, checkpoint: str) -> dict[str, float]:
        """See `TrainEvaluation.scores`; nothing in the other processes."""
        found = self._evaluation.scores(step, checkpoint) if self._evaluation else {}
        self._agree()
        return found

    def stop_reason(self) -> str | None:
        """One line if the patience is at its end, else None."""
        if not self._ends:
            return None
        return (self._evaluation.stop_reason() if self._evaluation else None) or 'stopped early, as the chief did'

    def _agree(self) -> None:
        self._ends = bool(self._workers.from_chief(bool(self._evaluation and self._evaluation.stop_reason())))


def _is_due(step: int, interval: int, num_steps: int) -> bool:
    return step > 0 and (step % interval == 0 or step == num_steps)


def metric_value(metrics: Mapping[str, Any], name: str) -> float | None:
    """The number called `name` in the content of `metrics.json`; None where it is undefined (null).

    Raises UsageError, with the names there are, if there is no such number.
    """
    numbers = dict(_numbers(metrics))
    if name not in numbers:
        raise UsageError(f'train_config.best_metric: got {name!r}, choose from {", ".join(sorted(numbers))}')
    return numbers[name]


def _numbers(metrics: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, float | None]]:
    """Every number and null of nested mappings, by its dotted name; what is in lists has no name."""
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f'{prefix}{key}.')
        elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            yield f'{prefix}{key}', None if value is None or math.isnan(value) else float(value)


def _shown(value: float | None) -> str:
    return 'undefined' if value is None else f'{value:.4f}'
