"""First-order Taylor scores against the change of the loss when a channel is faded by a little."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from builders import model_builder
from compression import tracing
from core.fields import IMAGE, LABEL
from engine import taylor
from protos.model_pb2 import FastSegmentationModel
from tests import tiny_training


@pytest.fixture
def model():
    model = tiny_training.build_model(tiny_training.config().model)
    model.build()
    rng = np.random.default_rng(1)
    for name, variable in model.variables_by_name().items():
        if name.endswith(('beta', 'gamma')):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def _batch(seed: int) -> dict[str, tf.Tensor]:
    dataset = tiny_training.build_dataset(None, batch_size=2, seed=seed)
    return next(iter(dataset))


def _loss(model, batch) -> float:
    predictions = model.predict(model.preprocess(batch[IMAGE]), is_training=True)
    return float(tf.add_n(list(model.loss(predictions, batch[LABEL]).values())))


def test_scores_are_squared_slopes_of_the_loss(model):
    graph = tracing.trace(model)
    (group,) = graph.groups
    batches = [_batch(1), _batch(2)]
    variables = model.variables_by_name()
    before = {name: variable.numpy() for name, variable in variables.items()}

    (scores,) = (
        values for axis, values in taylor.scores(model, graph, batches).items() if axis == group.layers[0].outputs
    )

    assert all(np.array_equal(variables[name].numpy(), value) for name, value in before.items())
    norms = [variable for name, variable in variables.items() if name.endswith(('beta', 'gamma'))]
    assert len(norms) == 2
    for channel in range(len(scores)):
        want = sum(_slope(model, batch, norms, channel) ** 2 for batch in batches)
        assert scores[channel] == pytest.approx(want, rel=0.05)


def _slope(model, batch, norms, channel: int, step: float = 0.02) -> float:
    """Of the loss, where what the channel is behind its batch norm is multiplied by a number near 1."""
    losses, values = [], [variable.numpy() for variable in norms]
    for factor in (1 + step, 1 - step):
        for variable, value in zip(norms, values, strict=True):
            variable.assign(np.where(np.arange(len(value)) == channel, factor * value, value))
        losses.append(_loss(model, batch))
    for variable, value in zip(norms, values, strict=True):
        variable.assign(value)
    return (losses[0] - losses[1]) / (2 * step)


@pytest.mark.parametrize(
    ('architecture', 'layer'), [('icnet', 'CascadeFeatureFusion/DilatedConv'), ('pspnet', 'PSPModule/Conv_2')]
)
def test_scores_are_those_of_the_layer_where_training_computes_it_in_another_order(architecture, layer):
    """In a training of fixed size its kernel is applied to other maps, or in parts, and not to the layer's inputs."""
    text = f"""{architecture} {{
      num_classes: 3 filter_scale: 0.125 pooling_factors: [1, 2]
      feature_extractor {{ type: 'resnet_v1_18' }}
      hyperparams {{ batch_norm {{}} initializer {{ variance_scaling_initializer {{}} }} }}
      loss {{ classification_loss {{ softmax {{}} }} use_auxiliary_loss: true }}
    }}"""
    tf.random.set_seed(7)
    model = model_builder.build(text_format.Parse(text, FastSegmentationModel()))
    model.build()
    graph = tracing.trace(model)
    rng = np.random.default_rng(1)
    image = tf.constant(rng.uniform(0, 255, (1, 65, 97, 3)), tf.float32)
    batch = {IMAGE: image, LABEL: tf.constant(rng.integers(0, 3, (1, 65, 97)), tf.int32)}

    scores = taylor.scores(model, graph, [batch])

    assert {layer.outputs for group in graph.groups for layer in group.layers} <= set(scores)
    (found,) = (values for axis, values in scores.items() if axis.variable == f'{layer}/weights')
    variables = model.variables_by_name()
    norms = [variables[f'{layer}/BatchNorm/{name}'] for name in ('gamma', 'beta')]
    for channel in np.argsort(found)[-3:]:
        assert found[channel] == pytest.approx(_slope(model, batch, norms, channel, step=0.005) ** 2, rel=0.05)
