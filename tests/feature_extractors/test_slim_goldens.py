"""Extractors against tf-slim's own nets: names, shapes and values; and against the papers' tables for the rest."""

from __future__ import annotations

import contextlib
import itertools
import unittest.mock
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from builders.model_builder import FEATURE_EXTRACTORS
from core import layers
from core.feature_extractor import FeatureExtractor
from third_party import slim

_HYPERPARAMS = layers.Hyperparams(initializer=slim.variance_scaling_initializer())
# Extractor -> tf-slim's module, its function, and the variables that belong to the classifier or only ever to ours.
_BUNDLED = {
    'resnet_v1_50': ('resnet_v1', 'resnet_v1_50'),
    'resnet_v1_101': ('resnet_v1', 'resnet_v1_101'),
    'resnet_v1_152': ('resnet_v1', 'resnet_v1_152'),
    'resnet_v2_50': ('resnet_v2', 'resnet_v2_50'),
    'vgg16_fc': ('vgg', 'vgg_16'),
    'inception_v1': ('inception_v1', 'inception_v1'),
}
_CLASSIFIER = ('logits/', 'fc8/', 'Logits/')


def variables_of(extractor: FeatureExtractor, *, scale: bool = True) -> dict[str, tf.Variable]:
    """The extractor's variables by slim name, in a store of its own; all zero, as drawing 100 million takes seconds."""
    store, _ = build(extractor, scale=scale, initializer=tf.zeros_initializer())
    return dict(store._vars)


def build(
    extractor: FeatureExtractor, *, scale: bool = True, channels: int = 3, initializer: Any = _HYPERPARAMS.initializer
):
    """(store, function of images [1, H, W, channels] -> features in inference mode), variables created."""
    store = slim.VariableStore()
    hyperparams = layers.Hyperparams(initializer=initializer, batch_norm=layers.BatchNorm(scale=scale, epsilon=1e-3))

    def call(images):
        with store.scope(), layers.layer_scope(hyperparams, is_training=False):
            return extractor(images)

    with tf.__internal__.FuncGraph('build').as_default():
        call(tf.zeros([1, 65, 65, channels]))
    return store, call


def trace(extractor: FeatureExtractor, height: int, width: int) -> Mapping[str, tf.Tensor]:
    """Its features of one image, in a graph that is never run."""
    with tf.__internal__.FuncGraph('trace').as_default(), slim.VariableStore().scope():
        with layers.layer_scope(_HYPERPARAMS, is_training=False):
            return extractor(tf.zeros([1, height, width, 3]))


@contextlib.contextmanager
def slim_scope(module: str):
    """The bundled net's own arg_scope, its batch norm at epsilon 0.001."""
    nets = slim.bundled_nets()
    scopes = {
        'resnet_v1': lambda: nets['resnet_v1'].resnet_arg_scope(batch_norm_epsilon=1e-3),
        'resnet_v2': lambda: nets['resnet_v2'].resnet_arg_scope(batch_norm_epsilon=1e-3),
        'vgg': lambda: nets['vgg'].vgg_arg_scope(),
        'inception_v1': lambda: nets['inception_v1'].inception_v1_arg_scope(),
    }
    with slim.arg_scope(scopes[module]()):
        yield


def bundled_net(module: str, function: str, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Builds tf-slim's net in the current v1 graph; end points by name."""
    net = getattr(slim.bundled_nets()[module], function)
    with slim_scope(module):
        return net(images, num_classes=7, is_training=False)[1]


def bundled_shapes(module: str, function: str) -> dict[str, tuple[int, ...]]:
    with tf.Graph().as_default():
        bundled_net(module, function, tf.zeros([1, 224, 224, 3]))
        variables = {v.op.name: tuple(v.shape.as_list()) for v in tf.compat.v1.global_variables()}
    return {
        name: shape
        for name, shape in variables.items()
        if name != 'global_step' and not name.split('/', 1)[1].startswith(_CLASSIFIER)
    }


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ('resnet_v1_101', 'resnet_v1_152') else [])
        for name in _BUNDLED
    ],
)
def test_variables_are_those_of_the_bundled_net(name: str):
    ours = variables_of(FEATURE_EXTRACTORS[name](output_stride=32), scale=name != 'inception_v1')

    assert {n: tuple(v.shape) for n, v in ours.items()} == bundled_shapes(*_BUNDLED[name])


