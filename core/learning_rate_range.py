"""What the losses of a sweep over learning rates say: smoothing, when to stop, and which rates to train with.

The learning rate range test of Smith (arXiv:1506.01186, section 3.3), read as fastai's `lr_find` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

# A smoothed loss so many times the lowest one ends a sweep: fastai's.
EXPLODED = 4.0


class SmoothedLoss:
    """An exponential moving average of losses, each value corrected for the start at 0, and the lowest one.

    Attributes:
      values: one for each loss so far.
    """

    def __init__(self, smoothing: float):
        if not 0 <= smoothing < 1:
            raise ValueError(f'smoothing must be in [0, 1), got {smoothing}')
        self._smoothing, self._sum = smoothing, 0.0
        self.values: list[float] = []

    def add(self, loss: float) -> None:
        self._sum = self._smoothing * self._sum + (1.0 - self._smoothing) * loss
        self.values.append(self._sum / (1.0 - self._smoothing ** (len(self.values) + 1)))

    def has_exploded(self) -> bool:
        """Whether the last value is not finite, or above `EXPLODED` times the lowest one."""
        last = self.values[-1] if self.values else 0.0
        return not np.isfinite(last) or last > EXPLODED * min(self.values, default=last)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suggestion:
    """Learning rates to train with.

    Attributes:
      steepest: where the smoothed loss falls fastest over the logarithm of the rate.
      minimum: where it is lowest.
      tenth_of_minimum: a tenth of that.
    """

    steepest: float
    minimum: float
    tenth_of_minimum: float

    @property
    def range(self) -> tuple[float, float]:
        """The lower and the higher of `steepest` and `tenth_of_minimum`."""
        return min(self.steepest, self.tenth_of_minimum), max(self.steepest, self.tenth_of_minimum)


def suggest(learning_rates: Sequence[float] | np.ndarray, losses: Sequence[float] | np.ndarray) -> Suggestion | None:
    """Reads the smoothed `losses` at ascending `learning_rates`; None if they never fall.

    The first tenth of the steps, where the average has little to go by, and the last 5, where the loss explodes, are
    left out; with fewer than 10 steps, or 2 left, nothing is said.
    """
    kept = slice(len(losses) // 10, len(losses) - 5)
    rates, values = np.asarray(learning_rates, float)[kept], np.asarray(losses, float)[kept]
    finite = np.isfinite(values)
    rates, values = rates[finite], values[finite]
    if len(losses) < 10 or len(values) < 2:
        return None
    slopes = np.diff(values) / np.diff(np.log(rates))
    if not slopes.min() < 0:
        return None
    minimum = float(rates[values.argmin()])
    return Suggestion(steepest=float(rates[slopes.argmin()]), minimum=minimum, tenth_of_minimum=minimum / 10)
