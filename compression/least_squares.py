"""Ridge least squares on moments that are added up batch by batch: memory depends on the unknowns, not on the data."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """An affine map y = x @ weights + intercept, and how it does on the data that it was found on.

    Attributes:
      weights: float64 [inputs, outputs].
      intercept: float64 [outputs]; 0 where none was asked for.
      mean, variance: float64 [outputs], of x @ weights; the variance is not corrected for the sample size.
      error, prior_error: mean squared error over that of the best constant, of this map and of the prior's weights with
        its own best intercept; above 1 is worse than a constant.
    """

    weights: np.ndarray
    intercept: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    error: float
    prior_error: float


class NormalEquations:
    """Sums of products of inputs and targets, in float64 around the first batch's means, so that few digits cancel."""

    def __init__(self) -> None:
        self._count = 0
        self._shift: tuple[np.ndarray, np.ndarray] | None = None
        self._sums: list[np.ndarray] = []

    def add(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        """Takes rows of inputs [n, inputs] and targets [n, outputs], one or more."""
        if self._shift is None:
            self._shift = inputs.mean(0), targets.mean(0)
        x, y = inputs - self._shift[0], targets - self._shift[1]
        terms = [x.sum(0, dtype=np.float64), y.sum(0, dtype=np.float64), x.T @ x, x.T @ y, np.square(y).sum(0)]
        if not self._sums:
            self._sums = [np.zeros(term.shape) for term in terms]
        for total, term in zip(self._sums, terms, strict=True):
            total += term
        self._count += len(inputs)

    def solve(self, prior: np.ndarray, *, ridge: float, intercept: bool) -> Solution:
        """The map of least mean squared error + ridge * v * |weights - prior|^2, v the inputs' mean variance.

        Args:
          prior: [inputs, outputs], what the weights are where the data does not say.
          ridge: 0 or more.
          intercept: whether the map may add a constant, which costs nothing; else inputs and targets are not centred.
        """
        assert self._shift is not None
        (x_shift, y_shift), count = self._shift, self._count
        x_sum, y_sum, xx, xy, yy = (total / count for total in self._sums)
        x_mean, y_mean = x_shift + x_sum, y_shift + y_sum
        xx, xy, yy = xx - np.outer(x_sum, x_sum), xy - np.outer(x_sum, y_sum), yy - y_sum * y_sum
        spread = float(yy.sum())
        covariance = xx
        if not intercept:
            xx = xx + np.outer(x_mean, x_mean)
            xy, yy = xy + np.outer(x_mean, y_mean), yy + y_mean * y_mean
        prior = prior.astype(np.float64)
        penalty = ridge * float(np.trace(covariance)) / len(xx)
        weights = prior + _solve(xx + penalty * np.eye(len(xx)), xy - xx @ prior)
        return Solution(
            weights=weights,
            intercept=y_mean - x_mean @ weights if intercept else np.zeros(len(y_mean)),
            mean=x_mean @ weights,
            variance=np.maximum(_quadratic(covariance, weights), 0.0),
            error=_relative(_missed(xx, xy, yy, weights), spread),
            prior_error=_relative(_missed(xx, xy, yy, prior), spread),
        )


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:  # inputs that never change, and no ridge
        return np.linalg.lstsq(matrix, right, rcond=None)[0]


def _quadratic(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.einsum('io,io->o', weights, matrix @ weights)


def _missed(xx: np.ndarray, xy: np.ndarray, yy: np.ndarray, weights: np.ndarray) -> float:
    return float((yy - 2.0 * np.einsum('io,io->o', weights, xy) + _quadratic(xx, weights)).sum())


def _relative(missed: float, spread: float) -> float:
    return max(missed, 0.0) / spread if spread > 0 else 0.0
