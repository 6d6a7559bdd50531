"""Widths of single layers: the structure stays, exactly these shapes come out, and nonsense is refused by name."""

from __future__ import annotations

import functools

import pytest
import tensorflow as tf

from builders import model_builder
from core.errors import ConfigError
from core.fields import LOGITS
from core.model import SegmentationModel
from protos import model_pb2
from tests.contracts.configs import model_config

_ICNET = ('icnet', 'dilated_resnet50', '')
_PAIRS = [
    _ICNET,
    pytest.param(('icnet', 'dilated_mobilenet', ''), marks=pytest.mark.slow),
    pytest.param(('pspnet', 'inception_v1', ''), marks=pytest.mark.slow),
    ('pspnet', 'resnet_v1_18', ''),
    ('fcn', 'mobilenet_v1', 'stride: 8'),
    pytest.param(('fcn', 'resnet_v2_50', 'stride: 16'), marks=pytest.mark.slow),
    pytest.param(('fcn', 'vgg16', 'stride: 16'), marks=pytest.mark.slow),
]
_BACKBONE = 'SharedFeatureExtractor/resnet_v1_50'
_UNIT = f'{_BACKBONE}/block1/unit_1/bottleneck_v1'


def _config(pair: tuple[str, str, str], filter_scale: float = 0.25) -> model_pb2.FastSegmentationModel:
    architecture, extractor, extra = pair
    loss = '' if architecture == 'fcn' else 'use_auxiliary_loss: true'
    return model_config(architecture, extractor, filter_scale=filter_scale, loss=loss, extra=extra)


def _build(config: model_pb2.FastSegmentationModel, widths: dict[str, int] | None = None) -> SegmentationModel:
    for scope, width in (widths or {}).items():
        config.layer_width.add(scope=scope, num_filters=width)
    model = model_builder.build(config)
    model.build()
    return model


@functools.cache
def _plain(pair: tuple[str, str, str]) -> SegmentationModel:
    return _build(_config(pair))


def _shapes(model: SegmentationModel) -> dict[str, tuple[int, ...]]:
    return {name: tuple(variable.shape) for name, variable in model.variables_by_name().items()}


@pytest.mark.parametrize('pair', _PAIRS, ids='-'.join)
def test_every_width_written_out_is_the_narrower_net(pair):
    narrow = _build(_config(pair, filter_scale=0.125))
    written = _build(_config(pair), dict(narrow._store.nominal_widths))
    assert _shapes(written) == _shapes(narrow) != _shapes(_plain(pair))


@pytest.mark.parametrize('pair', _PAIRS, ids='-'.join)
def test_one_width_everywhere_keeps_the_structure(pair):
    """Every depth is equal then: a unit that compared them would drop its projection or find a shortcut."""
    plain = _plain(pair)
    same = _build(_config(pair), dict.fromkeys(plain._store.nominal_widths, 6))
    assert set(_shapes(same)) == set(_shapes(plain))
    for scope in plain._store.nominal_widths:
        assert _shapes(same)[f'{scope}/weights'][-1] == 6
    for scope in plain._store.fixed_layers:
        depthwise = f'{scope}/depthwise_weights'
        if depthwise in _shapes(plain):
            assert _shapes(same)[depthwise][-2:] == (6, 1)
        else:
            assert _shapes(same)[f'{scope}/weights'][-1] == 3
    with tf.__internal__.FuncGraph('inference').as_default():
        logits = same.predict(tf.zeros([1, 33, 65, 3]), is_training=False)[LOGITS]
    assert logits.shape == (1, 33, 65, 3)


def test_a_layer_narrowed_inside_a_unit_changes_it_and_the_next_alone():
    plain = _shapes(_plain(_ICNET))
    narrow = _shapes(_build(_config(_ICNET), {f'{_UNIT}/conv1': 5}))
    changed = {name for name in plain if plain[name] != narrow[name]}
    norm = {f'{_UNIT}/conv1/BatchNorm/{name}' for name in ('gamma', 'beta', 'moving_mean', 'moving_variance')}
    assert changed == {f'{_UNIT}/conv1/weights', f'{_UNIT}/conv2/weights', *norm}
    assert narrow[f'{_UNIT}/conv1/weights'] == (1, 1, 16, 5) and narrow[f'{_UNIT}/conv2/weights'] == (3, 3, 5, 16)


@pytest.mark.parametrize(
    ('widths', 'said'),
    [
        ({'resnet_v1_50/conv1': 3}, f"no layer 'resnet_v1_50/conv1'; did you mean '{_BACKBONE}/conv1'?"),
        ({'xyz': 3}, "no layer 'xyz'; such as 'Conv', 'Conv_1', 'Conv_2'"),
        ({'Predictions/Conv': 2}, "'Predictions/Conv' has no width of its own (depthwise, or class scores); remove it"),
        ({f'{_UNIT}/conv3': 5}, f"the layers that are added at '{_UNIT}/add' have different widths; make them equal"),
        ({f'{_UNIT}/conv3': 1}, f"the layers that are added at '{_UNIT}/add' have different widths; make them equal"),
        (
            {'CascadeFeatureFusion/Conv': 1},
            "the layers that are added at 'CascadeFeatureFusion/Add' have different widths; make them equal",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_each_time(widths, said):
    config = _config(_ICNET)
    for scope, width in widths.items():
        config.layer_width.add(scope=scope, num_filters=width)
    model = model_builder.build(config)
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            model.build()
        assert caught.value.problems == [f'model.layer_width: {said}']


def test_a_depthwise_layer_has_no_width():
    with pytest.raises(ConfigError, match=r"expanded_conv_1/depthwise' has no width of its own"):
        _build(
            _config(('icnet', 'dilated_mobilenet', '')),
            {'SharedFeatureExtractor/MobilenetV2/expanded_conv_1/depthwise': 8},
        )


def test_networks_with_widths_live_side_by_side():
    """The widths belong to a model's store, not to the process."""
    narrow = _build(_config(_ICNET), {f'{_UNIT}/conv1': 5})
    plain = _plain(_ICNET)
    with tf.__internal__.FuncGraph('inference').as_default():
        narrow.predict(tf.zeros([1, 33, 33, 3]), is_training=False)
    assert _shapes(plain)[f'{_UNIT}/conv1/weights'][-1] == 16
    assert _shapes(narrow)[f'{_UNIT}/conv1/weights'][-1] == 5
