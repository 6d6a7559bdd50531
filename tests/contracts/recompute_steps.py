"""`python -m tests.contracts.recompute_steps CASE...`: what plain and planned training steps of models come to.

A process of its own, since determinism, number formats and devices cannot be changed back. A case is
`architecture:extractor`; with `--bfloat16` oneDNN computes in bfloat16 where the processor can, with `--replicas=2` the
batch is shared by two CPU devices, with `--nested` segments run again inside segments. One JSON object a case and line:
what differs, and what the plan was.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from builders import model_builder, pairs
from core import fields, schedules
from core.model import SegmentationModel
from core.optimizers import Momentum
from engine import devices
from engine.train_state import TrainState
from engine.train_step import make_train_step
from recompute.plan import Planner
from tests.contracts.configs import model_config
from tests.recompute.thorough import HalvingPlanner, LeastPlanner

_SIZE = (129, 161)
_REPLICA_BATCH = 2
_LEARNING_RATE = 0.01


def build(architecture: str, extractor: str) -> SegmentationModel:
    """A narrow net with everything that a step may hold: auxiliary heads, dropout, a regulariser."""
    loss = '' if architecture == 'fcn' else 'use_auxiliary_loss: true'
    stride = 8 if extractor in pairs.STRIDE_8_ONLY else 16
    extra = f'stride: {stride} dropout_keep_prob: 0.5' if architecture == 'fcn' else ''
    model = model_builder.build(model_config(architecture, extractor, filter_scale=0.125, loss=loss, extra=extra))
    model.build()
    return model


def compare(architecture: str, extractor: str, strategy: tf.distribute.Strategy, planner: Planner) -> dict[str, Any]:
    """One step each from the same values. Momentum's slots hold the gradients, so they are compared as well."""
    started = time.monotonic()
    optimizer = Momentum(learning_rate=schedules.constant(learning_rate=_LEARNING_RATE), momentum=0.9)
    tf.random.set_seed(7)
    with strategy.scope():
        model = build(architecture, extractor)
        state = TrainState(model, optimizer)
    # Scores that start at zero would pass no gradient on.
    rng = np.random.default_rng(0)
    for variable in state.trainable.values():
        variable.assign_add(rng.normal(0, 0.02, variable.shape))
    changing = {name: value for name, value in state.tensors().items() if not isinstance(value, np.integer)}
    first = {name: variable.numpy() for name, variable in changing.items()}
    batch = _batch(strategy)
    outcomes = []
    for used in (None, planner):
        for name, variable in changing.items():
            variable.assign(first[name])
        tf.random.set_seed(7)
        step = make_train_step(
            model=model,
            optimizer=optimizer,
            state=state,
            strategy=strategy,
            add_regularization_loss=True,
            planner=used,
        )
        scalars = {f'scalar {name}': value.numpy() for name, value in step(batch).items()}
        outcomes.append({**scalars, **{name: variable.numpy() for name, variable in changing.items()}})
    plain, planned = outcomes
    plan = planner.plan
    assert plan is not None
    slots = {name: slot.numpy() for name, (slot,) in state.slots.items()}
    unmovable = {name for name, slot in slots.items() if slot.any() and _too_small(first[name], slot)}
    return {
        'case': f'{architecture}:{extractor}',
        'compared': len(plain),
        'unequal': {n: _distance(plain[n], planned[n]) for n in plain if not np.array_equal(plain[n], planned[n])},
        'unmoved': sorted(n for n in first if np.array_equal(first[n], planned[n]) and n not in unmovable),
        'extra_work': plan.extra_work,
        'kept': plan.kept_activation_bytes,
        'plain': plan.plain_activation_bytes,
        'seconds': time.monotonic() - started,
    }


def _too_small(value: np.ndarray, gradient: np.ndarray) -> bool:
    """Whether a step is lost in rounding, as of a shift that the next batch norm takes out: its gradient is noise."""
    return np.array_equal(value - np.float32(_LEARNING_RATE) * gradient, value)


def _batch(strategy: tf.distribute.Strategy) -> Any:
    rng = np.random.default_rng(1)

    def of_replica(_: tf.distribute.ReplicaContext | Any) -> dict[str, tf.Tensor]:
        labels = rng.integers(0, 3, (_REPLICA_BATCH, *_SIZE)).astype(np.int32)
        labels[:, :4] = 255
        images = rng.uniform(0, 255, (_REPLICA_BATCH, *_SIZE, 3)).astype(np.float32)
        return {fields.IMAGE: tf.constant(images), fields.LABEL: tf.constant(labels)}

    if strategy.num_replicas_in_sync == 1:
        return of_replica(None)
    return strategy.experimental_distribute_values_from_function(of_replica)


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference, relative to the largest entry."""
    return float(np.abs(one - other).max() / max(np.abs(one).max(), 1e-30))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('cases', nargs='+')
    parser.add_argument('--bfloat16', action='store_true')
    parser.add_argument('--nested', action='store_true')
    parser.add_argument('--replicas', type=int, default=1)
    args = parser.parse_args(arguments)
    strategy = devices.make_strategy(num_clones=args.replicas, clone_on_cpu=True)
    devices.keep_order_of_sums()
    devices.use_bfloat16(args.bfloat16)
    tf.config.experimental.enable_op_determinism()
    for case in args.cases:
        architecture, extractor = case.split(':')
        planner = HalvingPlanner() if args.nested else LeastPlanner()
        print(json.dumps(compare(architecture, extractor, strategy, planner)), flush=True)
        tf.keras.backend.clear_session()
    sys.stdout.flush()


if __name__ == '__main__':
    main()
