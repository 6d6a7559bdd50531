"""Batch norm's moving averages on several replicas: exchanged once a step, all together, instead of layer by layer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

Move = tuple[tf.Variable, tf.Tensor, float]


class SharedAverages:
    """Notes what layers want to move within `collected`, and moves all of it at its end.

    To be asked by the variable store before an average is moved. Every replica notes its own: their functions are
    traced in threads of their own.
    """

    def __init__(self):
        self._noted = threading.local()

    def note(self, variable: tf.Variable, value: tf.Tensor, decay: float) -> bool:
        """Whether the average will be moved later: `variable` -= (1 - `decay`) * (`variable` - mean of `value`s)."""
        noted: list[Move] | None = getattr(self._noted, 'moves', None)
        if noted is None:
            return False
        noted.append((variable, value, decay))
        return True

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        """To be entered in a replica around a forward pass; at its end values of all replicas are averaged."""
        self._noted.moves = []
        try:
            yield
            moves = self._noted.moves
        finally:
            del self._noted.moves
        _move(moves)


def _move(moves: list[Move]) -> None:
    replica = tf.distribute.get_replica_context()
    assert replica is not None
    if not moves:
        return
    means = replica.all_reduce(tf.distribute.ReduceOp.MEAN, [value for _, value, _ in moves])

    def update(strategy: tf.distribute.Strategy, *means: Any) -> None:
        for (variable, _, decay), mean in zip(moves, means, strict=True):
            strategy.extended.update(
                variable,
                lambda own, mean, decay=decay: own.assign_sub((own - mean) * (1.0 - decay)),
                args=(mean,),
                group=False,
            )

    replica.merge_call(update, args=tuple(means))
