"""Batch-norm averages measured again equal those of all pixels at once."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from builders import model_builder
from core.errors import UserError
from core.model import SegmentationModel
from engine import batch_norm_statistics
from protos.pipeline_pb2 import PipelineConfig
from tests import tiny_training
from tests.contracts.configs import HYPERPARAMS, model_config


def batches(count: int, *, size: int = 3, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Images whose brightness differs from batch to batch."""
    rng = np.random.default_rng(seed)
    return [{'image': rng.uniform(0, 60 + 30 * i, (size, 9, 13, 3)).astype(np.float32)} for i in range(count)]


def tiny_model() -> SegmentationModel:
    tf.random.set_seed(3)
    model = tiny_training.build_model(tiny_training.config().model)
    model.build()
    return model


def values(model: SegmentationModel) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in model.variables_by_name().items()}


def test_they_are_the_mean_and_variance_of_every_pixel_of_every_batch():
    model = tiny_model()
    data = batches(4)
    measured = batch_norm_statistics.measure(model, data, num_batches=4)
    scope = 'SharedFeatureExtractor/tiny/conv1'
    images = model.preprocess(np.concatenate([batch['image'] for batch in data]))
    outputs = tf.nn.conv2d(images, model.variables_by_name()[f'{scope}/weights'], 1, 'SAME').numpy().astype(np.float64)
    assert set(measured) == {f'{scope}/BatchNorm/moving_mean', f'{scope}/BatchNorm/moving_variance'}
    np.testing.assert_allclose(
        measured[f'{scope}/BatchNorm/moving_mean'], outputs.mean((0, 1, 2)), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(measured[f'{scope}/BatchNorm/moving_variance'], outputs.var((0, 1, 2)), rtol=1e-4)


def test_only_so_many_batches_count():
    first = batch_norm_statistics.measure(tiny_model(), batches(2), num_batches=2)
    more = batch_norm_statistics.measure(tiny_model(), batches(5), num_batches=2)
    assert all(np.array_equal(first[name], more[name]) for name in first)


def test_no_batch_is_said():
    with pytest.raises(UserError, match='no batch'):
        batch_norm_statistics.measure(tiny_model(), [], num_batches=2)


def deep_model(hyperparams: str) -> SegmentationModel:
    tf.random.set_seed(5)
    config = model_config(
        'fcn', 'mobilenet_v1', filter_scale=0.125, loss='', extra='stride: 8', hyperparams=hyperparams
    )
    model = model_builder.build(config)
    model.build()
    return model


@pytest.mark.parametrize('norm', ['decay: 0', 'decay: 0 train: false'])
def test_every_layer_of_a_deep_net_and_nothing_else_changes(norm, monkeypatch):
    """With decay 0 slim's own averages are those of the last batch, in another way than the one tested."""
    model = deep_model(HYPERPARAMS.replace('decay: 0.9', norm))
    rng = np.random.default_rng(2)
    data = [{'image': rng.uniform(0, 80 + 40 * i, (4, 33, 49, 3)).astype(np.float32)} for i in range(3)]
    before, hyperparams = values(model), model.hyperparams
    monkeypatch.setattr(batch_norm_statistics.input_builder, 'build_train', lambda config: data)
    num_layers = batch_norm_statistics.recalibrate(model, PipelineConfig(), num_batches=3)
    after = values(model)
    moving = {name for name in before if 'moving_' in name}
    assert num_layers == len(moving) // 2 > 20 and model.hyperparams is hyperparams
    assert {name for name in before if not np.array_equal(before[name], after[name])} == moving

    trained = deep_model(HYPERPARAMS.replace('decay: 0.9', 'decay: 0'))
    for name, value in before.items():
        trained.variables_by_name()[name].assign(value)
    means, variances = [], []
    for batch in data:
        trained.predict(trained.preprocess(batch['image']), is_training=True)
        means.append({name: value for name, value in values(trained).items() if name.endswith('moving_mean')})
        variances.append({name: value for name, value in values(trained).items() if name.endswith('moving_variance')})
    for name in moving:
        if name.endswith('moving_mean'):
            np.testing.assert_allclose(after[name], np.mean([m[name] for m in means], 0), rtol=1e-3, atol=1e-4)
            continue
        mean = name.replace('moving_variance', 'moving_mean')
        spread = np.var([m[mean] for m in means], 0)
        unbiased = np.mean([v[name] for v in variances], 0)  # n / (n - 1) times the batch's own, n >= 16 pixels
        assert (after[name] <= (unbiased + spread) * 1.001 + 1e-6).all(), name
        assert (after[name] >= 0.9375 * 0.999 * unbiased + spread - 1e-5).all(), name


def test_a_net_without_batch_norm_reads_no_record():
    model = deep_model('hyperparams { group_norm { groups: 4 } initializer { variance_scaling_initializer {} } }')
    assert batch_norm_statistics.recalibrate(model, PipelineConfig(), num_batches=3) == 0
