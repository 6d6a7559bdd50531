"""Steps of this project's engine in this process, for everything that times them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format

from benchmarks.peers.cases import LEARNING_RATE, MOMENTUM, NUM_CLASSES, Case, random_batch
from benchmarks.peers.timing import times
from builders import model_builder
from core import fields
from core.errors import UserError
from core.model import SegmentationModel
from core.optimizers import Momentum
from core.schedules import constant
from engine import devices
from engine.train_state import TrainState
from engine.train_step import TOTAL_LOSS, make_train_step
from protos import model_pb2

Batch = Mapping[str, tf.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--case', required=True, help='a benchmarks.peers.cases.Case as JSON')
    parser.add_argument('--steps', type=int, default=10)
    parser.add_argument('--bfloat16', action='store_true')
    flags = parser.parse_args()
    print(json.dumps(time_steps(Case.from_json(flags.case), flags.steps, bfloat16=flags.bfloat16)))


def time_steps(case: Case, num_steps: int, *, bfloat16: bool) -> dict[str, Any]:
    """Times the step as `train.py` compiles it, on a batch that lies in memory."""
    prepare(bfloat16=bfloat16)
    step, state, batch = make_step(lambda: network(case), *random_batch(case))
    seconds = times(lambda: float(step(batch)[TOTAL_LOSS]), num_steps)
    return {'seconds': seconds, 'loss': float(step(batch)[TOTAL_LOSS]), 'parameters': state.parameter_count()}


def prepare(*, bfloat16: bool = False) -> None:
    """What `train.py` sets before anything runs."""
    devices.keep_order_of_sums()
    if devices.use_bfloat16(bfloat16) != bfloat16:
        raise UserError('--bfloat16: this processor would emulate it')
    tf.random.set_seed(1)


def network(case: Case, num_classes: int = NUM_CLASSES) -> SegmentationModel:
    """The network of a case, without its variables yet."""
    config = text_format.Parse(case.model_text(num_classes), model_pb2.FastSegmentationModel())
    return model_builder.build(config)


def make_step(
    build: Callable[[], SegmentationModel],
    images: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any],
    **settings: Any,
) -> tuple[Any, TrainState, Batch]:
    """(step, its state, batch for it) of momentum with the regulariser; `settings`: see `make_train_step`."""
    strategy = devices.make_strategy(num_clones=1, clone_on_cpu=False)
    optimizer = Momentum(learning_rate=constant(learning_rate=LEARNING_RATE), momentum=MOMENTUM)
    with strategy.scope():
        model = build()
        model.build()
        state = TrainState(model, optimizer)
    step = make_train_step(
        model=model, optimizer=optimizer, state=state, strategy=strategy, add_regularization_loss=True, **settings
    )
    return step, state, {fields.IMAGE: tf.constant(images), fields.LABEL: tf.constant(labels)}


if __name__ == '__main__':
    main()
