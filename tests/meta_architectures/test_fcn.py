"""FCN: strides, fusion, learned and fixed upsampling, dropout, the fully convolutional VGG-16."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from core import layers
from core.fields import LOGITS
from meta_architectures.decoders import SkipFusion, bilinear_initializer
from tests.contracts.configs import build_model
from third_party import slim


def _fcn(extractor: str = 'mobilenet_v1', extra: str = '', loss: str = ''):
    return build_model('fcn', extractor, filter_scale=0.125, extra=extra, loss=loss)


def _images(batch: int = 1) -> tf.Tensor:
    return tf.constant(np.random.default_rng(1).uniform(0, 255, (batch, 65, 97, 3)).astype(np.float32))


@pytest.mark.parametrize('stride', [32, 16, 8])
def test_scores_and_skips_of_each_stride(stride: int):
    model = _fcn(extra=f'stride: {stride}')
    logits = model.predict(model.preprocess(_images()), is_training=True)[LOGITS]
    assert logits.shape == (1, 64 // stride + 1, 96 // stride + 1, 3)
    heads = {name.split('/')[1] for name in model.variables_by_name() if name.startswith('Predictions/')}
    used = [s for s in (32, 16, 8) if s >= stride]
    assert heads == {f'score_{s}' for s in used} | {f'upscore_{s}' for s in used[:-1]}


def test_scores_start_at_zero_so_every_class_is_equally_likely():
    model = _fcn(loss='upsample_logits: true')
    predictions = model.predict(model.preprocess(_images()), is_training=True)
    assert not np.any(predictions[LOGITS].numpy())
    (loss,) = model.loss(predictions, tf.ones([1, 65, 97], tf.int32)).values()
    assert float(loss) == pytest.approx(math.log(3), rel=1e-5)


def test_scores_can_start_at_the_initializer():
    model = _fcn(extra='zero_initialized_scores: false')
    assert np.any(model.variables_by_name()['Predictions/score_32/weights'].numpy())


def test_fixed_upsampling_has_no_variables():
    model = _fcn(extra='upsampling: FIXED stride: 8')
    assert not [name for name in model.variables_by_name() if 'upscore' in name]


@pytest.mark.parametrize('size', [(5, 7), (6, 8)])
def test_fusion_adds_enlarged_scores(size: tuple[int, int]):
    rng = np.random.default_rng(2)
    coarse = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    fine = rng.normal(size=(2, *size, 6)).astype(np.float32)
    store = slim.VariableStore()
    decoder = SkipFusion(stride=8, learned_upsampling=False, zero_scores=False)
    with (
        store.scope(),
        layers.layer_scope(
            layers.Hyperparams(initializer=tf.compat.v1.glorot_uniform_initializer()), is_training=False
        ),
    ):
        logits = decoder({16: tf.constant(coarse), 8: tf.constant(fine)}, num_classes=3)
    kernels = {name: variable.numpy() for name, variable in store._vars.items()}
    low, high = coarse @ kernels['score_16/weights'][0, 0], fine @ kernels['score_8/weights'][0, 0]
    want = layers.resize_bilinear(tf.constant(low), size).numpy() + high
    np.testing.assert_allclose(logits, want, rtol=1e-4, atol=1e-5)


def test_learned_upsampling_starts_as_bilinear_interpolation():
    ramp = (
        np.arange(6, dtype=np.float32)[None, :, None, None] + 10 * np.arange(5, dtype=np.float32)[None, None, :, None]
    )
    two = np.concatenate([ramp, -ramp], -1)
    doubled = tf.nn.conv2d_transpose(two, bilinear_initializer([4, 4, 2, 2]), [1, 12, 10, 2], 2, 'SAME').numpy()
    rows, columns = np.arange(12), np.arange(10)
    want = ((rows - 0.5) / 2)[:, None] + 10 * ((columns - 0.5) / 2)[None]
    np.testing.assert_allclose(doubled[0, 1:-1, 1:-1, 0], want[1:-1, 1:-1], rtol=1e-5)  # the border fades to zero
    np.testing.assert_allclose(doubled[..., 1], -doubled[..., 0])


def test_dropout_is_for_training_and_has_the_config_s_share():
    def scores(model, is_training):
        model.variables_by_name()['Predictions/score_32/weights'].assign(tf.ones([1, 1, 512, 3]))
        infer = [model.predict(model.preprocess(_images()), is_training=is_training)[LOGITS].numpy() for _ in range(2)]
        return np.abs(infer[0] - infer[1]).max()

    dropping = _fcn('vgg16_fc', 'stride: 32')
    assert scores(dropping, True) > 0
    assert scores(dropping, False) == 0
    assert scores(_fcn('vgg16_fc', 'stride: 32 dropout_keep_prob: 1'), True) == 0


def test_fully_connected_layers_are_convolutions_of_slim_s_names():
    shapes = {name: tuple(v.shape) for name, v in _fcn('vgg16_fc').classification_variables().items()}
    assert shapes['vgg_16/fc6/weights'] == (7, 7, 64, 512)
    assert shapes['vgg_16/fc7/weights'] == (1, 1, 512, 512)


def test_a_decoder_beyond_the_extractor_is_refused():
    with pytest.raises(ValueError, match='no feature of stride 8'):
        SkipFusion(stride=8)({16: tf.zeros([1, 2, 2, 3])}, num_classes=3)
    with pytest.raises(ValueError, match='stride must be 8, 16 or 32'):
        SkipFusion(stride=4)
