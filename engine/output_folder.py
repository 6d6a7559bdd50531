"""The folder a script writes to, made before anything slow begins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from core.errors import UserError


def make(path: str, flag: str) -> None:
    """Makes the folder `path` with those above it; UserError names `flag` and the reason if that cannot be."""
    try:
        tf.io.gfile.makedirs(path)
    except tf.errors.OpError as error:
        raise UserError(f'{flag}: cannot make the folder {path} ({error.message})') from error


@contextlib.contextmanager
def removed_if_unused(path: str) -> Iterator[None]:
    """If what is done within fails, a folder `path` that was not there before and is empty is taken away again."""
    was_there = tf.io.gfile.exists(path)
    try:
        yield
    except BaseException:
        if not was_there and tf.io.gfile.isdir(path) and not tf.io.gfile.listdir(path):
            tf.io.gfile.rmtree(path)
        raise
