"""Trains a tiny network in processes of its own and injects faults at random moments, until the training is done.

`python -m tests.engine.fault_injector FOLDER SEED NUM_FAULTS` trains once without faults (FOLDER/whole) and once with
NUM_FAULTS of them (FOLDER/faulty), and prints one JSON object: the faults, and whether every bit and every example of
both runs is the same. TensorFlow is imported once and never used here: each training is a fork of this process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from engine import checkpoints, metrics_log, train_lib
from engine.cluster import Cluster
from tests import tiny_run, tiny_training

NUM_STEPS = 40
PATIENCE_SECONDS = 240
_CONFIG = """
train_config {{
  deterministic: true num_steps: {num_steps} log_every_n_steps: 3 save_checkpoint_every_n_steps: 4
  preprocessor_step {{ random_image_scale {{ min_scale_ratio: 0.8 max_scale_ratio: 1.3 }} }}
  preprocessor_step {{ random_image_crop {{ crop_height: 9 crop_width: 13 }} }}
  preprocessor_step {{ random_horizontal_flip {{}} }}
  optimizer {{ gradient_clipping_norm: 5 adam_optimizer {{ learning_rate {{ cosine_decay_learning_rate {{
    initial_learning_rate: 0.01 decay_steps: {num_steps} }} }} }} }}
}}
train_input_reader {{ num_parallel_calls: {threads} tf_record_input_reader {{ input_path: "{folder}/x-*" }} }}
"""


def write_records(folder: Path) -> None:
    """Eleven examples, so that no epoch ends with a batch."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (11, 15, 3), np.uint8) for _ in range(11)]
    labels = [image.argmax(-1).astype(np.uint8) for image in images]
    for shard, part in enumerate((slice(0, 4), slice(4, 11))):
        names = [f'{i}.png' for i in range(11)][part]
        tiny_run.write_records(folder / f'x-{shard}', images[part], labels[part], names)


class Training:
    """One run of the training, in a forked process.

    Args:
      folder: where the records are.
      name: of its log directory within, and of what it says.
      threads: examples decoded at a time.
      die_at: the file system call of TensorFlow's Python interface at which it kills itself; None for none.
      override: more of the config.
      cluster: which of several processes this is.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        threads: int = 2,
        die_at: int | None = None,
        override: str = '',
        cluster: Cluster | None = None,
    ):
        self.logdir, self.cluster = folder / name, cluster
        config = tiny_training.config(_CONFIG.format(folder=folder, num_steps=NUM_STEPS, threads=threads), override)
        del config.train_input_reader.tf_record_input_reader.input_path[:-1]
        # A pipe and not a file, which a full disk would cut off.
        self._pipe, written = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.dup2(written, 2)
            try:
                self._train(config, die_at)
            finally:
                os._exit(2)
        os.close(written)
        os.set_blocking(self._pipe, False)
        self._said = b''
        self._status: int | None = None

    def _train(self, config: Any, die_at: int | None) -> None:
        logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)
        try:
            if die_at is not None:
                die_within_file_operations(die_at)
            options = train_lib.TrainOptions(logdir=str(self.logdir), log_examples=True, cluster=self.cluster)
            train_lib.train(config, options, build_model=tiny_training.build_model)
        except BaseException as error:
            print(f'{type(error).__name__}: {error}', file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)

    def is_running(self) -> bool:
        self._listen()
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is None

    def wait(self) -> int:
        """The exit code; the negative number of a signal."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.is_running():
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise SystemExit(f'a training hangs; it said: {self.said()}')
            time.sleep(0.002)
        assert self._status is not None
        return os.waitstatus_to_exitcode(self._status)

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """Whether it came to that before it ended."""
        while self.is_running():
            if condition():
                return True
            time.sleep(0.0005)
        return False

    def step(self) -> int:
        """Steps begun, as far as the log of examples tells."""
        try:
            filename = metrics_log.examples_of(self.cluster.rank if self.cluster else 0)
            return len((self.logdir / filename).read_bytes().splitlines())
        except OSError:
            return 0

    def said(self) -> str:
        self._listen()
        return self._said.decode(errors='replace')

    def _listen(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while more := os.read(self._pipe, 1 << 16):
                self._said += more


def die_within_file_operations(number: int) -> None:
    """Kills this process without notice in call `number` of those that write, before it or half-way through."""
    left = [number]

    def wrap(function: Callable) -> Callable:
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*args, **kwargs)
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for module, names in ((tf.raw_ops, ('SaveV2',)), (tf.io.gfile, ('rename', 'remove'))):
        for name in names:
            setattr(module, name, wrap(getattr(module, name)))


def kill(training: Training, rng: np.random.Generator) -> None:
    """At any moment, at the start of the process too."""
    step = int(rng.integers(-1, NUM_STEPS))
    training.wait_until(lambda: training.step() > step)
    time.sleep(float(rng.uniform(0, 0.02)) if step >= 0 else float(rng.uniform(0, 1)))
    if training.is_running():
        os.kill(training.pid, signal.SIGKILL)
    training.wait()


