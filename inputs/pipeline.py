"""tf.data pipelines: TFRecord files -> shuffled, augmented batches, or every example exactly once.

Everything random in training is a function of (seed, epoch, record), and which record comes at a position one of (seed,
position). So a run gives the same batches whatever the number of threads, and any position is reached at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import tensorflow as tf

from core.errors import DataError, UsageError
from core.fields import FILENAME, IGNORE_LABEL, IMAGE, INSTANCES, LABEL
from inputs import shard_manifest, tf_example
from inputs.augmentations import Augmentation
from inputs.data_errors import PIPELINE_ERRORS, user_errors, what_is_wrong
from inputs.decoded_records import DecodedRecords
from inputs.label_check import check_ids
from inputs.record_files import record_files
from inputs.record_framing import Damage
from inputs.record_index import Order, RecordIndex, replacements
from inputs.scaled_crop import chain
from inputs.serialized_example import decoded_bytes, filename_of
from inputs.share import Share
from inputs.tf_example import LabelCheck, StoredExample

__all__ = [
    'DamagedRecords',
    'Share',
    'TrainingRecords',
    'evaluation_dataset',
    'first_damage',
    'record_files',
    'training_dataset',
    'user_errors',
]

_READ_BUFFER_BYTES = 1 << 20
_ENDLESS = 1 << 62

# Data sets that decode to less than this are decoded once, into memory: CamVid's 367 pictures take 254 MB.
CACHE_LIMIT_BYTES = 256_000_000

# What is kept ready for the next steps, batches in training and examples in evaluation.
BATCHES_AHEAD = 2

# AutoGraph has nothing to convert here and takes a second to find that out.
_plain = tf.autograph.experimental.do_not_convert


class DamagedRecords(DataError):
    """Records that cannot be used.

    Attributes:
      damages: {number of the record: what is wrong with it}.
    """

    def __init__(self, damages: Mapping[int, Damage]):
        self.damages = dict(damages)
        first = next(iter(self.damages.values()))
        others = f' (and {len(damages) - 1} more records)' if len(damages) > 1 else ''
        super().__init__(f'{first}{others}; convert the data again, or see train_config.skip_damaged_records')


class TrainingRecords:
    """The records of a training, and the batches that it sees from any example on.

    Args:
      patterns: paths or globs of TFRecord files.
      augmentations: in order; the last must leave pictures of one static size.
      num_classes: a label that is neither below this nor `ignore_label` is damage.
      ignore_label: of pixels without a class.
      shuffle: False keeps files sorted and examples in order.
      num_parallel_calls: examples decoded and augmented at a time; None lets tf.data choose.
      channels: of the images, 1, 3 or 4; see `tf_example.parse`.
      cache_limit_bytes: decoded size up to which the data set is kept decoded; 0 never.
      allow_damaged_framing: use what is whole in a file that is cut off or has a damaged length.

    Attributes:
      framing_damages: what of the files was found cut off, or damaged in its framing.

    Raises:
      DataError: no file matches a pattern, a file or a part of one is missing or damaged, or there is no whole record.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        *,
        augmentations: Sequence[Augmentation],
        num_classes: int,
        ignore_label: int = IGNORE_LABEL,
        shuffle: bool = True,
        num_parallel_calls: int | None = None,
        channels: int = 3,
        cache_limit_bytes: int = CACHE_LIMIT_BYTES,
        allow_damaged_framing: bool = False,
    ):
        files = record_files(patterns, check_lengths=not allow_damaged_framing)
        self._index = RecordIndex(files, shard_manifest.of_files(files))
        self.framing_damages = self._index.damages
        if self.framing_damages and not allow_damaged_framing:
            raise DamagedRecords(dict(enumerate(self.framing_damages)))
        if not len(self._index):
            raise DataError(f'{files[0]}: no whole record in {len(files)} files')
        self._augment, self._shuffle, self._channels = chain(augmentations), shuffle, channels
        self._check_label = check_ids(num_classes=num_classes, ignore_label=ignore_label)
        self._parallel = num_parallel_calls or tf.data.AUTOTUNE
        self._read = self._index.reader()
        self._left_out: set[int] = set()
        self._small = decoded_bytes(self._index.read(0), len(self._index), channels) <= cache_limit_bytes
        self._decoded: DecodedRecords | None = None

    @property
    def num_records(self) -> int:
        """Of an epoch; those left out count, as others come in their place."""
        return len(self._index)

    def leave_out(self, numbers: Iterable[int]) -> None:
        """Does not use these records in batches that are made from now on."""
        self._left_out.update(numbers)
        self._decoded = None

    def number_at(self, path: str, offset: int) -> int | None:
        """The number of the record that begins at byte `offset` of the file `path`; None if none does."""
        return self._index.number_at(path, offset)

    def batches(
        self,
        *,
        batch_size: int,
        seed: int,
        first_example: int = 0,
        num_epochs: int | None = None,
        share: Share = Share(),
    ) -> tf.data.Dataset:
        """Batches without end unless `num_epochs` is given.

        Each epoch holds every example once, in an order of its own. Examples that do not fill a batch wait for the next
        epoch; the last ones are dropped if `num_epochs` ends the data.

        Args:
          batch_size: B.
          seed: of order and augmentation.
          first_example: how many examples came before: a resumed run gives step * batch_size. Costs no time.
          num_epochs: None repeats for ever.
          share: which examples of each larger batch to read; all of them by default.

        Yields {`image`: float32 [B, H, W, channels] in 0..255, `label`: int32 [B, H, W], `filename`: string [B]}.

        Raises:
          DamagedRecords: found when all are decoded at once.
          UsageError: no static size after the augmentations.
        """
        prepare = functools.partial(self._prepare, seed)
        dataset = self._order(seed).records(first_example)
        if num_epochs:
            dataset = dataset.take(max(0, num_epochs * self.num_records - first_example))
        dataset = share.taken(dataset)
        if self._small:
            decoded = self._decode_all()

            def pick(epoch: tf.Tensor, turn: tf.Tensor, number: tf.Tensor) -> dict[str, tf.Tensor]:
                return prepare(epoch, turn, decoded(number))

            dataset = dataset.map(_plain(pick), num_parallel_calls=self._parallel)
        else:

            def read(epoch: tf.Tensor, turn: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
                return epoch, turn, self._read(number)

            def decode(epoch: tf.Tensor, turn: tf.Tensor, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
                return prepare(epoch, turn, self._parse(serialized))

            dataset = dataset.map(_plain(read), num_parallel_calls=self._parallel)
            dataset = dataset.map(_plain(decode), num_parallel_calls=self._parallel)
        _check_static(dataset)
        batched = dataset.batch(batch_size, drop_remainder=True)
        return _finished(batched, holds_data=self._small)

    def numbered_batches(self, *, batch_size: int, seed: int, share: Share, first: int = 0) -> tf.data.Dataset:
        """(number int64 [], batch) of batch `first` of this share and all later ones, without end.

        Each is made from its number alone, so whoever makes them may make any of them, in any order: the batch of a
        number is the one that `batches` gives in that place. Nothing is kept decoded.
        """
        order, prepare = self._order(seed), functools.partial(self._prepare, seed)
        own = share.batch_size // share.of
        per_step = own // batch_size

        def places(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
            start = number // per_step * share.batch_size + share.number * own + number % per_step * batch_size
            return tf.fill([batch_size], number), *order.at(start + tf.range(batch_size, dtype=tf.int64))

        def read(number: tf.Tensor, epoch: tf.Tensor, turn: tf.Tensor, record: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return number, epoch, turn, self._read(record)

        def decode(
            number: tf.Tensor, epoch: tf.Tensor, turn: tf.Tensor, serialized: tf.Tensor
        ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            return number, prepare(epoch, turn, self._parse(serialized))

        def with_number(numbers: tf.Tensor, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            return numbers[0], batch

        dataset = tf.data.Dataset.range(first, _ENDLESS).map(_plain(places)).unbatch()
        dataset = dataset.map(_plain(read), num_parallel_calls=self._parallel)
        dataset = dataset.map(_plain(decode), num_parallel_calls=self._parallel)
        return _finished(dataset.batch(batch_size, drop_remainder=True).map(_plain(with_number)))

    def find_damages(self, *, seed: int, first_example: int, count: int) -> dict[int, Damage]:
        """Those of the records of `count` examples that cannot be used, each looked at by itself."""
        numbers = [int(number) for _, _, number in self._order(seed).records(first_example).take(count)]
        return self._damages(dict.fromkeys(numbers))

    def damage(self, number: int) -> Damage | None:
        """What is wrong with the record, if anything is."""
        try:
            _decoded(self._check_label, self._channels)(self._read(tf.constant(number, tf.int64)))
            return None
        except PIPELINE_ERRORS as error:
            reason = what_is_wrong(error)
            if reason is None:
                raise
            return self._index.damage(number, reason, filename_of(self._index.read(number)))

    def _damages(self, numbers: Iterable[int]) -> dict[int, Damage]:
        return {number: damage for number in numbers if (damage := self.damage(number)) is not None}

    def _prepare(self, seed: int, epoch: tf.Tensor, turn: tf.Tensor, example: StoredExample) -> dict[str, tf.Tensor]:
        """The example augmented, as its turn in the epoch has it."""
        epoch_seed = tf.stack([tf.constant(seed, tf.int32), tf.cast(epoch, tf.int32)])
        example_seed = tf.random.experimental.stateless_fold_in(epoch_seed, tf.cast(turn, tf.int32))
        image, label = self._augment(example.image, example.label, example.size, example_seed)
        return {IMAGE: image, LABEL: label, FILENAME: example.filename}

    def _order(self, seed: int) -> Order:
        return Order(self.num_records, seed=seed if self._shuffle else None, left_out=self._left_out)

    def _parse(self, serialized: tf.Tensor) -> StoredExample:
        return tf_example.parse(serialized, self._channels, self._check_label)

    def _decode_all(self) -> DecodedRecords:
        """All records in memory, in place of each that is left out the one that comes instead."""
        if self._decoded is None:
            numbers = tf.data.Dataset.from_tensor_slices(replacements(self.num_records, self._left_out))
            serialized = numbers.map(_plain(self._read.__call__), num_parallel_calls=tf.data.AUTOTUNE)
            decode = _decoded(self._check_label, self._channels)
            examples = serialized.map(_plain(decode), num_parallel_calls=self._parallel)
            try:
                self._decoded = DecodedRecords(
                    _finished(examples), num_records=self.num_records, channels=self._channels
                )
            except PIPELINE_ERRORS as error:
                damages = self._damages(i for i in range(self.num_records) if i not in self._left_out)
                if not damages:
                    raise
                raise DamagedRecords(damages) from error
        return self._decoded


def training_dataset(
    patterns: Sequence[str],
    *,
    batch_size: int,
    seed: int,
    num_epochs: int | None = None,
    first_example: int = 0,
    **records,
) -> tf.data.Dataset:
    """`TrainingRecords(patterns, **records).batches(...)`."""
    return TrainingRecords(patterns, **records).batches(
        batch_size=batch_size, seed=seed, first_example=first_example, num_epochs=num_epochs
    )


def evaluation_dataset(
    patterns: Sequence[str],
    *,
    num_classes: int,
    ignore_label: int = IGNORE_LABEL,
    channels: int = 3,
    num_parallel_calls: int | None = None,
) -> tf.data.Dataset:
    """Every example exactly once, in the order of the sorted files, unbatched and at its own size.

    Yields {`image`: float32 [H, W, channels] in 0..255, `label`: int32 [H, W], `filename`: string, `instances`: int32
    [H, W], or [0, 0] where the record has none}. Raises DataError as `record_files`.
    """
    prepare = _evaluated(check_ids(num_classes=num_classes, ignore_label=ignore_label), channels)
    records = tf.data.TFRecordDataset(record_files(patterns), buffer_size=_READ_BUFFER_BYTES)
    return _finished(records.map(_plain(prepare), num_parallel_calls=num_parallel_calls or tf.data.AUTOTUNE))


def first_damage(
    patterns: Sequence[str], *, num_classes: int, ignore_label: int = IGNORE_LABEL, channels: int = 3
) -> str | None:
    """The first record that cannot be used, with its file and place, in one line; None if there is none.

    Reads and decodes every record before it: to be called after an error.
    """
    files = record_files(patterns, check_lengths=False)
    index = RecordIndex(files, shard_manifest.of_files(files))
    if index.damages:
        return str(index.damages[0])
    records = TrainingRecords(
        patterns, augmentations=(), num_classes=num_classes, ignore_label=ignore_label, channels=channels
    )
    return next((str(damage) for i in range(records.num_records) if (damage := records.damage(i))), None)


# Both are traced once in a process, however often a data set is made of them.
@functools.cache
def _decoded(check_label: LabelCheck, channels: int) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """`tf_example.decode`, compiled: its errors read as those of a pipeline."""
    return _compiled(functools.partial(tf_example.decode, channels=channels, check_label=check_label))


@functools.cache
def _evaluated(check_label: LabelCheck, channels: int) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """What `evaluation_dataset` yields of one serialized example, compiled."""

    def prepare(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        example = tf_example.decode_with_instances(serialized, channels, check_label)
        return {
            IMAGE: tf.cast(example[IMAGE], tf.float32),
            LABEL: tf.cast(example[LABEL], tf.int32),
            FILENAME: example[FILENAME],
            INSTANCES: example[INSTANCES],
        }

    return _compiled(prepare)


def _compiled(function: Callable[[tf.Tensor], dict[str, tf.Tensor]]) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    return tf.function(function, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def _finished(dataset: tf.data.Dataset, *, holds_data: bool = False) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    if holds_data:
        # To rewrite the graph, tf.data would copy what its functions hold, and with oneDNN keep the copy's memory.
        options.experimental_optimization.apply_default_optimizations = False
    # Files are not to be dealt out to workers: every worker would see other examples than it counts.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    # Left to choose, tf.data keeps more and more ready while there is memory.
    return dataset.prefetch(BATCHES_AHEAD).with_options(options)


def _check_static(dataset: tf.data.Dataset) -> None:
    shape = dataset.element_spec[IMAGE].shape
    if not shape.is_fully_defined():
        raise UsageError(
            f'train_config.preprocessor_step: images end up {shape[0]}x{shape[1]}, not of one fixed size: '
            'add random_image_crop, resize_image or set_fixed_image_size'
        )
