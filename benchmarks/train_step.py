"""Seconds of one training step, float32 against bfloat16, each in processes of their own, in turn.

Prints one JSON object. The step is the engine's own (forward, losses, regulariser, backward, clipping norm, momentum
update) on a batch that lies in memory, so reading data does not count; benchmarks of the whole loop do that.

    python -m benchmarks.train_step --case icnet_0.5_353x481_batch_8 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

# Architecture, filter scale, height, width, batch.
CASES = {
    'icnet_1.0_513x513_batch_2': ('icnet', 1.0, 513, 513, 2),
    'icnet_0.5_353x481_batch_8': ('icnet', 0.5, 353, 481, 8),
    'pspnet_1.0_257x257_batch_2': ('pspnet', 1.0, 257, 257, 2),
}
_PRECISIONS = ('float32', 'bfloat16')
_NUM_CLASSES = 19


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--case', choices=sorted(CASES), default='icnet_0.5_353x481_batch_8')
    parser.add_argument('--rounds', type=int, default=3, help='processes of each precision')
    parser.add_argument('--steps', type=int, default=10, help='timed steps of each process, after two that are not')
    parser.add_argument('--worker', choices=_PRECISIONS, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.worker:
        print(json.dumps(_time_steps(flags.case, flags.worker, flags.steps)))
        return
    seconds: dict[str, list[float]] = {precision: [] for precision in _PRECISIONS}
    for _ in range(flags.rounds):
        for precision in _PRECISIONS:
            seconds[precision] += _run_worker(flags, precision)
    medians = {precision: statistics.median(values) for precision, values in seconds.items()}
    print(
        json.dumps(
            {
                'benchmark': 'train_step',
                'case': flags.case,
                'cpus': os.cpu_count(),
                'median_seconds': {precision: round(value, 4) for precision, value in medians.items()},
                'float32_over_bfloat16': round(medians['float32'] / medians['bfloat16'], 3),
                'steps': len(seconds['float32']),
            }
        )
    )


def _run_worker(flags: argparse.Namespace, precision: str) -> list[float]:
    command = [sys.executable, '-m', 'benchmarks.train_step', '--case', flags.case, '--steps', str(flags.steps)]
    done = subprocess.run([*command, '--worker', precision], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _time_steps(case: str, precision: str, num_steps: int) -> list[float]:
    import numpy as np
    import tensorflow as tf
    from google.protobuf import text_format

    from builders import model_builder
    from core.optimizers import Momentum
    from core.schedules import constant
    from engine import devices
    from engine.train_state import TrainState
    from engine.train_step import TOTAL_LOSS, make_train_step
    from protos import model_pb2

    architecture, filter_scale, height, width, batch_size = CASES[case]
    devices.use_bfloat16(precision == 'bfloat16')
    config = text_format.Parse(
        f"""{architecture} {{
          num_classes: {_NUM_CLASSES} filter_scale: {filter_scale} pooling_factors: [1, 2, 3, 6]
          feature_extractor {{ type: 'dilated_resnet50' }}
          hyperparams {{ regularizer {{ l2_regularizer {{ weight: 0.0001 }} }} }}
          loss {{ use_auxiliary_loss: true }}
        }}""",
        model_pb2.FastSegmentationModel(),
    )
    strategy = devices.make_strategy(num_clones=1, clone_on_cpu=False)
    optimizer = Momentum(learning_rate=constant(learning_rate=0.001), momentum=0.9)
    with strategy.scope():
        model = model_builder.build(config)
        model.build()
        state = TrainState(model, optimizer)
    step = make_train_step(
        model=model, optimizer=optimizer, state=state, strategy=strategy, add_regularization_loss=True
    )
    rng = np.random.default_rng(0)
    batch = {
        'image': tf.constant(rng.uniform(0, 255, (batch_size, height, width, 3)).astype(np.float32)),
        'label': tf.constant(rng.integers(0, _NUM_CLASSES, (batch_size, height, width)).astype(np.int32)),
    }
    seconds = []
    for _ in range(num_steps + 2):
        started = time.perf_counter()
        float(step(batch)[TOTAL_LOSS])
        seconds.append(time.perf_counter() - started)
    return seconds[2:]


if __name__ == '__main__':
    main()
