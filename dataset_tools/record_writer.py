"""Pairs of files -> sharded TFRecords, a manifest and a label map: parallel, deterministic, resumable.

Shards grow in `<output_dir>/<name>.partial/` and are renamed into `<output_dir>` when every pair was good, the manifest
last. So whatever carries a final name is finished, and a run that was killed continues with the shards it had.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import zip_longest
from typing import Any

import tensorflow as tf
from contextlib2 import ExitStack
from tqdm import tqdm

from core.errors import DataError, UserError
from dataset_tools.conversion import BadPair, Converted, InstancePath, LabelReader, convert
from dataset_tools.pairs import ORIGINAL, Encoding, Pair
from inputs import shard_manifest
from inputs.label_map import LabelMap

_FRAMING_BYTES = 16  # length, its checksum, and the checksum of the data, of each record
LABEL_MAP_NAME = 'label_map.json'


def write_records(
    pairs: Sequence[Pair],
    *,
    output_dir: str,
    name: str,
    label_map: LabelMap,
    read_label: LabelReader,
    num_shards: int,
    instance_path: InstancePath | None = None,
    encoding: Encoding = ORIGINAL,
    shuffle_seed: int = 0,
    num_threads: int = 0,
    skip_bad: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes `<name>-00000-of-<num_shards>`... and returns the manifest, also in `<name>.manifest.json`.

    Args:
      pairs: what to convert; shuffled with `shuffle_seed`, then cut into shards of equal length.
      output_dir: any folder that TensorFlow can write; made if it is not there.
      name: of the data set and split: `camvid_train.record`.
      label_map: which ids are allowed; saved beside as `label_map.json`.
      read_label: the label file's path and the image's size -> class ids.
      instance_path: the label file's path -> that of its picture of instance ids, which is then stored too.
      encoding: how images are stored.
      num_shards: 1 or more; no more than there are pairs are written.
      shuffle_seed: of the order.
      num_threads: 0 takes one per core; the output does not depend on it.
      skip_bad: leave bad pairs out, listed in the manifest, instead of failing.
      overwrite: replace finished records that were made from other inputs.

    Raises:
      DataError: bad pairs (each is named; no record gets its final name), or finished records of other inputs.
      UserError: the disk is full, or the folder not writable.
    """
    if not pairs:
        raise DataError(f'{name}: no pairs to convert')
    fingerprint = _fingerprint(pairs, label_map, num_shards, shuffle_seed, instance_path, encoding)
    job = _Job(output_dir, name, min(num_shards, len(pairs)), fingerprint, encoding)
    finished = job.finished_manifest(overwrite)
    if finished is not None and (skip_bad or not finished['skipped']):
        print(f'{job.path(name)}: already there, made from the same files')
        return finished
    shuffled = list(pairs)
    random.Random(shuffle_seed).shuffle(shuffled)
    try:
        one = functools.partial(
            convert, label_map=label_map, read_label=read_label, instance_path=instance_path, encoding=encoding
        )
        return _convert_all(job, shuffled, label_map, one, num_threads or os.cpu_count() or 1, skip_bad)
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f'{output_dir}: cannot write: {_reason(error)}; run again to continue') from error


