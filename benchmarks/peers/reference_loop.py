"""Images per second of the reference's own training loop: its input queues, session, supervisor and summaries.

Prints one JSON object.

    python -m benchmarks.peers.reference_loop --reference_dir ../reference --records 'data/camvid/camvid_train.record-*'
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers import loop_config, reference_names
from benchmarks.peers.reference_step import run_trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--reference_dir', required=True, help='a checkout of the reference')
    parser.add_argument('--records', required=True, help='pattern of CamVid records')
    parser.add_argument('--steps', type=int, default=60, help='timed steps')
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(flags.reference_dir), Path(folder), flags.records, flags.steps)))


def measure(reference_dir: Path, folder: Path, records: str, num_steps: int) -> dict[str, Any]:
    """Times the ends of steps within `slim.learning.train`."""
    ends: list[float] = []

    def train(train_op: Any, *, train_step_fn: Any, original: Callable[..., Any], **settings: Any) -> None:
        def timed(*arguments: Any) -> Any:
            result = train_step_fn(*arguments)
            ends.append(time.perf_counter())
            return result

        original(train_op, train_step_fn=timed, **settings)

    reference_names.install(reference_dir, folder, train=train)
    trainer = importlib.import_module('libs.trainer')

    # Queues of the sizes its configs have for Cityscapes would hold all of CamVid several times over.
    reading = f'shuffle_buffer: {loop_config.NUM_EXAMPLES} num_parallel_calls: 2'
    queues = 'batch_queue_capacity: 24 num_batch_queue_threads: 2 prefetch_queue_capacity: 2'
    run_trainer(
        trainer,
        loop_config.CASE,
        num_classes=loop_config.NUM_CLASSES,
        train_text=f'{loop_config.train_text(num_steps)} {queues}',
        input_text=f'{loop_config.input_text(records)} {reading}',
        logdir=str(folder / 'run'),
    )
    counted = ends[loop_config.STEPS_NOT_COUNTED - 1 :]
    return {'images_per_second': loop_config.CASE.batch * (len(counted) - 1) / (counted[-1] - counted[0])}


if __name__ == '__main__':
    main()
