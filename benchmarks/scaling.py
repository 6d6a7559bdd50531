"""Images a second of one process with one thread and with two, and of two workers on loopback; what is lost, and where.

Prints one JSON object. Every case is a training step of ICNet on ResNet-50 (half width) on the same batch in all, in
processes of their own, each thread on a core of its own. Seconds of a step, medians:

- `one_thread`, `two_threads`: one process;
- `share_alone`: one process, one thread, half of the batch: what a worker would need if nothing were lost;
- `share_beside`: two such processes at once that know nothing of each other: what sharing memory and caches costs;
- `two_workers`: two workers, gradients exchanged over loopback;
- `gradients`, `averages`: those workers exchange as many bytes as the gradients, and as batch norm's averages, with
  nothing else to do. In a step, part of it is done while something else is computed.

    python -m benchmarks.scaling --steps 8
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from core import command_line

_HEIGHT, _WIDTH, _NUM_CLASSES = 193, 257, 19


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=8, help='timed steps of each process, after two that are not')
    parser.add_argument('--rounds', type=int, default=1, help='processes of each case')
    parser.add_argument('--batch_size', type=int, default=4, help='images of a step in all, an even number')
    parser.add_argument('--synchronized', action='store_true', help='with synchronised batch norm between the workers')
    parser.add_argument('--process', metavar='JSON', help=argparse.SUPPRESS)
    flags = parser.parse_args(arguments)
    if flags.process:
        print(json.dumps(_measure(**json.loads(flags.process))))
        return
    print(json.dumps(_report(flags, _cases(flags))))


def _cases(flags: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Seconds of every case, by what was timed."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    common = {'num_steps': flags.steps, 'synchronized': flags.synchronized}
    whole, half = {**common, 'batch_size': flags.batch_size}, {**common, 'batch_size': flags.batch_size // 2}
    addresses = _free_addresses(2)
    processes: dict[str, list[dict[str, Any]]] = {
        'one_thread': [{**whole, 'cores': cores[:1]}],
        'two_threads': [{**whole, 'cores': cores}],
        'share_alone': [{**half, 'cores': cores[:1]}],
        'share_beside': [{**half, 'cores': [core]} for core in cores],
        'two_workers': [{**half, 'cores': [core], 'addresses': addresses, 'index': i} for i, core in enumerate(cores)],
    }
    found: dict[str, dict[str, list[float]]] = {name: {} for name in processes}
    for _ in range(flags.rounds):
        for name, settings in processes.items():
            for timed, seconds in _run(settings).items():
                found[name].setdefault(timed, []).extend(seconds)
    return found


def _report(flags: argparse.Namespace, cases: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    seconds = {name: statistics.median(timed['step']) for name, timed in cases.items()}
    exchanges = {name: statistics.median(cases['two_workers'][name]) for name in ('gradients', 'averages')}
    step = seconds['two_workers']
    lost = {
        'sharing_the_machine': seconds['share_beside'] - seconds['share_alone'],
        'exchange_and_waiting': step - seconds['share_beside'],
    }
    speed = {name: flags.batch_size / seconds[name] for name in ('one_thread', 'two_threads', 'two_workers')}
    return {
        'benchmark': 'scaling',
        'case': f'icnet_0.5_{_HEIGHT}x{_WIDTH}_batch_{flags.batch_size}',
        'synchronized_batch_norm': flags.synchronized,
        'cpus': os.cpu_count(),
        'steps': flags.rounds * flags.steps,
        'load_average': round(os.getloadavg()[0], 1),
        'images_per_second': _rounded(speed),
        'over_one_thread': _rounded({name: value / speed['one_thread'] for name, value in speed.items()}),
        'median_step_seconds': _rounded({**seconds, **exchanges}),
        'lost_share_of_two_workers_step': _rounded({name: value / step for name, value in lost.items()}),
        'gradient_megabytes': round(cases['two_workers']['megabytes'][0], 1),
        'batch_norms': int(cases['two_workers']['batch_norms'][0]),
    }


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _free_addresses(count: int) -> list[str]:
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
    addresses = [f'127.0.0.1:{s.getsockname()[1]}' for s in sockets]
    for s in sockets:
        s.close()
    return addresses


def _run(settings: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """All at once; the seconds of the slowest, which is the one that the others wait for."""
    command = [sys.executable, '-m', 'benchmarks.scaling', '--process']
    environment = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'}
    processes = [
        subprocess.Popen(
            [*command, json.dumps(one)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for one in settings
    ]
    found = []
    for process in processes:
        printed, said = process.communicate()
        if process.returncode:
            for other in processes:
                other.kill()
            raise SystemExit(said)
        found.append(json.loads(printed.splitlines()[-1]))
    return max(found, key=lambda timed: statistics.median(timed['step']))


def _measure(
    *,
    cores: Sequence[int],
    num_steps: int,
    batch_size: int,
    synchronized: bool,
    addresses: Sequence[str] = (),
    index: int = 0,
) -> dict[str, list[float]]:
    os.sched_setaffinity(0, cores)

    import numpy as np
    import tensorflow as tf
    from google.protobuf import text_format

    from builders import model_builder, optimizer_builder
    from engine import devices, train_lib
    from engine.cluster import Cluster
    from engine.train_step import TOTAL_LOSS, make_train_step
    from protos.pipeline_pb2 import PipelineConfig

    tf.config.threading.set_intra_op_parallelism_threads(len(cores))
    tf.config.threading.set_inter_op_parallelism_threads(len(cores))
    cluster = None
    if addresses:
        cluster = Cluster(jobs={'worker': tuple(addresses)}, task_type='worker', task_index=index)
    strategy = devices.make_strategy(cluster=cluster)
    devices.keep_order_of_sums()
    tf.random.set_seed(1)
    config = text_format.Parse(_config(synchronized), PipelineConfig())
    optimizer = optimizer_builder.build(config.train_config.optimizer)
    model, state = train_lib.make_state(config, strategy, optimizer, model_builder.build)
    step = make_train_step(
        model=model, optimizer=optimizer, state=state, strategy=strategy, add_regularization_loss=True
    )
    rng = np.random.default_rng(index)
    images = rng.uniform(0, 255, (batch_size, _HEIGHT, _WIDTH, 3)).astype(np.float32)
    labels = rng.integers(0, _NUM_CLASSES, images.shape[:3]).astype(np.int32)
    batch = {'image': tf.constant(images), 'label': tf.constant(labels)}
    found = {'step': _times(lambda: float(step(batch)[TOTAL_LOSS]), num_steps)}
    if cluster:
        gradients = [tf.zeros(variable.shape) for variable in state.trainable.values()]
        averages = [tf.zeros(variable.shape) for variable in state.averages]
        found['gradients'] = _times(_exchange(strategy, gradients), num_steps)
        found['averages'] = _times(_exchange(strategy, averages), num_steps)
        found['megabytes'] = [sum(4 * int(tf.size(g)) for g in gradients) / 1e6]
        found['batch_norms'] = [len(averages) / 2]
    return found


def _config(synchronized: bool) -> str:
    return f"""
        model {{ icnet {{
          num_classes: {_NUM_CLASSES} filter_scale: 0.5 pooling_factors: [1, 2, 3, 6]
          feature_extractor {{ type: 'dilated_resnet50' }}
          hyperparams {{
            batch_norm {{ synchronized: {str(synchronized).lower()} }}
            regularizer {{ l2_regularizer {{ weight: 0.0001 }} }}
          }}
          loss {{ use_auxiliary_loss: true }}
        }} }}
        train_config {{ optimizer {{ momentum_optimizer {{
          learning_rate {{ constant_learning_rate {{ learning_rate: 0.001 }} }} }} }} }}"""


def _exchange(strategy: Any, tensors: Sequence[Any]) -> Callable[[], object]:
    """Adds up the tensors over the workers, all at once."""
    import tensorflow as tf

    def replica() -> Any:
        context = tf.distribute.get_replica_context()
        assert context is not None
        summed = context.all_reduce(tf.distribute.ReduceOp.SUM, list(tensors))
        return tf.add_n([tf.reduce_sum(tensor) for tensor in summed])

    compiled = tf.function(lambda: strategy.run(replica), autograph=False)
    return lambda: float(strategy.experimental_local_results(compiled())[0])


def _times(function: Callable[[], object], count: int) -> list[float]:
    """Seconds of each of `count` calls, after two that are not counted."""
    found = []
    for _ in range(count + 2):
        started = time.perf_counter()
        function()
        found.append(time.perf_counter() - started)
    return found[2:]


if __name__ == '__main__':
    command_line.run(main)
