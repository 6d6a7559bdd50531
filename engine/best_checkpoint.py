"""`<logdir>/best/`: the checkpoint of the best evaluation so far, and `best.json`, which says which and how good."""

from __future__ import annotations

import dataclasses
import json
import os

import tensorflow as tf

from core.errors import CheckpointError, first_line
from engine import checkpoints

DIRNAME = 'best'
FILENAME = 'best.json'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Best:
    """What `best.json` holds: the metric's name, its value, the step, and the checkpoint's name beside the file."""

    metric: str
    value: float
    step: int
    checkpoint: str


def read(directory: str) -> Best | None:
    """The best so far; None where there is none, or where its file or checkpoint cannot be used."""
    path = os.path.join(directory, FILENAME)
    if not tf.io.gfile.exists(path):
        return None
    try:
        with tf.io.gfile.GFile(path) as file:
            best = Best(**json.loads(file.read()))
    except (ValueError, TypeError):
        return None
    return best if tf.io.gfile.exists(os.path.join(directory, f'{best.checkpoint}.index')) else None


def keep(directory: str, checkpoint: str, *, metric: str, value: float, step: int) -> Best:
    """Copies `checkpoint` into `directory`, then names it in `best.json`, then removes the one before.

    Whenever the process is killed, `best.json` names a whole checkpoint, or the next `keep` repairs what is there.
    Raises CheckpointError if the file system refuses.
    """
    best = Best(metric=metric, value=value, step=step, checkpoint=os.path.basename(checkpoint))
    try:
        tf.io.gfile.makedirs(directory)
        checkpoints.copy(checkpoint, os.path.join(directory, best.checkpoint))
        path = os.path.join(directory, FILENAME)
        with tf.io.gfile.GFile(f'{path}.tmp', 'w') as file:
            file.write(json.dumps(dataclasses.asdict(best), indent=2) + '\n')
        tf.io.gfile.rename(f'{path}.tmp', path, overwrite=True)
        tidy(directory, best)
    except tf.errors.OpError as error:
        raise CheckpointError(f'{directory}: cannot keep the best checkpoint: {first_line(error)}') from error
    return best


def tidy(directory: str, best: Best) -> None:
    """Removes every checkpoint of `directory` but the best, and what a killed process left half written."""
    checkpoints.remove_unfinished(directory)
    for path in checkpoints.all_checkpoints(directory):
        if os.path.basename(path) != best.checkpoint:
            checkpoints.remove(path)
