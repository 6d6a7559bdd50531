"""How fast a network loses accuracy when a group of layers loses filters, and how many each may lose for that."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

# Breaks ties of groups whose loss stays flat: so much mIoU per share of filters.
_LEAST_SLOPE = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """Of one group of layers.

    Attributes:
      layers: scopes of the layers that make the group's channels.
      shares: of its channels that were removed, rising, in (0, 1).
      losses: mIoU of the whole network minus mIoU without them, in -1..1.
      all_lost: what is lost with the last channel: the network's mIoU.
    """

    layers: tuple[str, ...]
    shares: Sequence[float]
    losses: Sequence[float]
    all_lost: float

    def removable(self, loss: float) -> float:
        """The largest share in [0, 1] that costs at most `loss`: between measurements by straight lines.

        More filters never cost less here, whatever noise says, and always a little.
        """
        shares = np.array([0.0, *self.shares, 1.0])
        rising = np.maximum.accumulate([0.0, *self.losses, self.all_lost])
        return float(np.interp(loss, rising + _LEAST_SLOPE * shares, shares))


def wanted(curves: Sequence[Curve], sizes: Sequence[int], number: int) -> list[float]:
    """How many channels each group keeps, where all may lose the same mIoU and `number` are kept in all.

    Groups keep more the faster mIoU falls with them; `sizes` are those of the whole network. Not rounded.
    """
    low, high = 0.0, max((curve.all_lost for curve in curves), default=0.0) + _LEAST_SLOPE + 1.0
    for _ in range(60):
        loss = (low + high) / 2
        kept = sum(size * (1 - curve.removable(loss)) for curve, size in zip(curves, sizes, strict=True))
        low, high = (loss, high) if kept > number else (low, loss)
    return [size * (1 - curve.removable(high)) for curve, size in zip(curves, sizes, strict=True)]


def check_shares(shares: Sequence[float]) -> bool:
    """Whether they rise within (0, 1)."""
    return bool(shares) and all(low < high for low, high in itertools.pairwise([0.0, *shares, 1.0]))
