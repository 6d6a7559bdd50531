"""`images-<step>.jsonl`: one line for each evaluated image, written as the evaluation goes."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from core.errors import DataError


def file_name(step: int) -> str:
    """Beside metrics.json."""
    return f'images-{step}.jsonl'


class ImageRecords:
    """Writes records beside the final file, which appears when all are there.

    Used as a context: an exception inside removes what was written.

    Args:
      eval_dir: made if it is not there.
      step: of the checkpoint.
    """

    def __init__(self, eval_dir: str, step: int):
        tf.io.gfile.makedirs(eval_dir)
        self.path = os.path.join(eval_dir, file_name(step))
        self._temporary = f'{self.path}.{os.getpid()}.tmp'
        self._file = tf.io.gfile.GFile(self._temporary, 'w')

    def write(self, record: dict[str, Any]) -> None:
        """Appends one line."""
        self._file.write(json.dumps(record, ensure_ascii=False) + '\n')

    def __enter__(self) -> ImageRecords:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._file.close()
            tf.io.gfile.rename(self._temporary, self.path, overwrite=True)
            return
        with contextlib.suppress(tf.errors.OpError):  # the first error is the one to tell
            self._file.close()
            tf.io.gfile.remove(self._temporary)


def read(path: str) -> Iterator[dict[str, Any]]:
    """The records in order, one at a time; DataError names the line that is no record."""
    try:
        with tf.io.gfile.GFile(path, 'r') as file:
            for number, line in enumerate(file, 1):
                yield _parse(line, f'{path}:{number}')
    except tf.errors.OpError as error:
        raise DataError(f'{path}: cannot read the records of the images: {error.message.splitlines()[0]}') from error


def _parse(line: str, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise DataError(f'{place}: not JSON ({error}); evaluate again') from error
    if not isinstance(record, dict) or not {'filename', 'hits', 'labels', 'predictions'} <= set(record):
        raise DataError(f'{place}: no record of an image; evaluate again')
    return record
