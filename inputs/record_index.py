"""Every record of a set of files by its number, whole or damaged, and which one comes at which place of a training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from core.errors import DataError
from inputs import record_framing
from inputs.record_framing import Damage
from inputs.shard_manifest import Shard

_SCANNERS = 8
_ENDLESS = 1 << 62


class RecordIndex:
    """Where each record of some files begins.

    Args:
      files: TFRecord files, sorted.
      shards: {path: what its manifest says}. Where that gives the records' places and agrees with the file, as far as
        its length and its last record tell, nothing else of the file is looked at; else the file is scanned, a read for
        each record.

    Attributes:
      damages: what a scan found wrong with the framing, or missing; those records have no number.
    """

    def __init__(self, files: Sequence[str], shards: Mapping[str, Shard]):
        with ThreadPoolExecutor(_SCANNERS) as executor:
            scanned = list(executor.map(lambda path: _places(path, shards.get(path)), files))
        self.files = list(files)
        self.damages: list[Damage] = []
        for path, (offsets, damages) in zip(files, scanned, strict=True):
            expected = shards[path].num_examples if path in shards else None
            self.damages += _with_missing(path, len(offsets), damages, expected)
        counts = [len(offsets) for offsets, _ in scanned]
        self._first = np.concatenate([[0], np.cumsum(counts)])
        self._file_of = np.repeat(np.arange(len(files)), counts)
        self._offsets = np.concatenate([offsets for offsets, _ in scanned])

    def __len__(self) -> int:
        return len(self._offsets)

    def damage(self, number: int, reason: str, filename: str = '') -> Damage:
        """That the record `number` cannot be used."""
        file = self._file_of[number]
        return Damage(
            path=self.files[file],
            record=int(number - self._first[file]) + 1,
            offset=int(self._offsets[number]),
            reason=reason,
            filename=filename,
        )

    def number_at(self, path: str, offset: int) -> int | None:
        """Of the record that begins at byte `offset` of `path`."""
        if path not in self.files:
            return None
        file = self.files.index(path)
        within = self._offsets[self._first[file] : self._first[file + 1]]
        place = int(np.searchsorted(within, offset))
        return int(self._first[file]) + place if place < len(within) and within[place] == offset else None

    def read(self, number: int) -> bytes:
        """The data of the record, its checksum not looked at."""
        return record_framing.read(self.files[self._file_of[number]], int(self._offsets[number]))

    def reader(self) -> _Reader:
        """For use within tf.data."""
        return _Reader(self.files, self._file_of, self._offsets)


class _Reader:
    """number int64 [] -> serialized example string []; a wrong checksum raises DataLossError when it is run."""

    def __init__(self, files: Sequence[str], file_of: np.ndarray, offsets: np.ndarray):
        self._files = tf.constant(list(files))
        self._file_of, self._offsets = tf.constant(file_of, tf.int64), tf.constant(offsets, tf.int64)

    def __call__(self, number: tf.Tensor) -> tf.Tensor:
        records = tf.raw_ops.TFRecordDatasetV2(
            filenames=tf.gather(self._files, tf.gather(self._file_of, number))[tf.newaxis],
            compression_type='',
            buffer_size=tf.constant(0, tf.int64),
            byte_offsets=tf.gather(self._offsets, number)[tf.newaxis],
        )
        kind = {'output_types': [tf.string], 'output_shapes': [[]]}
        first = tf.raw_ops.TakeDataset(input_dataset=records, count=tf.constant(1, tf.int64), **kind)
        # Unlike an element of a nested dataset, it cannot be silently absent.
        return tf.raw_ops.DatasetToSingleElement(dataset=first, **kind)[0]


class Order:
    """Which record comes at which position of a training without end, as a function of seed and position alone.

    An epoch is one pass over all records; each has an order of its own. Any epoch is reached without those before it.

    Args:
      num_records: of an epoch.
      seed: of the orders; None for that of the files.
      left_out: numbers of records that are not used. In place of such a one comes the next that is, so leaving one out
        changes nothing at other positions.
    """

    def __init__(self, num_records: int, *, seed: int | None, left_out: Collection[int] = ()):
        self.num_records, self._seed = num_records, seed
        self._instead = tf.constant(replacements(num_records, left_out), tf.int64)

    def records(self, first: int = 0) -> tf.data.Dataset:
        """(epoch, the record whose turn it is, the record to use), int64 [] each, of every position from `first` on.

        Within its epoch, a first position is reached by passing over numbers, no records.
        """

        def of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            turns = self._turns(epoch)
            epochs = tf.fill([self.num_records], epoch)
            return tf.data.Dataset.from_tensor_slices((epochs, turns, tf.gather(self._instead, turns)))

        of_epoch = tf.autograph.experimental.do_not_convert(of_epoch)
        epochs = tf.data.Dataset.range(first // self.num_records, _ENDLESS)
        return epochs.flat_map(of_epoch).skip(first % self.num_records)

    def at(self, positions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """What `records` gives at these positions, int64 [n], ascending. Takes the work of an epoch's order or two."""
        epochs = positions // self.num_records
        first, last = epochs[0], epochs[-1]
        turns = tf.map_fn(self._turns, tf.range(first, last + 1))
        turns = tf.gather_nd(turns, tf.stack([epochs - first, positions % self.num_records], 1))
        return epochs, turns, tf.gather(self._instead, turns)

    def _turns(self, epoch: tf.Tensor) -> tf.Tensor:
        """int64 [num_records]: the record whose turn it is at each place of the epoch."""
        if self._seed is None:
            return tf.range(self.num_records, dtype=tf.int64)
        seed = tf.stack([tf.constant(self._seed, tf.int64), epoch])
        keys = tf.random.stateless_uniform([self.num_records], seed, None, None, tf.int64)
        return tf.cast(tf.argsort(keys), tf.int64)


