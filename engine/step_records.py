"""The scalars of steps between two host syncs, and the check that they are finite."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from core.errors import UserError
from engine.train_step import GRADIENT_NORM, LEARNING_RATE, LOSS_SCALE, OVERFLOW, SKIPPED

_LOGGER = logging.getLogger(__name__)


class NotFiniteError(UserError):
    """A loss, gradient or weight became infinite or not a number: training cannot go on. Exit code 1."""


class StepRecords:
    """Collects what each step returned; `drain` is the only place where the host waits for the device.

    Attributes:
      overflows: steps so far whose gradients were too large for the loss scale, which has fallen since.
    """

    def __init__(self):
        self._on_device: list[tuple[int, Mapping[str, tf.Tensor], Sequence[tf.Tensor]]] = []
        self._values: list[dict[str, float]] = []
        self.overflows = 0

    def add(self, step: int, scalars: Mapping[str, tf.Tensor], filenames: Sequence[tf.Tensor]) -> None:
        """Remembers one step: its number, its scalars on the device, its file names [B] per replica."""
        self._on_device.append((step, scalars, filenames))

    def drain(self, last_checkpoint: str | None) -> int:
        """Fetches what is on the device; returns how many of these steps were skipped, each with a warning.

        NotFiniteError names the first other step whose scalars are not finite, with its losses and files.
        """
        pending, self._on_device = self._on_device, []
        skipped = 0
        for step, scalars, filenames in pending:
            values = {name: float(value) for name, value in scalars.items()}
            if values.pop(OVERFLOW, 0.0) and math.isfinite(sum(v for n, v in values.items() if n != GRADIENT_NORM)):
                values.pop(SKIPPED, None)
                self.overflows += 1
                _LOGGER.info('step %d: gradients overflow at loss scale %g, which is halved', step, values[LOSS_SCALE])
            elif values.pop(SKIPPED, 0.0):
                skipped += 1
                _LOGGER.warning('%s; the step is skipped', '; '.join(_what_happened(step, values, filenames)))
            elif all(map(math.isfinite, values.values())):
                self._values.append(values)
            else:
                raise NotFiniteError(_message(step, values, filenames, last_checkpoint))
        return skipped

    def take_means(self) -> dict[str, float]:
        """The mean of each scalar over the drained steps (of what is set, the last value), then forgets them."""
        values, self._values = self._values, []
        means = {name: float(np.mean([v[name] for v in values])) for name in values[0]} if values else {}
        last = {name: values[-1][name] for name in (LEARNING_RATE, LOSS_SCALE) if values and name in values[-1]}
        return {**means, **last}


def file_names(filenames: Sequence[tf.Tensor]) -> list[str]:
    """Of all replicas' examples, from strings [B] for each."""
    return [name.decode(errors='replace') for part in filenames for name in part.numpy().ravel().tolist()]


def _message(step: int, values: Mapping[str, float], filenames: Sequence[tf.Tensor], checkpoint: str | None) -> str:
    return '\n'.join(
        [
            *_what_happened(step, values, filenames),
            f'last good checkpoint: {checkpoint or "none yet"}',
            'lower the learning rate, add warmup or gradient_clipping_norm to train_config.optimizer, '
            'check those files, or see train_config.non_finite_policy',
        ]
    )


def _what_happened(step: int, values: Mapping[str, float], filenames: Sequence[tf.Tensor]) -> list[str]:
    names = file_names(filenames)
    return [
        f'step {step}: not finite: ' + ', '.join(f'{name} {value:.6g}' for name, value in values.items()),
        f'files of that batch: {", ".join(names) if names else "unknown"}',
    ]
