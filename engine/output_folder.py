"""The folder a script writes to, made before anything slow begins."""

from __future__ import annotations

import tensorflow as tf

from core.errors import UserError


def make(path: str, flag: str) -> None:
    """Makes the folder `path` with those above it; UserError names `flag` and the reason if that cannot be."""
    try:
        tf.io.gfile.makedirs(path)
    except tf.errors.OpError as error:
        raise UserError(f'{flag}: cannot make the folder {path} ({error.message})') from error
