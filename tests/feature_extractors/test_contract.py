"""What a head may expect of every extractor: features, strides, dilation, halving, preprocessing, widths."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from builders.model_builder import FEATURE_EXTRACTORS
from core.feature_extractor import StrideBudget
from tests.feature_extractors.test_slim_goldens import build, trace

_REFERENCE = ('dilated_resnet50', 'dilated_mobilenet')
_DEEP = ('resnet_v1_34', 'resnet_v1_101', 'resnet_v1_152')  # the code of resnet_v1_18 and 50 with more units
_NAMES = [name for name in FEATURE_EXTRACTORS if name not in _DEEP]


def _extractor(name: str, **kwargs):
    return FEATURE_EXTRACTORS[name](filter_scale=0.125, **kwargs)


@pytest.mark.parametrize('name', [name for name in _NAMES if name not in (*_REFERENCE, 'vgg16')])
def test_dilation_keeps_what_striding_computes(name: str):
    """Chen et al., arXiv:1606.00915, section 3.1: every n-th pixel of the dense features is the strided feature."""
    store, strided = build(_extractor(name, output_stride=32))
    rng = np.random.default_rng(5)
    for variable in store._vars.values():
        if variable.shape.rank == 1:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    image = tf.constant(rng.normal(size=(1, 65, 97, 3)).astype(np.float32))
    coarse = strided(image)
    for output_stride in (8, 16):
        extractor = _extractor(name, output_stride=output_stride)
        dense_store, dense = build(extractor)
        assert set(dense_store._vars) == set(store._vars)
        for variable_name, variable in store._vars.items():
            dense_store._vars[variable_name].assign(variable)
        fine = dense(image)
        for feature in ('c3', 'c4', 'c5'):
            step = {'c3': 8, 'c4': 16, 'c5': 32}[feature] // extractor.strides[feature]
            want = coarse[feature].numpy()
            np.testing.assert_allclose(
                fine[feature][:, ::step, ::step], want, rtol=1e-3, atol=1e-4 * np.abs(want).max(), err_msg=feature
            )


@pytest.mark.parametrize('name', _NAMES)
@pytest.mark.parametrize('halve_at_stride', [None, 8])
def test_strides_are_what_they_are_said_to_be(name: str, halve_at_stride: int | None):
    if name == 'vgg16_fc' and halve_at_stride:
        return  # refused in a config; see tests/builders/test_pairs.py
    for output_stride in (8,) if name in _REFERENCE or halve_at_stride else (8, 16, 32):
        extractor = _extractor(name, output_stride=output_stride, halve_at_stride=halve_at_stride)
        features = trace(extractor, 65, 129)
        assert set(features) >= {'c3', 'c4', 'c5'}
        for feature, tensor in features.items():
            stride = extractor.strides[feature]
            assert tuple(tensor.shape[1:3]) == (64 // stride + 1, 128 // stride + 1), feature


def test_halved_strides():
    extractor = _extractor('resnet_v1_18', halve_at_stride=8)
    assert extractor.strides == {'c1': 2, 'c2': 4, 'c3': 8, 'c4': 16, 'c5': 16}
    assert extractor.deepest(8) == 'c3' and extractor.deepest(16) == 'c5'
    with pytest.raises(ValueError, match='no feature of stride 32'):
        extractor.deepest(32)


def test_deepest_of_a_dilated_extractor_is_its_last():
    assert _extractor('mobilenet_v2', output_stride=8).deepest(8) == 'c5'


def test_stride_budget_turns_strides_into_rates():
    budget = StrideBudget(8)
    assert [budget.spend(stride) for stride in (2, 1, 2, 2, 2, 1, 2, 1)] == [
        *((2, 1), (1, 1), (2, 1), (2, 1)),
        *((1, 1), (1, 2), (1, 2), (1, 4)),
    ]


@pytest.mark.parametrize(
    ('name', 'grey'),
    [
        ('resnet_v1_50', (123.68, 116.779, 103.939)),
        ('vgg16', (123.68, 116.779, 103.939)),
        ('inception_v1', (127.5,) * 3),
    ],
)
def test_preprocessing_is_the_family_s(name: str, grey: tuple[float, ...]):
    centre = _extractor(name).preprocess(tf.constant([[[grey]]]))
    np.testing.assert_allclose(centre, np.zeros((1, 1, 1, 3)), atol=1e-5)
    white = _extractor(name).preprocess(tf.constant([[[[255.0] * 3]]], tf.float32)).numpy()
    np.testing.assert_allclose(white[0, 0, 0], 255 - np.array(grey) if 'inception' not in name else 1.0, rtol=1e-5)


def test_preprocessing_can_be_replaced():
    extractor = _extractor('mobilenet_v1', channel_means=(0, 10, 20), channel_scale=2)
    np.testing.assert_allclose(extractor.preprocess(tf.constant([[[[2, 12, 24]]]], tf.uint8))[0, 0, 0], [1, 1, 2])


def test_without_colours_every_channel_has_the_mean_of_the_three():
    extractor = _extractor('resnet_v1_18', input_channels=4)
    mean = (123.68 + 116.779 + 103.939) / 3
    np.testing.assert_allclose(extractor.preprocess(tf.fill([1, 1, 1, 4], mean)), np.zeros((1, 1, 1, 4)), atol=1e-5)
    assert _extractor('mobilenet_v1', input_channels=1).channel_means == (127.5,)


def _channels_and_name(channels: int, name: str):
    always = channels == 4 or name == 'resnet_v1_18'
    return pytest.param(channels, name, marks=[] if always else [pytest.mark.slow])


@pytest.mark.parametrize(('channels', 'name'), [_channels_and_name(c, n) for c in (1, 4) for n in _NAMES])
def test_channels_change_the_kernel_that_sees_the_image_alone(channels: int, name: str):
    rgb, other = (build(_extractor(name, input_channels=n), channels=n)[0]._vars for n in (3, channels))
    assert set(rgb) == set(other)
    (changed,) = [variable for variable in rgb if rgb[variable].shape != other[variable].shape]
    assert changed.endswith('/weights') and other[changed].shape[2] == channels
    assert changed == next(iter(rgb))


@pytest.mark.parametrize(
    ('kwargs', 'text'),
    [
        ({'filter_scale': 0}, 'filter_scale'),
        ({'output_stride': 12}, 'output_stride must be 8, 16 or 32'),
        ({'output_stride': 8, 'halve_at_stride': 16}, 'halve_at_stride'),
        ({'channel_means': (1.0,)}, 'channel_means must be 3 numbers'),
        ({'input_channels': 0}, 'input_channels must be 1 or more'),
        ({'input_channels': 4, 'channel_means': (1, 2, 3)}, 'channel_means must be 4 numbers'),
        ({'channel_scale': 0}, 'channel_scale'),
    ],
)
def test_nonsense_is_refused(kwargs: dict, text: str):
    with pytest.raises(ValueError, match=text):
        FEATURE_EXTRACTORS['resnet_v1_18'](**kwargs)


@pytest.mark.parametrize('name', _NAMES)
def test_filter_scale_halves_widths(name: str):
    full, half = (build(FEATURE_EXTRACTORS[name](filter_scale=scale))[0]._vars for scale in (0.5, 0.25))
    assert set(full) == set(half)
    rounded = 8 if 'mobilenet' in name else 0  # to multiples of 8, and 8 at least
    for variable, wide in full.items():
        axis = 2 if variable.endswith('depthwise_weights') else -1
        outputs, want = half[variable].shape[axis], wide.shape[axis] / 2
        kept = name == 'dilated_mobilenet' and outputs == wide.shape[axis] and outputs <= 32  # see its docstring
        expanded = 6 if '/expand/' in variable or '/depthwise/' in variable else 1
        assert abs(outputs - want) <= rounded * expanded or kept, variable