class _Job:
    """Where the files of one conversion lie."""

    def __init__(self, output_dir: str, name: str, num_shards: int, fingerprint: str, encoding: Encoding):
        self.output_dir, self.name, self.num_shards, self.fingerprint = output_dir, name, num_shards, fingerprint
        self.encoding = encoding
        self.partial = os.path.join(output_dir, f'{name}.partial')
        self.shards = [f'{name}-{i:05d}-of-{num_shards:05d}' for i in range(num_shards)]

    def path(self, file: str) -> str:
        return os.path.join(self.output_dir, file)

    @property
    def manifest_path(self) -> str:
        return self.path(f'{self.name}.manifest.json')

    def finished_manifest(self, overwrite: bool) -> dict[str, Any] | None:
        """The manifest, if finished records of the same inputs are there; DataError if of others."""
        manifest = _read_json(self.manifest_path)
        if manifest and manifest.get('fingerprint') == self.fingerprint:
            complete = all(_file_size(self.path(s['file'])) == s['bytes'] for s in manifest['shards'])
            return manifest if complete else None
        others = [p for p in tf.io.gfile.glob(self.path(f'{self.name}-*-of-*')) if not self._half_renamed()]
        if (manifest or others) and not overwrite:
            raise DataError(f'{self.path(self.name)}: records of other inputs are there; --overwrite replaces them')
        return None

    def _half_renamed(self) -> bool:
        """Whether records with final names are this job's own, of a run that was killed while it renamed them."""
        return _read_json(os.path.join(self.partial, 'fingerprint.json')) == self.fingerprint

    def open_partial(self) -> None:
        """Makes the work folder; one left by other inputs is emptied."""
        if tf.io.gfile.isdir(self.partial) and not self._half_renamed():
            tf.io.gfile.rmtree(self.partial)
        tf.io.gfile.makedirs(self.partial)
        _write_json(os.path.join(self.partial, 'fingerprint.json'), self.fingerprint)

    def shard_report(self, shard: str) -> dict[str, Any] | None:
        """What an earlier run noted about a finished shard, if the file is there in full."""
        report = _read_json(os.path.join(self.partial, f'{shard}.json'))
        places = (os.path.join(self.partial, shard), self.path(shard))
        return report if report and any(_file_size(place) == report['bytes'] for place in places) else None

    def publish(self, manifest: dict[str, Any]) -> None:
        """Gives every shard its final name, then writes the manifest."""
        kept = {s['file'] for s in manifest['shards']}
        for shard in kept:
            if tf.io.gfile.exists(os.path.join(self.partial, shard)):
                tf.io.gfile.rename(os.path.join(self.partial, shard), self.path(shard), overwrite=True)
        for path in tf.io.gfile.glob(self.path(f'{self.name}-*-of-*')):
            if os.path.basename(path) not in kept:
                tf.io.gfile.remove(path)
        _write_text(self.manifest_path, shard_manifest.to_text(manifest))
        tf.io.gfile.rmtree(self.partial)


def _convert_all(
    job: _Job,
    pairs: list[Pair],
    label_map: LabelMap,
    convert_one: Callable[..., Converted],
    num_threads: int,
    skip_bad: bool,
) -> dict[str, Any]:
    job.open_partial()
    _save_label_map(job, label_map)
    names = _short_names(pairs)
    reports, bad = [], []
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=len(pairs), unit='image', desc=job.name, mininterval=0.5))
        executor = stack.enter_context(ThreadPoolExecutor(num_threads))
        stack.callback(executor.shutdown, wait=True, cancel_futures=True)
        for index, shard in enumerate(job.shards):
            first, last = (len(pairs) * i // job.num_shards for i in (index, index + 1))
            report = job.shard_report(shard)
            if report is None or (report['skipped'] and not skip_bad):

                def one(pair: Pair) -> Converted | BadPair:
                    try:
                        return convert_one(pair, filename=names[pair.image])
                    except BadPair as error:
                        return error

                report = _write_shard(job, shard, _in_order(executor, one, pairs[first:last], bar))
            else:
                bar.update(last - first)
            reports.append(report)
            bad += report['skipped']
    if bad and not skip_bad:
        lines = [f'{len(bad)} of {len(pairs)} pairs are bad, no records were made (--skip_bad leaves them out):', *bad]
        raise DataError('\n'.join(lines))
    if len(bad) == len(pairs):
        raise DataError('\n'.join(['all pairs are bad:', *bad]))
    manifest = _manifest(job, reports, label_map)
    job.publish(manifest)
    return manifest


def _in_order(executor: Executor, one: Any, pairs: list[Pair], bar: Any) -> Iterator[Converted | BadPair]:
    for result in executor.map(one, pairs):
        bar.update()
        yield result


def _write_shard(job: _Job, shard: str, results: Iterator[Converted | BadPair]) -> dict[str, Any]:
    """Writes one file under a temporary name, renames it, then notes beside it what is in it."""
    path = os.path.join(job.partial, shard)
    sizes: Counter[str] = Counter()
    class_pixels: list[int] = []
    skipped, offsets, expected_bytes = [], [], 0
    with tf.io.TFRecordWriter(f'{path}.tmp') as writer:
        for result in results:
            if isinstance(result, BadPair):
                skipped.append(str(result))
                continue
            writer.write(result.serialized)
            offsets.append(expected_bytes)
            expected_bytes += len(result.serialized) + _FRAMING_BYTES
            sizes[f'{result.size[0]}x{result.size[1]}'] += 1
            class_pixels = [a + int(b) for a, b in zip_longest(class_pixels, result.class_pixels, fillvalue=0)]
    if _file_size(f'{path}.tmp') != expected_bytes:
        raise OSError(f'{path}.tmp is shorter than what was written; is the disk full?')
    checksum = shard_manifest.checksum(f'{path}.tmp')
    tf.io.gfile.rename(f'{path}.tmp', path, overwrite=True)
    report = {
        'file': shard,
        'num_examples': len(offsets),
        'bytes': expected_bytes,
        'crc32': checksum,
        'offsets': offsets,
        'sizes': dict(sizes),
        'class_pixels': class_pixels,
        'skipped': skipped,
    }
    _write_text(f'{path}.json', json.dumps(report) + '\n')
    return report


def _manifest(job: _Job, reports: list[dict[str, Any]], label_map: LabelMap) -> dict[str, Any]:
    sizes: Counter[str] = Counter()
    for report in reports:
        sizes.update(report['sizes'])
    counts = [report['class_pixels'] for report in reports if report['class_pixels']]
    totals = [sum(column) for column in zip(*counts, strict=True)]
    return {
        'name': job.name,
        'num_examples': sum(report['num_examples'] for report in reports),
        'encoding': job.encoding.name,
        'num_classes': label_map.num_classes,
        'ignore_label': label_map.ignore_label,
        'sizes': dict(sorted(sizes.items())),
        'class_pixels': dict(zip(label_map.names, totals[:-1], strict=True)),
        'ignored_pixels': totals[-1],
        'shards': [{key: report.get(key) for key in shard_manifest.KEYS} for report in reports],
        'skipped': [line for report in reports for line in report['skipped']],
        'fingerprint': job.fingerprint,
    }


def _save_label_map(job: _Job, label_map: LabelMap) -> None:
    path = job.path(LABEL_MAP_NAME)
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path, 'r') as file:
            if file.read() != label_map.to_json():
                raise DataError(f'{path}: another label map is there; choose another --output_dir')
        return
    _write_text(path, label_map.to_json())


