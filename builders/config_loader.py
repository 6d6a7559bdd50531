"""Reads, checks and writes a pipeline config; imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import text_format

from core.errors import ConfigError
from protos.pipeline_pb2 import PipelineConfig


def load(path: str, overrides: Sequence[str] = (), purpose: str | None = None) -> PipelineConfig:
    """Parses the config at `path`."""
    try:
        with open(path, encoding='utf-8') as file:
            return text_format.Parse(file.read(), PipelineConfig())
    except OSError as error:
        raise ConfigError(f'{path}: {error.strerror}') from error
    except text_format.ParseError as error:
        raise ConfigError(f'{path}:{error.GetLine()}:{error.GetColumn()}: {error}') from error


def save(config: PipelineConfig, path: str) -> None:
    """Writes the config as text."""
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text_format.MessageToString(config))
