"""The record files that patterns name, and whether they are all there and as long as their manifests say."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence

import tensorflow as tf

from core.errors import DataError
from inputs import shard_manifest
from inputs.shard_manifest import SHARD


def record_files(patterns: Sequence[str], *, check_lengths: bool = True) -> list[str]:
    """The files that match, sorted, each once.

    Args:
      patterns: paths or globs.
      check_lengths: compare each file with the manifest beside it: a file cut between two records reads without an
        error.

    Raises DataError that names each pattern without a file, each empty file, each shard that a pattern asks for but
    that is not there, and each file that is not as long as its manifest says.
    """
    matches: dict[str, list[str]] = {
        pattern: [pattern] if tf.io.gfile.exists(pattern) else sorted(tf.io.gfile.glob(pattern)) for pattern in patterns
    }
    problems = [f'{pattern}: no file matches{_seen_from(pattern)}' for pattern, paths in matches.items() if not paths]
    if not patterns:
        problems.append('tf_record_input_reader.input_path: no pattern given')
    files = sorted({path for paths in matches.values() for path in paths})
    folders = [path for path in files if tf.io.gfile.isdir(path)]
    problems += [f'{path}: is a folder; name its record files, for example {path}/*.record-*' for path in folders]
    files = [path for path in files if path not in folders]
    problems += [f'{path}: the file is empty' for path in files if tf.io.gfile.stat(path).length == 0]
    problems += [f'{path}: not a record file; end the pattern in -*' for path in files if path.endswith('.json')]
    problems += _missing_shards(files, patterns)
    if check_lengths:
        problems += _wrong_lengths(files)
    if problems:
        raise DataError('\n'.join(dict.fromkeys(problems)))
    return files


def _missing_shards(files: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """A line for each numbered set of shards of which a pattern asks for some that are not there."""
    sets = {(match['name'], match['count']) for match in map(SHARD.match, files) if match}
    problems = []
    for name, count in sorted(sets):
        shards = [f'{name}-{i:05d}-of-{count}' for i in range(int(count))]
        absent = [path for path in shards if path not in files and not tf.io.gfile.exists(path)]
        asked = [path for path in absent if any(fnmatch.fnmatch(path, pattern) for pattern in patterns)]
        if asked:
            others = f' and {len(asked) - 1} more' if len(asked) > 1 else ''
            present = len(shards) - len(absent)
            problems.append(
                f'{asked[0]}{others} missing, {present} of {len(shards)} shards are there; convert or copy again'
            )
    return problems


def _wrong_lengths(files: Sequence[str]) -> list[str]:
    problems = []
    for path, shard in shard_manifest.of_files(files).items():
        length = tf.io.gfile.stat(path).length
        if length != shard.num_bytes:
            examples = 'some' if shard.num_examples is None else shard.num_examples
            problems.append(
                f'{path}: damaged or cut off: it has {length} bytes, its manifest says {shard.num_bytes} with '
                f'{examples} examples: convert or copy the data again'
            )
    return problems


def _seen_from(path: str) -> str:
    """` (seen from FOLDER)` for a relative path: the folder is where the program was started, not the config's."""
    return '' if os.path.isabs(path) or '://' in path else f' (seen from {os.getcwd()})'
