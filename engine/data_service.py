"""Batches from a tf.data service (arXiv:2210.14826), in the order and with the content that they have without one.

Workers of the service are handed numbers of batches one by one (dynamic sharding), make them in any order and at any
pace, and this process puts them in order again. A batch that does not come, because its worker is lost, is made here.
"""

from __future__ import annotations

import itertools
import logging
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from core.errors import UsageError
from engine import checkpoints
from inputs.data_errors import PIPELINE_ERRORS

_LOGGER = logging.getLogger(__name__)

Batch = Mapping[str, Any]

_CONNECT_SECONDS = 10
# A batch is made here when this many later ones are there, or nothing came for so long.
_MOST_WAITING = 32
_PATIENCE_SECONDS = 60.0


def batches(
    numbered: Callable[..., tf.data.Dataset], address: str, *, first: int, patience_seconds: float = _PATIENCE_SECONDS
) -> Iterator[Batch]:
    """The batches of numbers `first`, `first` + 1, ... without end.

    Args:
      numbered: called with `first`, gives (number, batch) from that number on, see `TrainingRecords.numbered_batches`.
      address: of the dispatcher, `host:port`.
      patience_seconds: a batch that has not come for so long is made here.

    Raises what is wrong with records as reading them here does.
    """
    service = tf.data.experimental.service.distribute(
        processing_mode=tf.data.experimental.service.ShardingPolicy.DYNAMIC, service=f'grpc://{address}'
    )
    served = _Served(numbered(first=first).apply(service))
    try:
        yield from _in_order(numbered, served, first, patience_seconds)
    finally:
        served.stop()


def _in_order(
    numbered: Callable[..., tf.data.Dataset], served: _Served, first: int, patience_seconds: float
) -> Iterator[Batch]:
    waiting: dict[int, Batch] = {}
    made_here: set[int] = set()
    for number in itertools.count(first):
        while number not in waiting and len(waiting) < _MOST_WAITING:
            try:
                came = served.next(patience_seconds)
            except queue.Empty:
                break
            if isinstance(came, Exception):
                # Of a batch further on, maybe; made here in order, the one that is damaged is found in its place.
                _LOGGER.warning('the tf.data service failed (%s); reading here instead', checkpoints.first_line(came))
                yield from (batch for _, batch in numbered(first=number))
                return
            if came[0] not in made_here:
                waiting[came[0]] = came[1]
        if number not in waiting:
            _LOGGER.warning('batch %d did not come from the tf.data service; it is made here', number)
            made_here.add(number)
            waiting[number] = next(iter(numbered(first=number).take(1)))[1]
        yield waiting.pop(number)


class _Served:
    """Fetches (number, batch) in a thread of its own, a few ahead."""

    def __init__(self, dataset: tf.data.Dataset):
        self._queue: queue.Queue[tuple[int, Batch] | Exception] = queue.Queue(maxsize=4)
        self._stopped = threading.Event()
        threading.Thread(target=self._fetch, args=(dataset,), daemon=True).start()

    def next(self, seconds: float) -> tuple[int, Batch] | Exception:
        """The next that comes, or the error that ended it; queue.Empty if nothing does for so long."""
        return self._queue.get(timeout=seconds)

    def stop(self) -> None:
        """Nothing is fetched any more."""
        self._stopped.set()

    def _fetch(self, dataset: tf.data.Dataset) -> None:
        try:
            for number, batch in dataset:
                self._put((int(number), batch))
                if self._stopped.is_set():
                    return
        except PIPELINE_ERRORS as error:
            self._put(error)

    def _put(self, item: tuple[int, Batch] | Exception) -> None:
        while not self._stopped.is_set():
            try:
                return self._queue.put(item, timeout=1)
            except queue.Full:
                continue


def check(address: str) -> None:
    """UsageError unless somebody listens at `address`."""
    place = 'train_input_reader.tf_data_service'
    host, _, port = address.rpartition(':')
    if not host or not port.isdecimal():
        raise UsageError(f'{place}: got {address!r}, write host:port')
    try:
        socket.create_connection((host.strip('[]'), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f'{place}: nobody answers at {address} ({error}); start the service, see docs/distributed.md, or remove '
            'the field'
        ) from error
