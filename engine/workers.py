"""The processes of one training: which of them writes, what they decide together, and what happens when one is lost.

Every process calls each method at the same place of the training, with the same number of values.
"""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from core.errors import UsageError, UserError
from engine import checkpoints
from engine.cluster import VARIABLE, Cluster

# What operations raise whose other end is gone: which of them depends on what they were doing.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
# The same, of NVIDIA's library; without its name these are failures of this machine.
_LOST_IF_NCCL = (tf.errors.InternalError, tf.errors.UnknownError)
_REASON = re.compile(
    r'stopped sending heartbeats|connection (?:reset by peer|refused)|socket closed|broken pipe|timed? ?out|'
    r'failed to connect to all addresses|(?:barrier|register)[^.\n]*',
    re.IGNORECASE,
)


class WorkerLostError(UserError):
    """Another process of this training is gone, so it cannot go on. Exit code 1."""


class Workers:
    """This process among those that train together, or alone.

    Args:
      cluster: None for one process.
      strategy: None for one process.

    Attributes:
      count: processes.
      rank: of this one, from 0 on.
      name: `worker 1 of 2`.
    """

    def __init__(self, cluster: Cluster | None = None, strategy: tf.distribute.Strategy | None = None):
        self._strategy = strategy
        self.count, self.rank = (cluster.num_workers, cluster.rank) if cluster else (1, 0)
        self.name = cluster.name if cluster else 'worker 0 of 1'

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what a training leaves: checkpoints, metrics, summaries."""
        return self.rank == 0

    def gather(self, values: Sequence[int]) -> np.ndarray:
        """int64 [count, n]: the n values of every process, by rank."""
        rows = np.zeros([self.count, len(values)], np.int64)
        rows[self.rank] = values
        if self.count == 1:
            return rows
        assert self._strategy is not None
        return np.asarray(self._strategy.reduce('SUM', tf.constant(rows), axis=None))

    def from_chief(self, value: int) -> int:
        """The chief's value."""
        return int(self.gather([value])[0, 0])

    def check_alike(self, content: bytes, what: str) -> None:
        """UsageError, in every process, unless `content`, which is called `what`, is the same in all of them."""
        found = self.gather([zlib.crc32(content)])[:, 0]
        others = [rank for rank in range(self.count) if found[rank] != found[0]]
        if others:
            raise UsageError(
                f'{self.name}: {what} of worker {others[0]} is not that of worker 0; start every worker with the same '
                f'config, flags and devices (only task.index in {VARIABLE} differs)'
            )

    @contextlib.contextmanager
    def watched(self, logdir: str) -> Iterator[None]:
        """Turns the errors of operations whose other end is gone into one WorkerLostError that says how to go on."""
        try:
            yield
        except (*_LOST, *_LOST_IF_NCCL) as error:
            if self.count == 1 or (isinstance(error, _LOST_IF_NCCL) and 'nccl' not in error.message.lower()):
                raise
            raise WorkerLostError(
                f'{self.name}: another worker is gone ({_reason(error)}); the last checkpoint is '
                f'{checkpoints.latest(logdir) or "none yet"}; run the same command on every worker to go on, with any '
                f'number of workers in {VARIABLE}'
            ) from error


def _reason(error: tf.errors.OpError) -> str:
    """Of a message of many lines, the one that says what happened to the other end."""
    found = _REASON.search(error.message)
    return found[0].strip() if found else type(error).__name__.removesuffix('Error').lower()