# Extractor: feature, and the bundled net's end point of the same values.
_VALUES = {
    'resnet_v1_50': {
        'c3': 'resnet_v1_50/block1',
        'c4': 'resnet_v1_50/block2',
        'c5': 'resnet_v1_50/block4',
    },
    'resnet_v2_50': {'c3': 'resnet_v2_50/block1', 'c4': 'resnet_v2_50/block2'},
    'vgg16': {'c3': 'vgg_16/pool3', 'c4': 'vgg_16/pool4', 'c5': 'vgg_16/pool5'},
    'inception_v1': {'c3': 'Mixed_3c', 'c4': 'Mixed_4f', 'c5': 'Mixed_5c'},
}


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=[pytest.mark.slow] if name == 'resnet_v2_50' else []) for name in _VALUES]
)
def test_values_are_those_of_the_bundled_net(name: str):
    module, function = _BUNDLED.get(name, ('vgg', 'vgg_16'))
    store, call = build(FEATURE_EXTRACTORS[name](output_stride=32), scale=name != 'inception_v1')
    rng = np.random.default_rng(3)
    for variable in store._vars.values():
        variable.assign(_random_weight(rng, variable))
    image = rng.normal(size=(1, 224, 224, 3)).astype(np.float32)
    ours = tf.function(call, autograph=False)(tf.constant(image))
    weights = {variable_name: variable.numpy() for variable_name, variable in store._vars.items()}

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        points = bundled_net(module, function, tf.constant(image))
        # At once: each call of `run` looks through the whole graph. What the classifier has is not needed.
        loads = {v.op.name: v.initializer for v in tf.compat.v1.global_variables() if v.op.name in weights}
        session.run(list(loads.values()), {load.inputs[1]: weights[name] for name, load in loads.items()})
        if name == 'resnet_v2_50':
            points['c5'] = session.graph.get_tensor_by_name('resnet_v2_50/postnorm/Relu:0')
        theirs = session.run({**{f: points[point] for f, point in _VALUES[name].items()}, **_last(points)})

    for feature, want in theirs.items():
        got = ours[feature].numpy()
        assert got.shape == want.shape
        assert np.abs(want).max() > 1e-3
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())


def test_vgg_pools_the_last_row_and_column_of_odd_sizes_and_else_as_slim():
    """slim drops them (`VALID`). At multiples of 32 nothing differs; beyond, only what sees the border does."""
    store, call = build(FEATURE_EXTRACTORS['vgg16'](output_stride=32, filter_scale=0.125))
    rng = np.random.default_rng(3)
    for variable in store._vars.values():
        variable.assign(_random_weight(rng, variable))
    image = rng.normal(size=(1, 99, 67, 3)).astype(np.float32)
    padded = call(tf.constant(image))
    with unittest.mock.patch.object(layers, 'max_pool', lambda net, size, **_: tf.nn.max_pool2d(net, size, 2, 'VALID')):
        valid = call(tf.constant(image))
        even = call(tf.constant(image[:, :96, :64]))
    assert padded['c3'].shape[1:3] == (13, 9) and valid['c3'].shape[1:3] == (12, 8)
    reach = 3  # pixels of c3 whose receptive field, 44 pixels of the image, may touch the border
    inner = np.s_[:, : 12 - reach, : 8 - reach]
    np.testing.assert_allclose(padded['c3'][inner], valid['c3'][inner], rtol=1e-4, atol=1e-4)  # of values up to 10
    assert np.abs(padded['c3'][:, :12, :8] - valid['c3']).max() > 0
    np.testing.assert_array_equal(call(tf.constant(image[:, :96, :64]))['c5'], even['c5'])


def _last(points):
    return {'c5': points['c5']} if 'c5' in points else {}


def _random_weight(rng: np.random.Generator, variable: tf.Variable) -> np.ndarray:
    shape = variable.shape
    if len(shape) == 4:
        return (rng.normal(size=shape) * np.sqrt(2.0 / np.prod(shape[:3]))).astype(np.float32)
    around = 1.0 if variable.name.split(':')[0].endswith(('gamma', 'moving_variance')) else 0.0
    return (around + rng.uniform(-0.1, 0.1, shape)).astype(np.float32)


def _norm(scope: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f'{scope}/BatchNorm/{leaf}': (width,) for leaf in ('beta', 'gamma', 'moving_mean', 'moving_variance')}


