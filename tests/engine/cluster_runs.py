"""Trains a tiny network with two workers on loopback, loses them, and goes on: processes of their own.

`python -m tests.engine.cluster_runs FOLDER` prints one JSON object: what each run came to. With SEED and NUM_FAULTS
behind it, as many workers are lost at random moments. TensorFlow is imported once and never used here: each worker is a
fork of this process.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine import checkpoints, metrics_log
from engine.cluster import Cluster
from tests import tiny_run
from tests.engine.fault_injector import Training, digest, forget_the_end

NUM_STEPS = 20
_OVERRIDE = f"""
model {{ icnet {{ hyperparams {{ batch_norm {{ synchronized: true }} }} }} }}
train_config {{
  batch_size: 4 num_steps: {NUM_STEPS} log_every_n_steps: 2 save_checkpoint_every_n_steps: 4
  distribution {{ communication: RING peer_timeout_seconds: 5 start_timeout_seconds: 60 }}
  optimizer {{ momentum_optimizer {{ learning_rate {{ constant_learning_rate {{ learning_rate: 0.05 }} }} }} }}
}}
"""
_EVALUATED = """
train_config {{ eval_interval: 6 }}
eval_input_reader {{ tf_record_input_reader {{ input_path: "{folder}/x-0" }} }}
"""


def write_records(folder: Path) -> None:
    """Eleven examples of 36x45 pixels, so that no epoch ends with a batch; pictures are cropped to 9x13 later."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (36, 45, 3), np.uint8) for _ in range(11)]
    labels = [image.argmax(-1).astype(np.uint8) for image in images]
    for shard, part in enumerate((slice(0, 4), slice(4, 11))):
        names = [f'{i}.png' for i in range(11)][part]
        tiny_run.write_records(folder / f'x-{shard}', images[part], labels[part], names)


def cluster_of(count: int) -> list[Cluster | None]:
    """That many workers on free ports of this machine; one is none."""
    if count == 1:
        return [None]
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
    addresses = tuple(f'127.0.0.1:{s.getsockname()[1]}' for s in sockets)
    for s in sockets:
        s.close()
    return [Cluster(jobs={'worker': addresses}, task_type='worker', task_index=i) for i in range(count)]


class Run:
    """A training by `count` workers in FOLDER/name.

    Args:
      override: more of the config.
      of_last: another name, or more of the config, of the last worker alone: a mistake.
    """

    def __init__(self, folder: Path, name: str, count: int, override: str = '', of_last: tuple[str, str] | None = None):
        self.logdir = folder / name
        self.workers = []
        for cluster in cluster_of(count):
            last = of_last if cluster and cluster.rank == count - 1 else None
            own_name, own_override = last or (name, '')
            config = _OVERRIDE + override + own_override
            self.workers.append(Training(folder, own_name, override=config, cluster=cluster))

    def result(self) -> dict[str, Any]:
        """Exit codes, last lines, and the seconds between the first end and the last."""
        ended: dict[int, float] = {}
        while len(ended) < len(self.workers):
            for i, worker in enumerate(self.workers):
                if i not in ended and not worker.is_running():
                    ended[i] = time.monotonic()
            if ended and time.monotonic() - min(ended.values()) > 120:
                for worker in self.workers:
                    if worker.is_running():
                        os.kill(worker.pid, signal.SIGKILL)
                raise SystemExit(f'a worker hangs; they said: {[worker.said() for worker in self.workers]}')
            time.sleep(0.01)
        return {
            'codes': [worker.wait() for worker in self.workers],
            'said': [worker.said().splitlines() for worker in self.workers],
            'seconds': max(ended.values()) - min(ended.values()),
            'checkpoint': os.path.basename(checkpoints.latest(self.logdir) or ''),
        }

    def signal_at(self, step: int, rank: int, number: int) -> None:
        """As soon as the worker `rank` has begun `step`."""
        worker = self.workers[rank]
        if not worker.wait_until(lambda: worker.step() >= step):
            raise SystemExit(f'ended before step {step}: {worker.said()}')
        os.kill(worker.pid, number)


