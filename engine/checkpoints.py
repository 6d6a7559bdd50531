"""One checkpoint format everywhere: TensorFlow's name-based V2, `model.ckpt-<step>`.

Tensors are stored under their slim names, beside `global_step` and the optimiser slots `<variable>/<slot>`; so a
training checkpoint serves evaluation, export and fine-tuning as it is, and checkpoints of TensorFlow 1 programs are
read by name.

A checkpoint is written under a temporary name and renamed, its index last: what has an index is whole. The file
`checkpoint` (a `CheckpointState`, as `tf.train.latest_checkpoint` reads it) lists the checkpoints under rotation.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.python.training.checkpoint_state_pb2 import CheckpointState  # type: ignore[attr-defined]  (generated)

from core.errors import CheckpointError, first_line
from engine.checkpoint_reader import (
    GLOBAL_STEP,
    READ_ERRORS,
    TRAINING_PREFIX,
    Reader,
    all_checkpoints,
    glob_escape,
    latest,
    newest_sound,
    path_of,
    read,
    step_of,
)
from engine.restore import RestoreReport, compare, restore_variables

__all__ = [
    'GLOBAL_STEP',
    'TRAINING_PREFIX',
    'Reader',
    'RestoreReport',
    'all_checkpoints',
    'compare',
    'copy',
    'first_line',
    'glob_escape',
    'latest',
    'newest_sound',
    'path_of',
    'read',
    'remove',
    'remove_unfinished',
    'restore_variables',
    'rotate',
    'save',
    'set_aside',
    'step_of',
    'write',
]

_TEMPORARY = 'unfinished-'
_STATE = 'checkpoint'


def write(prefix: str | os.PathLike, tensors: Mapping[str, tf.Tensor | tf.Variable | np.ndarray]) -> str:
    """Writes `tensors` as the checkpoint `prefix`, whole or not at all; returns the prefix.

    Raises CheckpointError if the file system refuses (no space, no permission).
    """
    prefix = os.fspath(prefix)
    directory, name = os.path.split(prefix)
    temporary = os.path.join(directory, f'{_TEMPORARY}{os.getpid()}-{name}')
    names = sorted(tensors)
    try:
        tf.io.gfile.makedirs(directory or '.')
        with tf.device('/cpu:0'):
            values = [tf.convert_to_tensor(tensors[name]) for name in names]
            tf.raw_ops.SaveV2(prefix=temporary, tensor_names=names, shape_and_slices=[''] * len(names), tensors=values)
        shards = sorted(tf.io.gfile.glob(f'{glob_escape(temporary)}.data-*'))
        written = [*shards, f'{temporary}.index']
        for path in written:
            _reach_disk(path)
        for path in written:
            tf.io.gfile.rename(path, prefix + path[len(temporary) :], overwrite=True)
        _reach_disk(directory or '.')
    except (OSError, tf.errors.OpError) as error:
        _remove_all(temporary)
        raise CheckpointError(f'{prefix}: cannot write the checkpoint: {first_line(error)}') from error
    return prefix


def copy(source: str, target: str) -> None:
    """Copies the checkpoint `source` as `target`: under temporary names first, renamed with the index last."""
    shards = sorted(tf.io.gfile.glob(f'{glob_escape(source)}.data-*'))
    directory, name = os.path.split(target)
    temporary = os.path.join(directory, f'{_TEMPORARY}{os.getpid()}-{name}')
    suffixes = [path[len(source) :] for path in [*shards, f'{source}.index']]
    for suffix in suffixes:
        tf.io.gfile.copy(source + suffix, temporary + suffix, overwrite=True)
    for suffix in suffixes:
        tf.io.gfile.rename(temporary + suffix, target + suffix, overwrite=True)


def save(directory: str | os.PathLike, step: int, tensors: Mapping[str, tf.Tensor | tf.Variable | np.ndarray]) -> str:
    """Writes `<directory>/model.ckpt-<step>` and makes it the newest of the file `checkpoint`; returns its prefix.

    `global_step` is added (int64) unless `tensors` has it. Raises CheckpointError if the file system refuses.
    """
    directory = os.fspath(directory)
    path = write(path_of(directory, step), {GLOBAL_STEP: np.int64(step), **tensors})
    state = _read_state(directory)
    listed = [p for p in _listed(state, directory) if p != path]
    try:
        _write_state(directory, [*listed, path], state.last_preserved_timestamp or time.time())
    except tf.errors.OpError as error:
        raise CheckpointError(
            f'{path}: written, but the file {_STATE} beside it cannot be: {first_line(error)}'
        ) from error
    return path


def rotate(directory: str | os.PathLike, *, max_to_keep: int, keep_every_n_hours: float = 0) -> list[str]:
    """Removes the oldest checkpoints of the file `checkpoint` beyond `max_to_keep`; returns what was removed.

    As in TensorFlow 1's Saver, a checkpoint due for removal is kept for good if it is `keep_every_n_hours` younger than
    the last one so kept (or than the first save). 0 switches either rule off.
    """
    directory = os.fspath(directory)
    state = _read_state(directory)
    listed, preserved = _listed(state, directory), state.last_preserved_timestamp
    if max_to_keep < 1 or len(listed) <= max_to_keep:
        return []
    surplus, removed = listed[:-max_to_keep], []
    for path in surplus:
        written = tf.io.gfile.stat(f'{path}.index').mtime_nsec / 1e9
        if keep_every_n_hours and written - preserved >= keep_every_n_hours * 3600:
            preserved = written
        else:
            removed.append(path)
    _write_state(directory, listed[-max_to_keep:], preserved)
    for path in removed:
        remove(path)
    return removed


def set_aside(path: str) -> None:
    """Renames the index of the damaged checkpoint `path` to `<path>.damaged-index`, so that nothing picks it up."""
    if tf.io.gfile.exists(f'{path}.index'):
        tf.io.gfile.rename(f'{path}.index', f'{path}.damaged-index', overwrite=True)


def remove_unfinished(directory: str | os.PathLike) -> None:
    """Removes what a killed process left half written in `directory`."""
    for path in tf.io.gfile.glob(os.path.join(glob_escape(os.fspath(directory)), f'{_TEMPORARY}*')):
        if tf.io.gfile.isdir(path):
            tf.io.gfile.rmtree(path)
        else:
            tf.io.gfile.remove(path)


def _reach_disk(path: str) -> None:
    """Waits until a local file or folder is on the disk: a power cut after this costs nothing of it."""
    if os.path.exists(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_all(prefix: str) -> None:
    """Removes what begins with `prefix` as far as the file system lets us: it has refused something already."""
    with contextlib.suppress(OSError, tf.errors.OpError):
        for path in tf.io.gfile.glob(f'{glob_escape(prefix)}*'):
            tf.io.gfile.remove(path)


def _read_state(directory: str) -> CheckpointState:
    """The file `checkpoint`; an empty state where it is missing or unreadable (the next save writes it)."""
    path = os.path.join(directory, _STATE)
    state = CheckpointState()
    if tf.io.gfile.exists(path):
        try:
            with tf.io.gfile.GFile(path) as file:
                text_format.Parse(file.read(), state)
        except (text_format.ParseError, *READ_ERRORS):
            state.Clear()
    return state


def _listed(state: CheckpointState, directory: str) -> list[str]:
    """Checkpoints under rotation, oldest first: those listed that exist, and any newer that a crash left unlisted."""
    paths = [os.path.join(directory, path) for path in state.all_model_checkpoint_paths]
    newest = max((step_of(path) or 0 for path in paths), default=-1)
    paths += [path for path in all_checkpoints(directory) if (step_of(path) or 0) > newest]
    existing = {path for path in paths if tf.io.gfile.exists(f'{path}.index')}
    return sorted(existing, key=lambda path: step_of(path) or 0)


def _write_state(directory: str, paths: list[str], preserved: float) -> None:
    names = [os.path.relpath(path, directory) for path in paths]
    state = CheckpointState(
        model_checkpoint_path=names[-1], all_model_checkpoint_paths=names, last_preserved_timestamp=preserved
    )
    temporary = os.path.join(directory, f'{_TEMPORARY}{_STATE}')
    with tf.io.gfile.GFile(temporary, 'w') as file:
        file.write(text_format.MessageToString(state))
    tf.io.gfile.rename(temporary, os.path.join(directory, _STATE), overwrite=True)


def remove(prefix: str) -> None:
    """Removes the checkpoint `prefix`, its index first: what remains after a crash is not taken for a checkpoint."""
    others = tf.io.gfile.glob(f'{glob_escape(prefix)}.data-*') + tf.io.gfile.glob(f'{glob_escape(prefix)}.meta')
    for path in [f'{prefix}.index', *others]:
        if tf.io.gfile.exists(path):
            tf.io.gfile.remove(path)
