"""Finding and reading checkpoints in TensorFlow's name-based formats (V2, and V1 single files)."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from core.errors import CheckpointError, DamagedCheckpointError, first_line

_LOGGER = logging.getLogger(__name__)

GLOBAL_STEP = 'global_step'
# Of the names of numbers about a training that are no variable of its model.
TRAINING_PREFIX = 'training/'
# What TensorFlow raises for torn and flipped bytes: a bare IndexError among them.
READ_ERRORS = (IndexError, UnicodeDecodeError, ValueError, RuntimeError, tf.errors.OpError)

_INDEX = re.compile(r'^model\.ckpt-(\d+)\.index$')
_V2_SUFFIX = re.compile(r'\.(index|meta|data-\d{5}-of-\d{5})$')


class Reader:
    """The tensors of one checkpoint by name; make it with `read`.

    Attributes:
      path: the checkpoint's prefix.
      shapes: name -> shape, a list of ints.
    """

    def __init__(self, path: str):
        self.path = path
        if not tf.io.gfile.exists(path) and not tf.io.gfile.exists(f'{path}.index'):
            raise CheckpointError(f'{path}: no such checkpoint (looked for {path}.index){_nearby(path)}')
        if tf.io.gfile.exists(f'{path}.index') and not tf.io.gfile.glob(f'{glob_escape(path)}.data-*'):
            missing = f'{os.path.basename(path)}.data-00000-of-00001'
            raise DamagedCheckpointError(path, f'the index is there but its data file {missing} is missing')
        try:
            self._reader = tf.train.load_checkpoint(path)
            self.shapes: dict[str, list[int]] = dict(self._reader.get_variable_to_shape_map())
            self._dtypes = self._reader.get_variable_to_dtype_map()
        except READ_ERRORS as error:
            raise _damaged(path, error) from error

    def tensor(self, name: str) -> np.ndarray:
        """The value stored under `name`; CheckpointError if it is not there or its bytes are damaged."""
        if name not in self.shapes:
            raise CheckpointError(f'{self.path}: holds no tensor {name!r}')
        try:
            return np.asarray(self._reader.get_tensor(name))
        except READ_ERRORS as error:
            raise _damaged(self.path, error, name) from error

    def dtype(self, name: str) -> tf.DType:
        """The type stored under `name`."""
        return tf.as_dtype(self._dtypes[name])

    def verify(self) -> None:
        """Reads every tensor, which checks every checksum; CheckpointError names the first damaged one."""
        for name in self.shapes:
            self.tensor(name)


def read(path: str | os.PathLike) -> Reader:
    """Opens the checkpoint `path`: a prefix, one of its files, or a directory, whose `newest_sound` is taken."""
    path = os.fspath(path)
    if tf.io.gfile.isdir(path):
        newest = newest_sound(path)
        if newest is None:
            raise CheckpointError(f'{path}: no checkpoint (model.ckpt-<step>.index) in this directory')
        return Reader(newest)
    return Reader(_V2_SUFFIX.sub('', path))


def newest_sound(directory: str | os.PathLike, *, damaged: Callable[[str], object] | None = None) -> str | None:
    """The newest checkpoint of `directory` whose every byte reads well; None if it holds no checkpoint.

    Each damaged one is reported in one line, as a warning, before the one before it is tried.

    Args:
      damaged: called with the path of each damaged one.

    Raises CheckpointError if all are damaged.
    """
    directory = os.fspath(directory)
    found = all_checkpoints(directory)
    if not found:
        other = latest(directory)
        found = [other] if other else []
    num_damaged = 0
    for path in reversed(found):
        try:
            Reader(path).verify()
            return path
        except CheckpointError as error:
            if not tf.io.gfile.exists(f'{path}.index') and not tf.io.gfile.exists(path):
                continue  # a training beside us has removed it meanwhile
            what = error.what if isinstance(error, DamagedCheckpointError) else str(error)
            _LOGGER.warning('%s: %s; trying the one before', path, what)
        num_damaged += 1
        if damaged:
            damaged(path)
    if num_damaged:
        which = f'all {num_damaged} checkpoints are' if num_damaged > 1 else 'its only checkpoint is'
        raise CheckpointError(f'{directory}: {which} damaged')
    return None


def all_checkpoints(directory: str | os.PathLike) -> list[str]:
    """Every `model.ckpt-<step>` in `directory`, in step order; empty if the directory is missing."""
    directory = os.fspath(directory)
    if not tf.io.gfile.isdir(directory):
        return []
    steps = sorted(int(m[1]) for name in tf.io.gfile.listdir(directory) if (m := _INDEX.match(name)))
    return [os.path.join(directory, f'model.ckpt-{step}') for step in steps]


def latest(directory: str | os.PathLike) -> str | None:
    """The checkpoint of the highest step in `directory`, else what the file `checkpoint` names, else None."""
    found = all_checkpoints(directory)
    if found:
        return found[-1]
    try:
        return tf.train.latest_checkpoint(os.fspath(directory))
    except READ_ERRORS:
        return None


def path_of(directory: str | os.PathLike, step: int) -> str:
    """The prefix of the checkpoint of `step` in `directory`."""
    return os.path.join(os.fspath(directory), f'model.ckpt-{step}')


def step_of(path: str | os.PathLike) -> int | None:
    """The step in the name `model.ckpt-<step>`; None for another name."""
    match = _INDEX.match(os.path.basename(os.fspath(path)) + '.index')
    return int(match[1]) if match else None


def glob_escape(path: str) -> str:
    """`path` with the characters that `tf.io.gfile.glob` would expand taken literally."""
    return re.sub(r'([*?\[\]\\])', r'\\\1', path)


def _nearby(path: str) -> str:
    found = all_checkpoints(os.path.dirname(path) or '.')
    return f'; the newest there is {found[-1]}' if found else ''


def _damaged(path: str, error: Exception, name: str = '') -> DamagedCheckpointError:
    where = f' at {name}' if name else ''
    return DamagedCheckpointError(path, f'the checkpoint is damaged or incomplete{where} ({first_line(error)})')