def examples(logdir: Path, count: int) -> list[list[str]]:
    """File names of every step, the workers' one after another."""
    logs = [(logdir / metrics_log.examples_of(rank)).read_text().splitlines() for rank in range(count)]
    steps = [[json.loads(line) for line in log] for log in logs]
    if any([line['step'] for line in log] != list(range(1, NUM_STEPS + 1)) for log in steps):
        raise SystemExit(f'{logdir}: not every step once')
    return [[name for line in lines for name in line['files']] for lines in zip(*steps, strict=True)]


def largest_difference(one: Path, other: Path) -> float:
    """Between two checkpoints, relative to the largest value of each tensor."""
    a, b = checkpoints.read(one), checkpoints.read(other)
    if set(a.shapes) != set(b.shapes):
        raise SystemExit(f'other tensors: {set(a.shapes) ^ set(b.shapes)}')
    names = [name for name in a.shapes if not name.startswith(checkpoints.TRAINING_PREFIX)]
    return max(float(np.abs(a.tensor(n) - b.tensor(n)).max() / max(1e-3, np.abs(a.tensor(n)).max())) for n in names)


def lose_at_random(folder: Path, rng: np.random.Generator, num_faults: int) -> dict[str, Any]:
    """A training whose workers are killed or asked to stop again and again, beside one whose are not."""
    whole = Run(folder, 'whole', 2).result()
    happened = []
    while len(happened) < num_faults:
        run = Run(folder, 'faulty', 2)
        rank, step = int(rng.integers(2)), int(rng.integers(-1, NUM_STEPS))
        number = signal.SIGKILL if rng.random() < 0.7 else signal.SIGTERM
        worker = run.workers[rank]
        if worker.wait_until(lambda worker=worker, step=step: worker.step() > step):
            time.sleep(float(rng.uniform(0, 0.05 if step >= 0 else 3)))
            if worker.is_running():
                os.kill(worker.pid, number)
        result = run.result()
        if set(result['codes']) - {0, 1, -signal.SIGKILL, -signal.SIGTERM}:
            raise SystemExit(f'ended with {result["codes"]}: {result["said"]}')
        happened.append([number.name, rank, step, result['codes'], result['checkpoint']])
        if result['checkpoint'] == f'model.ckpt-{NUM_STEPS}':
            forget_the_end(folder / 'faulty', rng)
    last = Run(folder, 'faulty', 2).result()
    return {
        'faults': happened,
        'codes': [whole['codes'], last['codes']],
        'same_weights': digest(folder / 'whole') == digest(folder / 'faulty'),
        'same_examples': examples(folder / 'whole', 2) == examples(folder / 'faulty', 2),
    }


def main(arguments: Sequence[str]) -> None:
    folder = Path(arguments[0])
    write_records(folder)
    if arguments[1:]:
        seed, num_faults = map(int, arguments[1:])
        print(json.dumps(lose_at_random(folder, np.random.default_rng(seed), num_faults)))
        return
    report: dict[str, Any] = {}

    def finish(name: str, count: int, disturb: Callable[[Run], None] = lambda run: None, **settings: Any) -> None:
        run = Run(folder, name, count, **settings)
        disturb(run)
        report.setdefault(name, []).append(run.result())

    finish('one', 1)
    finish('two', 2, override=_EVALUATED.format(folder=folder))
    finish('killed', 2, lambda run: run.signal_at(7, 1, signal.SIGKILL))
    shutil.copytree(folder / 'killed', folder / 'killed_then_one')
    finish('killed', 2)
    finish('killed_then_one', 1)
    finish('chief_killed', 2, lambda run: run.signal_at(7, 0, signal.SIGKILL))
    finish('asked', 2, lambda run: run.signal_at(3, 1, signal.SIGTERM))
    finish('unlike', 2, of_last=('unlike', 'train_config { random_seed: 99 }'))
    shutil.copytree(folder / 'killed', folder / 'apart')
    finish('apart', 2, of_last=('elsewhere', ''))
    report['same_examples'] = examples(folder / 'one', 1) == examples(folder / 'two', 2)
    report['digests'] = {name: digest(folder / name) for name in ('two', 'killed')}
    report['differences'] = {
        name: largest_difference(folder / 'two', folder / name) for name in ('one', 'killed_then_one')
    }
    report['files'] = {name: sorted(os.listdir(folder / name)) for name in ('one', 'two')}
    print(json.dumps(report))


if __name__ == '__main__':
    main(sys.argv[1:])