def _short_names(pairs: Sequence[Pair]) -> dict[str, str]:
    """Paths relative to their common folder: short in messages, the same wherever the data lies."""
    paths = [os.path.abspath(pair.image) for pair in pairs]
    root = os.path.dirname(os.path.commonpath([os.path.dirname(path) for path in paths]))
    return {pair.image: os.path.relpath(path, root) for pair, path in zip(pairs, paths, strict=True)}


def _fingerprint(
    pairs: Sequence[Pair],
    label_map: LabelMap,
    num_shards: int,
    shuffle_seed: int,
    instance_path: InstancePath | None,
    encoding: Encoding,
) -> str:
    """Changes when a file, its size or time, the classes, the layout or the encoding change."""
    digest = hashlib.sha256(f'{num_shards} {shuffle_seed} {label_map.to_json()}'.encode())
    if encoding != ORIGINAL:
        digest.update(str(encoding).encode())
    for pair in pairs:
        instances = [instance_path(pair.label)] if instance_path and pair.label else []
        for path in (pair.image, pair.label, *instances):
            try:
                status = os.stat(path) if path else None
            except OSError:
                status = None
            digest.update(f'{path}|{status and (status.st_size, status.st_mtime_ns)}\n'.encode())
    return digest.hexdigest()


def _file_size(path: str) -> int:
    return tf.io.gfile.stat(path).length if tf.io.gfile.exists(path) else -1


def _read_json(path: str) -> Any:
    """The content, or None if the file is missing or cut off."""
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path, 'r') as file:
        try:
            return json.loads(file.read())
        except ValueError:
            return None


def _write_json(path: str, content: Any) -> None:
    _write_text(path, json.dumps(content, indent=1) + '\n')


def _write_text(path: str, text: str) -> None:
    with tf.io.gfile.GFile(f'{path}.tmp', 'w') as file:
        file.write(text)
    tf.io.gfile.rename(f'{path}.tmp', path, overwrite=True)


def _reason(error: Exception) -> str:
    return getattr(error, 'message', None) or str(error)
