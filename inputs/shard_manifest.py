"""`<name>.manifest.json` beside the shards of a data set: how long each is, where its records begin, its checksum."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from core.errors import DataError

# `<name>-00000-of-00004`
SHARD = re.compile(r'(?P<name>.+)-\d{5}-of-(?P<count>\d{5})$')
KEYS = ('file', 'num_examples', 'bytes', 'crc32', 'offsets')
_CHUNK_BYTES = 1 << 22


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """What a manifest says of a file; None for what it does not say.

    Attributes:
      num_bytes: its length.
      num_examples: its records.
      crc32: of its bytes, as zlib's.
      offsets: int64 [num_examples], the byte at which each record begins.
    """

    num_bytes: int
    num_examples: int | None = None
    crc32: int | None = None
    offsets: np.ndarray | None = None


def of_files(files: Sequence[str]) -> dict[str, Shard]:
    """{path: what the manifest of its data set says of it}, for those of `files` that have one.

    Each manifest is read once. Raises DataError for one that is not JSON, or whose entries are none.
    """
    manifests: dict[str, dict[str, Shard]] = {}
    found = {}
    for path in files:
        match = SHARD.match(path)
        if not match:
            continue
        manifest_path = f'{match["name"]}.manifest.json'
        if manifest_path not in manifests:
            manifests[manifest_path] = _read(manifest_path)
        shard = manifests[manifest_path].get(os.path.basename(path))
        if shard:
            found[path] = shard
    return found


def checksum(path: str) -> int:
    """zlib's CRC-32 of a file."""
    value = 0
    with tf.io.gfile.GFile(path, 'rb') as file:
        while chunk := file.read(_CHUNK_BYTES):
            value = zlib.crc32(chunk, value)
    return value


def to_text(manifest: dict[str, Any]) -> str:
    """JSON with a line for each shard, however many records it has."""
    others = {key: value for key, value in manifest.items() if key != 'shards'}
    shards = ',\n  '.join(json.dumps(shard) for shard in manifest['shards'])
    return f'{json.dumps(others, indent=1)[:-2]},\n "shards": [\n  {shards}\n ]\n}}\n'


def _read(path: str) -> dict[str, Shard]:
    if not tf.io.gfile.exists(path):
        return {}
    with tf.io.gfile.GFile(path, 'r') as file:
        try:
            return {entry['file']: _shard(entry) for entry in json.loads(file.read()).get('shards', [])}
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise DataError(f'{path}: not a manifest of shards ({error}): convert or copy it again') from error


def _shard(entry: dict[str, Any]) -> Shard:
    offsets = entry.get('offsets')
    return Shard(
        num_bytes=int(entry['bytes']),
        num_examples=entry.get('num_examples'),
        crc32=entry.get('crc32'),
        offsets=None if offsets is None else np.asarray(offsets, np.int64),
    )