def _mobilenet_v1() -> dict[str, tuple[int, ...]]:
    """Table 1 of arXiv:1704.04861 in slim's names."""
    want = {'MobilenetV1/Conv2d_0/weights': (3, 3, 3, 32), **_norm('MobilenetV1/Conv2d_0', 32)}
    widths = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
    for number, (inputs, outputs) in enumerate(itertools.pairwise(widths), start=1):
        scope = f'MobilenetV1/Conv2d_{number}'
        want[f'{scope}_depthwise/depthwise_weights'] = (3, 3, inputs, 1)
        want[f'{scope}_pointwise/weights'] = (1, 1, inputs, outputs)
        want.update(_norm(f'{scope}_depthwise', inputs) | _norm(f'{scope}_pointwise', outputs))
    return want


def _mobilenet_v2() -> dict[str, tuple[int, ...]]:
    """Table 2 of arXiv:1801.04381 in slim's names."""
    want = {'MobilenetV2/Conv/weights': (3, 3, 3, 32), **_norm('MobilenetV2/Conv', 32)}
    widths = [16, *[24] * 2, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320]
    inputs = 32
    for number, outputs in enumerate(widths):
        scope = f'MobilenetV2/expanded_conv_{number}' if number else 'MobilenetV2/expanded_conv'
        expanded = 6 * inputs if number else inputs
        if number:
            want[f'{scope}/expand/weights'] = (1, 1, inputs, expanded)
            want.update(_norm(f'{scope}/expand', expanded))
        want[f'{scope}/depthwise/depthwise_weights'] = (3, 3, expanded, 1)
        want[f'{scope}/project/weights'] = (1, 1, expanded, outputs)
        want.update(_norm(f'{scope}/depthwise', expanded) | _norm(f'{scope}/project', outputs))
        inputs = outputs
    return want


def _basic_resnet(name: str, num_units: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Table 1 of arXiv:1512.03385, columns 18 and 34, in the names of DeepLab's slim ResNets."""
    want = {f'{name}/conv1/weights': (7, 7, 3, 64), **_norm(f'{name}/conv1', 64)}
    inputs = 64
    for block, (units, width) in enumerate(zip(num_units, (64, 128, 256, 512), strict=True), start=1):
        for unit in range(1, units + 1):
            scope = f'{name}/block{block}/unit_{unit}/lite_bottleneck_v1'
            kernels = {'conv1': (3, 3, inputs, width), 'conv2': (3, 3, width, width)}
            if inputs != width:
                kernels['shortcut'] = (1, 1, inputs, width)
            for layer, shape in kernels.items():
                want[f'{scope}/{layer}/weights'] = shape
                want.update(_norm(f'{scope}/{layer}', width))
            inputs = width
    return want


_FROM_PAPERS = {
    'mobilenet_v1': _mobilenet_v1,
    'mobilenet_v2': _mobilenet_v2,
    'resnet_v1_18': lambda: _basic_resnet('resnet_v1_18', (2, 2, 2, 2)),
    'resnet_v1_34': lambda: _basic_resnet('resnet_v1_34', (3, 4, 6, 3)),
}


@pytest.mark.parametrize('name', _FROM_PAPERS)
def test_variables_are_those_of_the_paper(name: str):
    ours = variables_of(FEATURE_EXTRACTORS[name](output_stride=32))

    assert {n: tuple(v.shape) for n, v in ours.items()} == _FROM_PAPERS[name]()


@pytest.mark.parametrize(
    ('name', 'scale', 'variable', 'width'),
    [
        ('mobilenet_v1', 0.5, 'MobilenetV1/Conv2d_13_pointwise/weights', 512),
        ('mobilenet_v1', 0.125, 'MobilenetV1/Conv2d_0/weights', 8),
        ('mobilenet_v2', 0.5, 'MobilenetV2/Conv/weights', 16),
        ('mobilenet_v2', 0.75, 'MobilenetV2/expanded_conv_1/project/weights', 24),  # 18 would be 16: below 0.9 of it
        ('mobilenet_v2', 0.35, 'MobilenetV2/expanded_conv/project/weights', 8),
        ('dilated_mobilenet', 0.5, 'MobilenetV2/Conv/weights', 32),
    ],
)
def test_depth_multipliers_round_as_slim(name: str, scale: float, variable: str, width: int):
    stride = 8 if name == 'dilated_mobilenet' else 32
    ours = variables_of(FEATURE_EXTRACTORS[name](filter_scale=scale, output_stride=stride))

    assert ours[variable].shape[-1] == width
