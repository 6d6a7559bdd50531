"""What share of a training's time it waits for its input.

Prints one JSON object: the engine's own step on its own batches, as a config says; of each step, the time until
its batch is there and the time of the step. The first steps, which compile, and fill what is kept ready, do not count.

    python -m benchmarks.input_wait --config_path configs/icnet_0.5_289x385_resnet50_camvid.config --steps 20
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence

from builders import config_loader
from core import command_line

_NOT_COUNTED = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Reads the flags, trains some steps, prints the object."""
    parser = command_line.make_parser(__doc__ or '', '')
    command_line.add_config_flags(parser)
    parser.add_argument('--steps', type=int, default=20)
    flags = parser.parse_args(argv)
    config = config_loader.load(flags.config_path, flags.overrides, purpose='train')

    # After the config is checked: these load TensorFlow.
    from builders import model_builder, optimizer_builder
    from engine import train_lib
    from engine.train_input import TrainInput
    from engine.train_step import TOTAL_LOSS

    waits, steps = [], []
    with tempfile.TemporaryDirectory() as logdir:
        options = train_lib.TrainOptions(logdir=logdir)
        strategy = train_lib.prepare_devices(config.train_config, options)
        train_input = TrainInput(config, strategy, logdir=logdir)
        optimizer = optimizer_builder.build(config.train_config.optimizer)
        model, state = train_lib.make_state(config, strategy, optimizer, model_builder.build)
        step = train_lib.make_step(config, options, model, state, optimizer, strategy)
        batches = iter(train_input.batches(0, 0))
        for _ in range(flags.steps + _NOT_COUNTED):
            started = time.perf_counter()
            batch = next(batches)
            there = time.perf_counter()
            float(step(batch)[TOTAL_LOSS])
            waits.append(there - started)
            steps.append(time.perf_counter() - there)
    waits, steps = waits[_NOT_COUNTED:], steps[_NOT_COUNTED:]
    print(
        json.dumps(
            {
                'benchmark': 'input_wait',
                'config': os.path.basename(flags.config_path),
                'cpus': len(os.sched_getaffinity(0)),
                'steps': len(steps),
                'share_of_time_waiting': round(sum(waits) / (sum(waits) + sum(steps)), 5),
                'longest_wait_seconds': round(max(waits), 4),
                'median_step_seconds': round(statistics.median(steps), 4),
                'images_per_second': round(len(steps) * config.train_config.batch_size / (sum(waits) + sum(steps)), 2),
            }
        )
    )
    return 0


if __name__ == '__main__':
    command_line.run(main)