def kill_in_save(training: Training, rng: np.random.Generator) -> None:
    """As soon as a file of an unfinished checkpoint is seen."""
    least = int(rng.integers(NUM_STEPS))

    def saving() -> bool:
        if training.step() < least:
            return False
        try:
            return any(name.startswith('unfinished') for name in os.listdir(training.logdir))
        except OSError:
            return False

    if training.wait_until(saving):
        os.kill(training.pid, signal.SIGKILL)
    training.wait()


def terminate(training: Training, rng: np.random.Generator) -> None:
    step, before = int(rng.integers(NUM_STEPS)), training.step()
    if training.wait_until(lambda: training.step() > step):
        os.kill(training.pid, signal.SIGTERM)
        code = training.wait()
        # It listens from its first step to its last; earlier there is nothing to save, later everything is saved.
        listens = before < training.step() < NUM_STEPS
        if code != 0 and (listens or code != -signal.SIGTERM):
            raise SystemExit(f'SIGTERM: ended with {code}: {training.said()}')
    training.wait()


def fill_disk(training: Training, rng: np.random.Generator) -> None:
    """From a random moment on no file may grow beyond some bytes."""
    step, limit = int(rng.integers(NUM_STEPS)), int(rng.integers(4000))
    if not training.wait_until(lambda: training.step() > step):
        return
    resource.prlimit(training.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    code = training.wait()
    # Before the first step nothing is trained yet that a checkpoint could be the last good one of.
    clear = ('last good checkpoint', 'cannot write the config')
    if code != 0 and not any(words in training.said().splitlines()[-1] for words in clear):
        raise SystemExit(f'full disk: ended with {code}: {training.said()}')


_FAULTS = (kill, kill_in_save, terminate, fill_disk, None)


def train_with_faults(folder: Path, rng: np.random.Generator, num_faults: int) -> list[str]:
    """Until `num_faults` have happened and the training is done; what happened."""
    happened: list[str] = []
    name = 'faulty'
    while len(happened) < num_faults:
        fault = _FAULTS[int(rng.integers(len(_FAULTS)))]
        die_at = int(rng.integers(1, 60)) if fault is None else None
        threads = int(rng.integers(1, 4))
        training = Training(folder, name, threads=threads, die_at=die_at)
        if fault:
            fault(training, rng)
        code = training.wait()
        if code == 0 and checkpoints.step_of(checkpoints.latest(folder / name) or '') == NUM_STEPS:
            forget_the_end(folder / name, rng)
        if code not in (0, 1, -signal.SIGKILL) and not (fault is terminate and code == -signal.SIGTERM):
            raise SystemExit(f'ended with {code}: {training.said()}')
        happened.append(f'{fault.__name__ if fault else "die_within_file_operations"} -> {code}')
    last = Training(folder, name)
    if (code := last.wait()) != 0:
        raise SystemExit(f'the last part ended with {code}: {last.said()}')
    return happened


def forget_the_end(logdir: Path, rng: np.random.Generator) -> None:
    """The training is done before the faults are: a checkpoint, the last and maybe more, is damaged to go on."""
    found = checkpoints.all_checkpoints(logdir)
    for path in found[int(rng.integers(1, len(found))) :]:
        data = Path(f'{path}.data-00000-of-00001')
        content = bytearray(data.read_bytes())
        if rng.random() < 0.5:
            content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        else:
            del content[int(rng.integers(len(content))) :]
        data.write_bytes(content)


def digest(logdir: Path) -> str:
    """Of every tensor of the last checkpoint: weights, averages, slots, step, counts."""
    reader = checkpoints.read(logdir)
    hashed = hashlib.sha256()
    for name in sorted(reader.shapes):
        hashed.update(name.encode() + reader.tensor(name).tobytes())
    return hashed.hexdigest()


def examples(logdir: Path) -> list[Any]:
    return [json.loads(line) for line in (logdir / 'examples.jsonl').read_text().splitlines()]


def main(arguments: Sequence[str]) -> None:
    folder, seed, num_faults = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    write_records(folder)
    whole = Training(folder, 'whole')
    if whole.wait() != 0:
        raise SystemExit(whole.said())
    happened = train_with_faults(folder, np.random.default_rng(seed), num_faults)
    steps = [line['step'] for line in examples(folder / 'faulty')]
    report = {
        'faults': happened,
        'same_weights': digest(folder / 'whole') == digest(folder / 'faulty'),
        'same_examples': examples(folder / 'whole') == examples(folder / 'faulty'),
        'each_step_once': steps == list(range(1, NUM_STEPS + 1)),
    }
    print(json.dumps(report))


if __name__ == '__main__':
    main(sys.argv[1:])
