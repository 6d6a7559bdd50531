"""What the terminal shows of a training: a bar, or one line per log interval where there is no terminal."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Mapping

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

_LOGGER = logging.getLogger(__name__)


class Progress:
    """A context manager around the loop.

    Args:
      first_step: steps finished before this run.
      num_steps: the last step; 0 = no end.
      shown: False shows nothing.
    """

    def __init__(self, *, first_step: int, num_steps: int, shown: bool = True):
        self._first_step, self._num_steps, self._shown = first_step, num_steps, shown
        self._terminal = sys.stderr.isatty()
        self._redirect = logging_redirect_tqdm()
        self._started = time.monotonic()

    def __enter__(self) -> Progress:
        self._redirect.__enter__()
        self._bar = tqdm(
            initial=self._first_step,
            total=self._num_steps or None,
            unit='step',
            disable=not (self._terminal and self._shown),
            dynamic_ncols=True,
            smoothing=0.05,
        )
        return self

    def __exit__(self, *exception) -> None:
        self._bar.close()
        self._redirect.__exit__(*exception)

    def advance(self) -> None:
        """One step was handed to the device."""
        self._bar.update()

    def first_step_done(self) -> None:
        """The compiled step exists; the time until here does not count for the time left."""
        self._started = time.monotonic()

    def move_to(self, step: int) -> None:
        """Training goes on from `step`, an earlier one."""
        self._bar.n = step
        self._bar.refresh()

    def show(self, step: int, values: Mapping[str, float]) -> None:
        """The newest `total_loss`, `learning_rate` and `images_per_second`, which the first step does not have."""
        loss, rate = (values.get(key, math.nan) for key in ('total_loss', 'learning_rate'))
        speed = values.get('images_per_second')
        said = f'loss {loss:.4g}, learning rate {rate:.3g}' + ('' if speed is None else f', {speed:.3g} images/s')
        self._bar.set_postfix_str(said)
        if self._shown and not self._terminal:
            of = f'/{self._num_steps}' if self._num_steps else ''
            _LOGGER.info('step %d%s: %s%s', step, of, said, self._time_left(step))

    def _time_left(self, step: int) -> str:
        done = step - self._first_step - 1
        if not self._num_steps or done < 1:
            return ''
        seconds = (time.monotonic() - self._started) / done * (self._num_steps - step)
        return f', {tqdm.format_interval(seconds)} left'
