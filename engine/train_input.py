"""The batches of a training: from any step on, and without damaged records where that is wanted."""

from __future__ import annotations

import functools
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from builders import input_builder
from core.errors import DataError
from engine import checkpoints, data_service
from engine.workers import Workers
from inputs import pipeline
from inputs.data_errors import PIPELINE_ERRORS
from inputs.record_framing import Damage
from protos.pipeline_pb2 import PipelineConfig

_LOGGER = logging.getLogger(__name__)

DatasetBuilder = Callable[..., tf.data.Dataset]

FILENAME = 'damaged_records.jsonl'
# Odd, so that its multiples are other seeds for a long time.
_OTHER_DRAW = 0x9E3779B1


class TrainInput:
    """What `train_input_reader` names, as distributed batches.

    Damaged records that are left out are listed in `<logdir>/damaged_records.jsonl`; those of an earlier run that are
    still damaged are left out from the start. Which batch a step sees does not depend on when the damage was found, so
    each of several processes can find it by itself.

    The batches of a step are the same however many replicas and processes share them: the first replica has the first
    examples. A process reads what its replicas get, and nothing else.

    Args:
      config: of the pipeline.
      strategy: whose replicas share a batch.
      logdir: of the training.
      build_dataset: called with (config, batch_size, seed, first_step) instead of reading records, for the batches of
        one replica after the other.
      workers: the processes that share a batch.

    Raises DataError as `pipeline.TrainingRecords` does, and for more damage than `train_config` allows.
    """

    def __init__(
        self,
        config: PipelineConfig,
        strategy: tf.distribute.Strategy,
        *,
        logdir: str,
        build_dataset: DatasetBuilder | None = None,
        workers: Workers | None = None,
    ):
        self._config, self._strategy, self._build_dataset = config, strategy, build_dataset
        self._workers = workers or Workers()
        self._logdir, self._path = logdir, os.path.join(logdir, _filename(self._workers.rank))
        self._left_out: dict[int, Damage] = {}
        self._records = None if build_dataset else input_builder.build_train_records(config)
        if config.train_input_reader.tf_data_service:
            data_service.check(config.train_input_reader.tf_data_service)
        if self._records:
            for damage in self._records.framing_damages:
                _LOGGER.warning('%s; left out', damage)
            self._leave_out_again(self._records)

    @property
    def num_damaged(self) -> int:
        """Records known to be damaged, which are left out."""
        framing = self._records.framing_damages if self._records else []
        return sum(damage.num_records for damage in [*framing, *self._left_out.values()])

    def counts(self) -> dict[str, int]:
        """For the log of metrics."""
        return {'damaged_records': self.num_damaged} if self._config.train_config.skip_damaged_records else {}

    def batches(self, first_step: int, rollbacks: int) -> Iterator[Mapping[str, Any]]:
        """Batches {image, label, filename} of step `first_step` + 1 and all later ones.

        Args:
          first_step: steps finished.
          rollbacks: how often training went back; each time, order and augmentation become others.

        Raises DataError, in one line, for a record that cannot be used.
        """
        seed = (self._config.train_config.random_seed + rollbacks * _OTHER_DRAW) % 2**31
        step = first_step
        while True:
            try:
                for batch in self._from(step, seed):
                    step += 1
                    yield batch
                return
            except pipeline.DamagedRecords as found:
                self._leave_out(found)

    def _from(self, step: int, seed: int) -> Iterator[Mapping[str, Any]]:
        iterator = iter(self._replica_batches(step, seed))
        own_replicas = len(self._strategy.extended.worker_devices)
        while True:
            with pipeline.user_errors():
                try:
                    batches = list(itertools.islice(iterator, own_replicas))
                except PIPELINE_ERRORS as error:
                    self._name_the_damaged(error, step, seed)
                    raise
            if len(batches) < own_replicas:
                return
            step += 1
            yield batches[0] if own_replicas == 1 else self._for_replicas(batches)

    def _replica_batches(self, step: int, seed: int) -> Iterable[Mapping[str, Any]]:
        """What the replicas of this process get from `step` + 1 on, one after the other."""
        replicas = self._strategy.num_replicas_in_sync
        total, count, rank = self._config.train_config.batch_size, self._workers.count, self._workers.rank
        if self._records:
            share = pipeline.Share(number=rank, of=count, batch_size=total)
            address = self._config.train_input_reader.tf_data_service
            if address:
                numbered = functools.partial(
                    self._records.numbered_batches, batch_size=total // replicas, seed=seed, share=share
                )
                return data_service.batches(numbered, address, first=step * (replicas // count))
            return self._records.batches(
                batch_size=total // replicas, seed=seed, first_example=step * total, share=share
            )
        assert self._build_dataset
        everything = self._build_dataset(
            self._config, batch_size=total // replicas, seed=seed, first_step=step * replicas
        )
        own = replicas // count
        numbered = everything.enumerate().filter(lambda number, _: number % replicas // own == rank)
        return numbered.map(lambda _, batch: batch)

    def _for_replicas(self, batches: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """One batch for each replica of this process, as `strategy.run` takes them; file names stay on the host."""
        waiting = iter(batches)
        return self._strategy.experimental_distribute_values_from_function(lambda _: next(waiting))

    def _name_the_damaged(self, error: Exception, step: int, seed: int) -> None:
        """Raises DamagedRecords if a record of the next batch is what the error is about."""
        if not self._records:
            return
        batch_size = self._config.train_config.batch_size
        found = self._records.find_damages(seed=seed, first_example=step * batch_size, count=batch_size)
        if found:
            raise pipeline.DamagedRecords(found) from error

    def _leave_out(self, found: pipeline.DamagedRecords) -> None:
        if not self._config.train_config.skip_damaged_records or not self._records:
            raise found
        for damage in found.damages.values():
            _LOGGER.warning('%s; left out', damage)
        self._left_out.update(found.damages)
        self._records.leave_out(found.damages)
        self._write()
        self._check_bound()

    def _leave_out_again(self, records: pipeline.TrainingRecords) -> None:
        """What any process of an earlier run of this log directory found, as far as it is damaged still."""
        if self._config.train_config.skip_damaged_records:
            for path, offset in _places(self._logdir):
                number = records.number_at(path, offset)
                damage = None if number is None else records.damage(number)
                if number is not None and damage is not None:
                    self._left_out[number] = damage
            records.leave_out(self._left_out)
            if records.framing_damages or self._left_out or tf.io.gfile.exists(self._path):
                self._write()
        self._check_bound()

    def _check_bound(self) -> None:
        bound = self._config.train_config.max_damaged_records
        if self.num_damaged > bound:
            raise DataError(
                f'{self.num_damaged} damaged records, more than train_config.max_damaged_records = {bound}; they are '
                f'listed in {self._path}; convert the data again'
            )

    def _write(self) -> None:
        framing = self._records.framing_damages if self._records else []
        lines = [
            {
                'file': damage.path,
                'record': damage.record,
                'byte': damage.offset,
                'filename': damage.filename,
                'reason': damage.reason,
                'records': damage.num_records,
            }
            for damage in [*framing, *(self._left_out[number] for number in sorted(self._left_out))]
        ]
        with tf.io.gfile.GFile(f'{self._path}.unfinished', 'w') as file:
            file.write(''.join(f'{json.dumps(line)}\n' for line in lines))
        tf.io.gfile.rename(f'{self._path}.unfinished', self._path, overwrite=True)


def _filename(rank: int) -> str:
    return FILENAME if rank == 0 else f'damaged_records-worker-{rank}.jsonl'


def _places(logdir: str) -> list[tuple[str, int]]:
    """(file, byte) of each line; a line that is not whole is left out, as its record will be found again."""
    places = []
    for path in sorted(tf.io.gfile.glob(os.path.join(checkpoints.glob_escape(logdir), 'damaged_records*.jsonl'))):
        with tf.io.gfile.GFile(path) as file:
            for line in file.read().splitlines():
                try:
                    entry = json.loads(line)
                    places.append((str(entry['file']), int(entry['byte'])))
                except (ValueError, KeyError, TypeError):
                    continue
    return places
