"""Intervals by a Poisson bootstrap: one pass over the images, memory that does not grow with their number.

The bootstrap of Efron (1979) draws n units of n with replacement; each unit is then drawn a Binomial(n, 1/n) number of
times, in the limit Poisson(1), independently of all other units. Drawing these numbers directly gives the same
intervals for ratios of sums and needs neither n nor the units kept (Hanley and MacGibbon 2006, doi:10.1016/
j.cmpb.2006.04.006; Chamandy et al. 2012, "Estimating uncertainty for massive data streams").

The draws of a unit come from a hash of the seed and its name alone. So they do not depend on the order of the images,
and two evaluations of the same images are resampled alike: differences between them are paired.

An interval lies between two percentiles of the resampled scores. For n units they are those of level
Phi(sqrt(n / (n - 1)) t), t the quantile of Student's distribution with n - 1 degrees of freedom, instead of Phi(z):
plain percentiles are too narrow for few units (Hesterberg 2015, doi:10.1080/00031305.2015.1089789, section 5.3). BCa
(Efron 1987) was tried too: on simulated images it covered the true mean IoU and rare classes less often.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from scipy import special

LEVEL = 0.95
METHOD = 'Poisson bootstrap, percentiles widened for the number of units'
_BUFFERED = 64
# Upper ends of Poisson(1) = 0, 1, 2, ... on the scale of 32 random bits.
_STEPS = np.floor(special.pdtr(np.arange(12), 1.0) * 2**32).astype(np.uint64)


def poisson_draws(name: str, *, num_samples: int, seed: int) -> np.ndarray:
    """How often the unit `name` is in each resample: Poisson(1), uint8 [num_samples]; the same on every machine."""
    digest = hashlib.blake2b(f'{seed}:{name}'.encode(), digest_size=16).digest()
    bits = np.random.Philox(key=np.frombuffer(digest, '<u8')).random_raw((num_samples + 1) // 2)
    halves = np.concatenate([bits & 0xFFFFFFFF, bits >> 32])[:num_samples]
    return np.searchsorted(_STEPS, halves, side='right').astype(np.uint8)


class Bootstrap:
    """Sums of columns over the units, resampled.

    Args:
      num_samples: R, resamples.
      seed: of all draws.
    """

    def __init__(self, *, num_samples: int, seed: int):
        if num_samples < 1:
            raise ValueError(f'num_samples must be 1 or more, got {num_samples}')
        self.num_samples, self.seed = num_samples, seed
        self._widths: dict[str, int] = {}
        self._rows: list[np.ndarray] = []
        self._draws: list[np.ndarray] = []
        self._sums: np.ndarray | None = None

    def add(self, unit: str, columns: Mapping[str, np.ndarray]) -> None:
        """Adds one image.

        Args:
          unit: its own name, or that of its group: images of one unit are drawn together.
          columns: name -> numbers [K]; the same names and K in every call.
        """
        widths = {name: len(values) for name, values in columns.items()}
        if self._widths and widths != self._widths:
            raise ValueError(f'columns are {widths}, before they were {self._widths}')
        self._widths = widths
        self._rows.append(np.concatenate([np.asarray(values, np.float64) for values in columns.values()]))
        self._draws.append(poisson_draws(unit, num_samples=self.num_samples, seed=self.seed))
        if len(self._rows) == _BUFFERED:
            self._flush()

    def sums(self) -> dict[str, np.ndarray]:
        """Each column's sum in each resample, float64 [R, K]."""
        self._flush()
        if self._sums is None:
            raise ValueError('no image was added')
        ends = np.cumsum(list(self._widths.values()))[:-1]
        return dict(zip(self._widths, np.split(self._sums, ends, axis=1), strict=True))

    def _flush(self) -> None:
        if not self._rows:
            return
        sums = np.stack(self._draws, 1).astype(np.float64) @ np.stack(self._rows)
        self._sums = sums if self._sums is None else self._sums + sums
        self._rows, self._draws = [], []


def interval(samples: np.ndarray, *, num_units: int, level: float = LEVEL) -> np.ndarray:
    """The interval of each score, float64 [2, ...]: lower and upper ends; NaN for a score that is never defined.

    Args:
      samples: resampled scores [R, ...]; NaN where undefined, such resamples do not count.
      num_units: images or groups, 2 or more.
      level: share of such intervals that hold the true score.
    """
    if num_units < 2:
        raise ValueError(f'an interval needs 2 units or more, got {num_units}')
    quantile = special.stdtrit(num_units - 1, (1 + level) / 2) * np.sqrt(num_units / (num_units - 1))
    tail = special.ndtr(-quantile)
    flat = samples.reshape(len(samples), -1)
    ends = np.full((2, flat.shape[1]), np.nan)
    undefined = np.isnan(flat)
    partly = undefined.any(0)
    ends[:, ~partly] = np.quantile(flat[:, ~partly], [tail, 1 - tail], axis=0)
    for column in np.flatnonzero(partly):
        defined = flat[~undefined[:, column], column]
        if defined.size:
            ends[:, column] = np.quantile(defined, [tail, 1 - tail])
    return ends.reshape(2, *samples.shape[1:])
