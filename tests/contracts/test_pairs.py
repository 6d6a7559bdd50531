"""Every architecture on every extractor that it supports: sizes, gradients, checkpoints, the config itself.

What goes deeper into one model, the reference's extractors too, is in test_model_contract. One extractor of each family
always meets one architecture, and the lightest all three; the other pairs are slow to build and trace, and marked so.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from builders import config_checks, model_builder, pairs
from builders.names import FEATURE_EXTRACTORS
from core.fields import LOGITS
from core.model import SegmentationModel
from core.servable import InputShape
from engine import checkpoints
from protos import model_pb2
from protos.pipeline_pb2 import PipelineConfig
from tests.contracts.configs import HYPERPARAMS, model_config
from tests.contracts.exported import FIXED, assert_frozen_graph_is_the_model

_ARCHITECTURES = ('pspnet', 'icnet', 'fcn')
_QUICK = {
    *((architecture, 'resnet_v1_18') for architecture in _ARCHITECTURES),
    *(('icnet', 'mobilenet_v2'), ('pspnet', 'resnet_v2_50'), ('fcn', 'vgg16_fc'), ('fcn', 'inception_v1')),
}
_ELSEWHERE = {(a, e) for a in ('icnet', 'pspnet') for e in pairs.STRIDE_8_ONLY}  # in test_model_contract
_PAIRS = [
    (architecture, extractor)
    for architecture in _ARCHITECTURES
    for extractor in FEATURE_EXTRACTORS
    if (architecture, extractor) not in pairs.UNSUPPORTED and (architecture, extractor) not in _ELSEWHERE
]
_SIZE = (33, 65)
# Layers as wide as there are classes; PSPNet's pyramid levels, which keep 512 filters at any scale; the first layers of
# the reference's MobileNetV2, and what expands them.
_ONE_WIDTH = {
    'dilated_mobilenet': (
        *('MobilenetV2/Conv/', 'expanded_conv/', 'expanded_conv_1/expand/', 'expanded_conv_1/depthwise/'),
    ),
    'fcn': ('Predictions/',),
    'icnet': ('Predictions/', 'Aux'),
    'pspnet': ('Predictions/', 'Aux', 'PSPModule/Conv/', *(f'PSPModule/Conv_{i}/' for i in (1, 2, 3))),
}

# Of ICNet test_model_contract.py has the reference's, and test_export_formats.py every form of it on resnet_v1_18.
_EXPORTED = [('fcn', 'mobilenet_v1'), ('pspnet', 'resnet_v2_50'), ('pspnet', 'vgg16')]


def config_of(architecture: str, extractor: str, *, filter_scale: float = 0.125) -> model_pb2.FastSegmentationModel:
    extra = ''
    if architecture == 'fcn':
        stride = 8 if extractor in pairs.STRIDE_8_ONLY else 16
        extra = f'stride: {stride} dropout_keep_prob: 1'
    loss = '' if architecture == 'fcn' else 'use_auxiliary_loss: true'
    return model_config(architecture, extractor, filter_scale=filter_scale, loss=loss, extra=extra)


def _marked(quick: Collection[tuple[str, str]]) -> list[Any]:
    return [pytest.param(p, marks=[] if p in quick else [pytest.mark.slow], id='-'.join(p)) for p in _PAIRS]


@pytest.fixture(scope='module', params=_marked(_QUICK))
def pair(request) -> tuple[str, str]:
    return request.param


@pytest.fixture(scope='module')
def model(pair: tuple[str, str]) -> SegmentationModel:
    tf.random.set_seed(7)
    model = model_builder.build(config_of(*pair))
    model.build()
    return model


def _images(height: int, width: int, batch: int = 1) -> tf.Tensor:
    return tf.constant(np.random.default_rng(1).uniform(0, 255, (batch, height, width, 3)).astype(np.float32))


def _labels(height: int, width: int, batch: int) -> tf.Tensor:
    labels = np.random.default_rng(2).integers(0, 3, (batch, height, width)).astype(np.int32)
    labels[:, :4] = 255
    return tf.constant(labels)


def test_any_image_size_gives_logits_of_that_size(model: SegmentationModel):
    free = tf.function(
        lambda x: model.predict(model.preprocess(x), is_training=False)[LOGITS],
        autograph=False,
        input_signature=[tf.TensorSpec([None, None, None, 3])],
    )
    for height, width in (_SIZE, (50, 41)):
        logits = free(_images(height, width))
        assert logits.shape == (1, height, width, 3)
        assert np.isfinite(logits.numpy()).all()


def test_gradient_reaches_every_trainable_variable_and_steps_lower_the_loss(model: SegmentationModel):
    images, labels = _images(*_SIZE, batch=2), _labels(*_SIZE, batch=2)
    variables = model.trainable_variables

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            predictions = model.predict(model.preprocess(images), is_training=True)
            loss = tf.add_n(list(model.loss(predictions, labels).values()))
        gradients = tape.gradient(loss, variables)
        assert None not in gradients, [v.name for v, g in zip(variables, gradients, strict=True) if g is None]
        # Small steps of bounded length go down even where no normalisation bounds the features (VGG's reach hundreds).
        clipped, _ = tf.clip_by_global_norm(gradients, 1.0)
        for variable, gradient in zip(variables, clipped, strict=True):
            variable.assign_sub(0.0001 * gradient)
        return loss, tf.stack([tf.reduce_max(tf.abs(gradient)) for gradient in gradients])

    losses, largest = [], np.zeros(len(variables))
    for _ in range(4):  # scores that start at zero pass nothing on in the first step
        loss, sizes = step()
        losses.append(float(loss))
        largest = np.maximum(largest, sizes.numpy())
    dead = [v.name for v, size in zip(variables, largest, strict=True) if size == 0]
    assert not dead
    assert min(losses[1:]) < losses[0], losses  # a hundred layers at their first values do not go down at each step


def test_a_checkpoint_brings_back_every_variable(model: SegmentationModel, tmp_path):
    variables = model.variables_by_name()
    want = {name: variable.numpy() for name, variable in variables.items()}
    path = checkpoints.write(tmp_path / 'model.ckpt-1', variables)
    for variable in variables.values():
        variable.assign(tf.zeros_like(variable))

    report = checkpoints.restore_variables(variables, path)

    assert sorted(want) == report.matched
    assert all(np.array_equal(variables[name].numpy(), value) for name, value in want.items())


@pytest.mark.parametrize('input_shape', [(None, None, None), FIXED], ids=['free', 'fixed'])
@pytest.mark.parametrize('quick', _EXPORTED, ids='-'.join)
def test_the_frozen_graph_of_some_pairs_is_the_model(quick: tuple[str, str], input_shape: InputShape, tmp_path):
    tf.random.set_seed(7)
    model = model_builder.build(config_of(*quick))
    model.build()
    assert_frozen_graph_is_the_model(model, tmp_path, input_shape)


@pytest.mark.slow
def test_the_frozen_graph_is_the_model(model: SegmentationModel, tmp_path):
    assert_frozen_graph_is_the_model(model, tmp_path)


@pytest.mark.slow
def test_the_frozen_graph_of_a_fixed_size_is_the_model(model: SegmentationModel, tmp_path):
    """With the passes that need a size."""
    assert_frozen_graph_is_the_model(model, tmp_path, FIXED)


# Those of extractors alone: tests/feature_extractors/test_contract.py.
@pytest.mark.parametrize('pair', _marked([(a, 'resnet_v1_18') for a in _ARCHITECTURES]), indirect=True)
def test_filter_scale_halves_every_width_of_extractor_and_heads(pair: tuple[str, str], model: SegmentationModel):
    twice = model_builder.build(config_of(*pair, filter_scale=0.25))
    twice.build()
    halved, full = _shapes(model), _shapes(twice)
    assert set(halved) == set(full)
    kept = (*_ONE_WIDTH[pair[0]], *_ONE_WIDTH.get(pair[1], ()))
    step = 8 * 6 if 'mobilenet' in pair[1] else 1  # widths are rounded to multiples of 8, then expanded six times
    for name, shape in full.items():
        if not any(part in name for part in kept):
            axis = 2 if name.endswith('depthwise_weights') else 3
            assert abs(2 * halved[name][axis] - shape[axis]) <= step, name


def _shapes(model: SegmentationModel) -> dict[str, list[int]]:
    """{name: shape} of the kernels."""
    return {n: v.shape.as_list() for n, v in model.variables_by_name().items() if n.endswith('weights')}


@pytest.mark.parametrize('pair', _PAIRS, ids='-'.join)
def test_the_config_is_accepted_and_survives_being_written(pair: tuple[str, str]):
    config = PipelineConfig(model=config_of(*pair))
    assert config_checks.pipeline_problems(config, 'export') == []
    assert text_format.Parse(text_format.MessageToString(config), PipelineConfig()) == config


def test_group_norm_replaces_batch_norm_everywhere():
    hyperparams = HYPERPARAMS.replace('batch_norm { decay: 0.9 epsilon: 0.00001 }', 'group_norm { groups: 4 }')
    model = model_builder.build(model_config('pspnet', 'resnet_v2_50', filter_scale=0.125, hyperparams=hyperparams))
    model.build()
    names = list(model.variables_by_name())
    assert not [name for name in names if 'moving' in name or 'BatchNorm' in name]
    assert 'SharedFeatureExtractor/resnet_v2_50/postnorm/gamma' in names
    assert 'PSPModule/Conv_4/GroupNorm/gamma' in names
    images = model.preprocess(_images(33, 49, batch=2))
    together = model.predict(images, is_training=True)[LOGITS]
    alone = model.predict(images[1:], is_training=True)[LOGITS]
    np.testing.assert_allclose(together[1:], alone, rtol=1e-3, atol=1e-4)  # images do not see each other
