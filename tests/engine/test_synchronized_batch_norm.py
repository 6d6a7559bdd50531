"""Batch norm over several replicas: N of them with a batch of B / N move everything as one with B does."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests import forked

NUM_REPLICAS = {'six_layers': 4, 'icnet': 2}
PLANS = {'six_layers': ('none', 'memory'), 'icnet': ('memory',)}
MODELS = {
    'six_layers': None,
    'icnet': """icnet {
      num_classes: 3 filter_scale: 0.1 pooling_factors: [1, 2]
      feature_extractor { type: 'dilated_resnet50' }
      hyperparams { batch_norm { decay: 0.9 synchronized: true } regularizer { l2_regularizer { weight: 0.0001 } } }
      loss { use_auxiliary_loss: true }
    }""",
}


def one_step(name, strategy, images, labels, *, skip=False, planner=None):
    """Scalars of a step on the whole batch, and every variable and slot after it."""
    import tensorflow as tf
    from google.protobuf import text_format

    from builders import model_builder
    from core import layers, schedules
    from core.optimizers import Momentum
    from engine import devices
    from engine.train_state import TrainState
    from engine.train_step import make_train_step
    from protos import model_pb2
    from tests import tiny_training
    from tests.engine import test_not_finite

    optimizer = Momentum(learning_rate=schedules.constant(learning_rate=0.1), momentum=0.9)
    tf.random.set_seed(7)
    with strategy.scope():
        if MODELS[name] is None:
            norm = layers.BatchNorm(decay=0.9, synchronized=True)
            model = test_not_finite.tiny_model(tiny_training.TinyModel, test_not_finite.DeepExtractor(), norm)
        else:
            model = model_builder.build(text_format.Parse(MODELS[name], model_pb2.FastSegmentationModel()))
        assert isinstance(model.hyperparams.batch_norm, layers.BatchNorm) and model.hyperparams.batch_norm.synchronized
        model.build()
        if strategy.num_replicas_in_sync > 1:
            model.synchronize(devices.gather_replicas)
        state = TrainState(model, optimizer)
    rng = np.random.default_rng(0)
    for key, variable in state.variables.items():
        if key.endswith('gamma'):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape).astype(np.float32))
        elif key.endswith('beta'):
            variable.assign(rng.uniform(-0.2, 0.2, variable.shape).astype(np.float32))
        elif not key.split('/')[-1].startswith('moving'):
            # Not by TensorFlow's seeds, which know the devices.
            variable.assign(rng.normal(0, 1, variable.shape).astype(np.float32) / np.sqrt(np.prod(variable.shape[:-1])))
    step = make_train_step(
        model=model,
        optimizer=optimizer,
        state=state,
        strategy=strategy,
        add_regularization_loss=True,
        skip_not_finite=skip,
        planner=planner,
    )
    size = len(images) // strategy.num_replicas_in_sync

    def part(values):
        return strategy.experimental_distribute_values_from_function(
            lambda context: values[context.replica_id_in_sync_group * size :][:size]
        )

    batch = {'image': tf.constant(images), 'label': tf.constant(labels)}
    scalars = step(batch if strategy.num_replicas_in_sync == 1 else {key: part(v) for key, v in batch.items()})
    tensors = {key: np.asarray(value) for key, value in state.tensors().items() if not key.startswith('training/')}
    return {key: float(value) for key, value in scalars.items()}, tensors


def compare(name):
    """In a process of its own, whose CPU is made several: the largest differences of one step, by kind."""
    import tensorflow as tf

    from engine import devices
    from recompute.plan import Mode, Planner, Request

    count = NUM_REPLICAS[name]
    several = devices.make_strategy(num_clones=count, clone_on_cpu=True)
    single = tf.distribute.OneDeviceStrategy('/cpu:0')
    rng = np.random.default_rng(1)
    # Far from each other, so that statistics of a part are not those of the whole; far from zero.
    offsets = np.linspace(20, 200, count).repeat(2)[:, None, None, None]
    images = (offsets + rng.normal(0, 20, (2 * count, 33, 41, 3))).astype(np.float32)
    labels = rng.integers(0, 3, images.shape[:3]).astype(np.int32)
    expected = one_step(name, single, images, labels)
    for mode in PLANS[name]:
        planner = Planner(Request(mode=Mode(mode)))
        found = one_step(name, several, images, labels, planner=planner)
        assert set(found[0]) == set(expected[0]) and set(found[1]) == set(expected[1])
        worst = {'scalars': 0.0, 'weights': 0.0, 'slots': 0.0, 'averages': 0.0}
        for key, value in expected[0].items():
            worst['scalars'] = max(worst['scalars'], abs(found[0][key] - value) / max(1e-3, abs(value)))
        for key, value in expected[1].items():
            kind = 'averages' if 'moving' in key else 'slots' if key.endswith('Momentum') else 'weights'
            difference = np.abs(found[1][key] - value).max() / max(1e-2, np.abs(value).max())
            worst[kind] = max(worst[kind], float(difference))
        print(json.dumps(worst))
    moved = [key for key, value in expected[1].items() if 'moving_mean' in key and np.abs(value).max() > 1e-3]
    print(json.dumps(len(moved)))


@pytest.mark.parametrize('name', ['six_layers', pytest.param('icnet', marks=pytest.mark.slow)])
def test_replicas_train_as_one(name):
    said = forked.run(compare, name, patience_seconds=900)
    *worst, moved = [json.loads(line) for line in said.splitlines()]
    assert len(worst) == len(PLANS[name]) and moved >= 1
    for differences in worst:
        assert max(differences.values()) < (2e-4 if name == 'six_layers' else 2e-3), differences
