"""Reads, checks and writes configs; imports no TensorFlow, so a broken config is answered at once.

Order of work: read the file, parse it, apply `--set`, check everything. `python -m builders.check_config FILE...` does
it from the command line, and looks into the records as well.
"""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Sequence
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from builders import config_checks, config_overrides, config_text
from builders.names import PURPOSES
from core.errors import ConfigError, UserError
from protos.compressor_pb2 import CommpressionConfig
from protos.pipeline_pb2 import PipelineConfig

MessageT = TypeVar('MessageT', bound=Message)


def load(path: str, overrides: Sequence[str] = (), purpose: str | None = None) -> PipelineConfig:
    """The pipeline config in the file `path`, checked.

    Args:
      path: protobuf text format; a local path, or one with `://` that TensorFlow can open.
      overrides: `path.to.field=value`, applied in order; see `config_overrides.apply`.
      purpose: `train`, `eval`, `export`, `predict` or None: which blocks must be there.

    Raises ConfigError: `path:line:column: ...` for what cannot be parsed, else `field.path: ...` for everything that is
    not sensible, all at once.
    """
    config = _read(path, PipelineConfig(), overrides)
    validate(config, purpose)
    return config


def input_channels(config: PipelineConfig) -> int:
    """Channels of an image, whichever the architecture."""
    return getattr(config.model, config.model.WhichOneof('model') or 'pspnet').feature_extractor.input_channels


def load_compression(path: str, overrides: Sequence[str] = ()) -> CommpressionConfig:
    """The compression config (.prune_config) in the file `path`, checked; raises as `load` does."""
    config = _read(path, CommpressionConfig(), overrides)
    problems = list(config_checks.message_problems(config))
    if problems:
        raise ConfigError(problems)
    return config


def validate(config: PipelineConfig, purpose: str | None = None) -> None:
    """Raises ConfigError with one line for every field that is not sensible for `purpose` (see `load`)."""
    if purpose is not None and purpose not in PURPOSES:
        raise ValueError(f'purpose: got {purpose!r}, choose from {list(PURPOSES)} or None')
    problems = config_checks.pipeline_problems(config, purpose)
    if problems:
        raise ConfigError(problems)


def save(config: Message, path: str) -> None:
    """Writes a config as text, beside and renamed into place; folders are made. Raises UserError if it cannot be."""
    text = text_format.MessageToString(config)
    temporary = f'{path}.tmp'
    if '://' in path:
        import tensorflow as tf

        tf.io.gfile.makedirs(os.path.dirname(path))
        with tf.io.gfile.GFile(temporary, 'w') as file:
            file.write(text)
        tf.io.gfile.rename(temporary, path, overwrite=True)
        return
    try:
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        with open(temporary, 'w', encoding='utf-8') as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f'{path}: cannot write the config: {error.strerror}') from error


def _read(path: str, message: MessageT, overrides: Sequence[str]) -> MessageT:
    config_text.parse(_read_text(path), message, path)
    config_overrides.apply(message, overrides)
    return message


def _read_text(path: str) -> str:
    """The text of the file, without the byte order mark that some editors put before it."""
    if not path:
        raise ConfigError('--config_path: is empty, give a file')
    content = _read_bytes(path)
    if b'\0' in content:
        raise ConfigError(f'{path}: not a text file (byte {content.index(0)} is 0)')
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ConfigError(f'{path}: not a text file (byte {error.start} is not UTF-8)') from error


def _read_bytes(path: str) -> bytes:
    if '://' in path:
        import tensorflow as tf

        try:
            with tf.io.gfile.GFile(path, 'rb') as file:
                return file.read()
        except (tf.errors.OpError, NotImplementedError) as error:
            raise ConfigError(f'{path}: cannot read the config: {error}'.splitlines()[0]) from error
    try:
        with open(path, 'rb') as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f'{path}: cannot read the config: {error.strerror}{_near_file(path)}') from error


def _near_file(path: str) -> str:
    """`, did you mean 'x'?` if a file of a similar name lies beside the missing one."""
    folder, name = os.path.split(path)
    with contextlib.suppress(OSError):
        names = [] if os.path.exists(path) else os.listdir(folder or '.')
        for near in difflib.get_close_matches(name, names, n=1):
            return f', did you mean {os.path.join(folder, near)!r}?'
    return ''