def replacements(num_records: int, left_out: Collection[int]) -> np.ndarray:
    """int64 [num_records]: each record itself, or in place of one left out the next that is not, round the end."""
    instead = np.arange(num_records)
    out = set(left_out)
    if len(out) >= num_records:
        raise DataError(f'all {num_records} records are damaged')
    for number in out:
        following = number
        while following in out:
            following = (following + 1) % num_records
        instead[number] = following
    return instead


def _places(path: str, shard: Shard | None) -> tuple[np.ndarray, list[Damage]]:
    """As `record_framing.scan`, from the manifest if it can be."""
    if shard is None or shard.offsets is None or not _agrees(path, shard.offsets, shard):
        return record_framing.scan(path)
    return shard.offsets, []


def _agrees(path: str, offsets: np.ndarray, shard: Shard) -> bool:
    """Whether a manifest is that of the file: of this length, in this many pieces, the last of them a record."""
    if len(offsets) != shard.num_examples or not len(offsets) or offsets[0] or (np.diff(offsets) <= 0).any():
        return False
    return record_framing.ends_with_record(path, int(offsets[-1]), shard.num_bytes)


def _with_missing(path: str, num_found: int, damages: list[Damage], expected: int | None) -> list[Damage]:
    """The damages of a file, with the records that its manifest lists and nobody found counted in the last one."""
    if expected is None or num_found + len(damages) >= expected:
        return damages
    missing = expected - num_found - len(damages)
    if not damages:
        reason = f'the file ends here, between two records: {num_found} of {expected} are there'
        end = tf.io.gfile.stat(path).length
        return [Damage(path=path, record=num_found + 1, offset=end, reason=reason, num_records=missing)]
    last = damages[-1]
    counted = Damage(
        path=path, record=last.record, offset=last.offset, reason=last.reason, num_records=last.num_records + missing
    )
    return [*damages[:-1], counted]
