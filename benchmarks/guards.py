"""What it costs that nothing is lost or silently wrong, each as a share of a training step.

Prints one JSON object. Steps of each kind (plain; deterministic kernels; skipping what is not finite) are timed in
processes of their own, in turn; checksums, header checks and saving in the plain ones, on pictures and weights of the
same case:

- `deterministic`, `skip_not_finite`: how much longer a step takes, relative to a plain one;
- `record_reading`: reading each record where it lies, checksum included, against one file after the other without
  checksums, for one batch;
- `image_headers`: looking at the size in the header before decoding, for one batch;
- `saving`: writing a checkpoint, checking the weights before, every 600 s, the default.

    python -m benchmarks.guards --rounds 2
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks.peers.cases import CASES, Case
from benchmarks.peers.timing import wall_times
from core import command_line

_KINDS = ('plain', 'deterministic', 'skip_not_finite')
_SAVE_SECONDS = 600


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=1, help='processes of each kind')
    parser.add_argument('--steps', type=int, default=12, help='timed steps of each process, after two that are not')
    parser.add_argument('--case', choices=sorted(CASES), default='icnet_0.5_353x481_batch_8')
    parser.add_argument('--worker', choices=_KINDS, help=argparse.SUPPRESS)
    flags = parser.parse_args(arguments)
    if flags.worker:
        print(json.dumps(_measure(flags.worker, flags.steps, CASES[flags.case])))
        return
    found: dict[str, list[float]] = {}
    for _ in range(flags.rounds):
        for kind in _KINDS:
            for name, seconds in _run_worker(flags, kind).items():
                found.setdefault(name, []).extend(seconds)
    print(json.dumps(_report(flags, {name: statistics.median(seconds) for name, seconds in found.items()})))


def _report(flags: argparse.Namespace, seconds: dict[str, float]) -> dict[str, Any]:
    step = seconds['plain']
    shares = {kind: seconds[kind] / step - 1 for kind in _KINDS[1:]}
    shares['record_reading'] = (seconds['read_by_number'] - seconds['read_in_turn']) / step
    shares['image_headers'] = seconds['image_headers'] / step
    shares['saving'] = seconds['saving'] / _SAVE_SECONDS
    return {
        'benchmark': 'guards',
        'case': flags.case,
        'cpus': os.cpu_count(),
        'rounds': flags.rounds,
        'load_average': round(os.getloadavg()[0], 1),
        'median_step_seconds': round(step, 4),
        'saving_seconds': round(seconds['saving'], 3),
        'share_of_step': {name: round(share, 4) for name, share in shares.items()},
    }


def _run_worker(flags: argparse.Namespace, kind: str) -> dict[str, list[float]]:
    settings = ['--steps', str(flags.steps), '--case', flags.case]
    command = [sys.executable, '-m', 'benchmarks.guards', *settings, '--worker', kind]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _measure(kind: str, num_steps: int, case: Case) -> dict[str, list[float]]:
    import tensorflow as tf

    from benchmarks.peers import own_step
    from benchmarks.peers.cases import random_batch
    from engine import checkpoints
    from engine.train_step import TOTAL_LOSS

    own_step.prepare()
    if kind == 'deterministic':
        tf.config.experimental.enable_op_determinism()
    step, state, batch = own_step.make_step(
        lambda: own_step.network(case), *random_batch(case), skip_not_finite=kind == 'skip_not_finite'
    )
    seconds = {kind: wall_times(lambda: float(step(batch)[TOTAL_LOSS]), num_steps)}
    if kind != 'plain':
        return seconds

    with tempfile.TemporaryDirectory() as folder:

        def save() -> None:
            assert not state.not_finite()
            checkpoints.save(folder, 1, state.tensors())

        return {**seconds, 'saving': wall_times(save, 3), **_inputs(folder, case)}


def _inputs(folder: str, case: Case) -> dict[str, list[float]]:
    """Seconds that a batch of records needs more than it would without checks."""
    import numpy as np
    import tensorflow as tf

    from inputs import image_header
    from inputs.record_index import RecordIndex

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (case.height, case.width, 3), np.uint8)
    encoded = tf.io.encode_png(pixels).numpy()
    path = os.path.join(folder, 'x.record')
    with tf.io.TFRecordWriter(path) as writer:
        for _ in range(64):
            writer.write(encoded)
    with open(path, 'rb') as file:
        content = file.read()
    with open(os.path.join(folder, 'plain'), 'wb') as file:
        for start in range(0, len(content), len(encoded) + 16):
            file.write(content[start + 12 : start + 12 + len(encoded)])
    reader = RecordIndex([path], {}).reader()
    by_number = tf.data.Dataset.range(1 << 40).map(lambda n: reader(n * 37 % 64), num_parallel_calls=tf.data.AUTOTUNE)
    in_turn = tf.data.FixedLengthRecordDataset(os.path.join(folder, 'plain'), len(encoded)).repeat()

    def per_batch(dataset: tf.data.Dataset) -> list[float]:
        iterator = iter(dataset.batch(case.batch).prefetch(1))
        return wall_times(lambda: next(iterator), 40)

    def headers(number: tf.Tensor) -> tf.Tensor:
        said = image_header.refuse_too_large(tf.constant(encoded), tf.constant('x.png'), 'image/encoded')
        return tf.strings.length(said) + tf.cast(number, tf.int32)

    return {
        'read_by_number': per_batch(by_number),
        'read_in_turn': per_batch(in_turn),
        # Image and label.
        'image_headers': [2 * seconds for seconds in per_batch(tf.data.Dataset.range(1 << 40).map(headers))],
    }


if __name__ == '__main__':
    command_line.run(main)
