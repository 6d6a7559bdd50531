"""Steps of the public reference implementation, its own graph and session, in a process of their own.

Prints one JSON object: [wall, CPU] seconds of each step, and what was trained.

    python -m benchmarks.peers.reference_step --reference_dir ../reference --case '{"architecture": "icnet", ...}'
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format

from benchmarks.peers import reference_names
from benchmarks.peers.cases import NUM_CLASSES, Case, random_batch
from benchmarks.peers.timing import times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--reference_dir', required=True, help='a checkout of the reference')
    parser.add_argument('--case', required=True, help='a benchmarks.peers.cases.Case as JSON')
    parser.add_argument('--steps', type=int, default=10)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(time_steps(Path(flags.reference_dir), Path(folder), Case.from_json(flags.case), flags.steps)))


def time_steps(reference_dir: Path, folder: Path, case: Case, num_steps: int) -> dict[str, Any]:
    """Times `session.run` of what the reference hands to `slim.learning.train`, on a batch that lies in memory."""
    found: dict[str, Any] = {}

    def train(train_op: Any, *, session_config: Any, **_: Any) -> None:
        with tf.Session(config=session_config) as session:
            session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
            wanted = [train_op, tf.train.get_global_step()]
            found['seconds'] = times(lambda: session.run(wanted), num_steps)
            found['loss'] = float(session.run(train_op))
            found['parameters'] = int(sum(np.prod(v.shape.as_list()) for v in tf.trainable_variables()))

    tf = reference_names.install(reference_dir, folder, train=train)
    trainer: Any = importlib.import_module('libs.trainer')

    trainer.create_training_input = lambda *_, **__: types.SimpleNamespace(dequeue=lambda: _batch(tf, case))
    run_trainer(trainer, case, train_text=case.train_text(), input_text='', logdir=str(folder))
    return found


def run_trainer(
    trainer: Any, case: Case, *, num_classes: int = NUM_CLASSES, train_text: str, input_text: str, logdir: str
) -> None:
    """Calls the reference's training as its own script does."""

    # Of the reference, not this project's: `reference_names.install` has put them first.
    dataset_builder, model_builder = (importlib.import_module(f'builders.{x}_builder') for x in ('dataset', 'model'))
    model, reader, train = (importlib.import_module(f'protos.{x}_pb2') for x in ('model', 'input_reader', 'train'))
    model_config = text_format.Parse(case.model_text(num_classes), model.FastSegmentationModel())
    # Without a checkpoint to begin with the reference fails; `reference_names` reads none.
    restored = ' fine_tune_checkpoint: "none" fine_tune_checkpoint_type: "segmentation"'
    input_config = text_format.Parse(input_text, reader.InputReader())
    trainer.train_segmentation_model(
        functools.partial(model_builder.build, model_config=model_config, is_training=True),
        functools.partial(dataset_builder.build, input_reader_config=input_config),
        text_format.Parse(train_text + restored, train.TrainConfig()),
        master='',
        task=0,
        is_chief=True,
        startup_delay_steps=0,
        train_dir=logdir,
        num_clones=1,
        num_worker_replicas=1,
        num_ps_tasks=0,
        clone_on_cpu=True,
        replica_id=0,
        num_replicas=1,
        max_checkpoints_to_keep=1,
        save_interval_secs=600,
        image_summaries=False,
    )


def _batch(tf: Any, case: Case) -> dict[str, Any]:
    """A batch as the reference's queue gives it, labels as float32 [B, H, W, 1], in variables of no model."""
    images, labels = random_batch(case)
    values = {'input_image': images, 'label_mask': labels[..., None].astype(np.float32)}
    return {
        name: tf.identity(tf.Variable(value, trainable=False, name=name, collections=[tf.GraphKeys.LOCAL_VARIABLES]))
        for name, value in values.items()
    }


if __name__ == '__main__':
    main()
