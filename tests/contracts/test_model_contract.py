"""What every model must do, for each pair of architecture and extractor, at sizes nobody planned for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from core.fields import CLASS_IDS, LOGITS, PROBABILITIES
from core.model import SegmentationModel
from tests.contracts.configs import HYPERPARAMS, build_model
from tests.contracts.exported import assert_frozen_graph_is_the_model

_PAIRS = [
    ('icnet', 'dilated_resnet50', ''),
    ('icnet', 'dilated_mobilenet', ''),
    ('icnet', 'dilated_resnet50', 'pretrain_single_branch_mode: true'),
    ('icnet', 'dilated_mobilenet', 'pretrain_single_branch_mode: true'),
    ('pspnet', 'dilated_resnet50', ''),
    ('pspnet', 'dilated_mobilenet', ''),
]


# Values and losses of the others are in test_goldens; what they do at any size, only in make test-slow.
_QUICK = [_PAIRS[0], _PAIRS[1], _PAIRS[2], _PAIRS[4]]
_EXPORTED = [_PAIRS[0]]


def _name(pair: tuple[str, str, str]) -> str:
    return '-'.join(word for word in pair if word)


def _marked(quick: list[tuple[str, str, str]]) -> list[Any]:
    return [pytest.param(p, marks=[] if p in quick else [pytest.mark.slow], id=_name(p)) for p in _PAIRS]


@pytest.fixture(scope='module', params=_marked(_QUICK))
def model(request) -> SegmentationModel:
    architecture, extractor, extra = request.param
    return build_model(architecture, extractor, extra=extra)


def _images(height: int, width: int, batch: int = 1) -> tf.Tensor:
    return tf.constant(np.random.default_rng(1).uniform(0, 255, (batch, height, width, 3)).astype(np.float32))


def _labels(height: int, width: int, batch: int = 1) -> tf.Tensor:
    labels = np.random.default_rng(2).integers(0, 3, (batch, height, width)).astype(np.int32)
    labels[:, :4] = 255
    return tf.constant(labels)


@pytest.fixture(scope='module')
def free(model: SegmentationModel) -> Callable[[tf.Tensor], tf.Tensor]:
    """Logits of images of any size, traced once."""
    return tf.function(
        lambda x: model.predict(model.preprocess(x), is_training=False)[LOGITS],
        autograph=False,
        input_signature=[tf.TensorSpec([None, None, None, 3])],
    )


def test_any_image_size_gives_logits_of_that_size(free: Callable[[tf.Tensor], tf.Tensor]):
    for height, width in ((33, 65), (50, 41), (64, 96)):
        logits = free(_images(height, width))
        assert logits.shape == (1, height, width, 3)
        assert np.isfinite(logits.numpy()).all()


def test_free_and_fixed_sizes_agree(model: SegmentationModel, free: Callable[[tf.Tensor], tf.Tensor]):
    images = _images(65, 70)

    def infer(x):
        return model.predict(model.preprocess(x), is_training=False)[LOGITS]

    fixed = tf.function(infer, autograph=False)(images)
    np.testing.assert_allclose(fixed, free(images), rtol=1e-3, atol=1e-4)


def test_postprocess_gives_ids_and_probabilities(model: SegmentationModel):
    outputs = model.postprocess(model.predict(model.preprocess(_images(33, 49)), is_training=False))
    assert outputs[CLASS_IDS].dtype == tf.int32 and outputs[CLASS_IDS].shape == (1, 33, 49)
    np.testing.assert_allclose(tf.reduce_sum(outputs[PROBABILITIES], -1), np.ones((1, 33, 49)), rtol=1e-5)


def test_gradient_reaches_every_trainable_variable_and_a_step_lowers_the_loss(model: SegmentationModel):
    images, labels = _images(65, 97, batch=2), _labels(65, 97, batch=2)
    variables = model.trainable_variables

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            predictions = model.predict(model.preprocess(images), is_training=True)
            loss = tf.add_n(list(model.loss(predictions, labels).values()))
        gradients = tape.gradient(loss, variables)
        assert None not in gradients, [v.name for v, g in zip(variables, gradients, strict=True) if g is None]
        # Short enough for the first-order prediction to hold: it promises 1 % of the loss.
        length = 0.01 * loss / tf.square(tf.linalg.global_norm(gradients))
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.assign_sub(length * gradient)
        return loss, [tf.reduce_max(tf.abs(gradient)) for gradient in gradients]

    losses, largest = [], []
    for _ in range(4):
        loss, largest_now = step()
        largest = largest or largest_now
        losses.append(float(loss))
    # A kernel in front of batch norm has no gradient only if its own outputs are constant, which noise forbids.
    dead = [v.name for v, g in zip(variables, largest, strict=True) if float(g) == 0]
    assert not dead and losses[-1] < losses[0]


@pytest.mark.parametrize('model', _marked(_EXPORTED), indirect=True)
def test_the_frozen_graph_is_the_model(model: SegmentationModel, tmp_path):
    assert_frozen_graph_is_the_model(model, tmp_path)


def test_building_again_adds_no_variable(model: SegmentationModel):
    before = set(model.variables_by_name())
    model.predict(model.preprocess(_images(33, 33)), is_training=False)
    model.build()
    assert set(model.variables_by_name()) == before


def test_an_all_ignored_batch_has_loss_zero(model: SegmentationModel):
    predictions = model.predict(model.preprocess(_images(33, 65)), is_training=True)
    losses = model.loss(predictions, tf.fill([1, 33, 65], 255))
    assert [float(loss) for loss in losses.values()] == [0.0] * len(losses)


def test_regulariser_reaches_backbone_and_heads():
    model = build_model('icnet', hyperparams=HYPERPARAMS.replace('0.0001', '2.0'))
    kernels = {n: v for n, v in model.variables_by_name().items() if n.endswith('/weights')}
    assert any(name.startswith(model.backbone_scope) for name in kernels)
    want = sum(float((v.numpy().astype(np.float64) ** 2).sum()) for v in kernels.values())
    assert float(model.regularization_loss()) == pytest.approx(want, rel=1e-4)


def test_l1_regulariser():
    model = build_model(
        'pspnet', 'dilated_mobilenet', hyperparams='hyperparams { regularizer { l1_regularizer { weight: 0.5 } } }'
    )
    kernels = [v.numpy() for n, v in model.variables_by_name().items() if n.endswith('/weights')]
    assert float(model.regularization_loss()) == pytest.approx(0.5 * sum(np.abs(k).sum() for k in kernels), rel=1e-4)


@pytest.mark.parametrize('extractor', ['dilated_resnet50', 'dilated_mobilenet'])
def test_batch_norm_decay_reaches_the_whole_model(extractor: str):
    model = build_model('icnet', extractor, hyperparams=HYPERPARAMS.replace('decay: 0.9', 'decay: 0'))
    before = {n: v.numpy() for n, v in model.variables_by_name().items() if n.endswith('moving_variance')}
    model.predict(model.preprocess(_images(65, 65, batch=2)), is_training=True)
    unmoved = [n for n, old in before.items() if np.array_equal(model.variables_by_name()[n].numpy(), old)]
    assert not unmoved


def test_batch_norm_train_false_leaves_every_average():
    model = build_model('pspnet', hyperparams=HYPERPARAMS.replace('decay: 0.9', 'train: false'))
    before = {n: v.numpy() for n, v in model.variables_by_name().items() if 'moving' in n}
    model.predict(model.preprocess(_images(65, 65)), is_training=True)
    assert all(np.array_equal(model.variables_by_name()[n].numpy(), old) for n, old in before.items())


def test_a_frozen_backbone_keeps_its_averages_and_is_not_trainable():
    from builders import model_builder
    from tests.contracts.configs import model_config

    model = model_builder.build(model_config('icnet'), freeze_backbone=True)
    model.build()
    prefix = model.backbone_scope + '/'
    assert model.trainable_variables and not any(v.name.startswith(prefix) for v in model.trainable_variables)
    before = {n: v.numpy() for n, v in model.variables_by_name().items() if 'moving' in n}
    model.predict(model.preprocess(_images(65, 65)), is_training=True)
    moved = {n for n, old in before.items() if not np.array_equal(model.variables_by_name()[n].numpy(), old)}
    assert moved and not any(name.startswith(prefix) for name in moved)


# test_pairs has every architecture on a lighter extractor, tests/feature_extractors/test_contract.py every extractor.
@pytest.mark.slow
@pytest.mark.parametrize('architecture', ['icnet', 'pspnet'])
def test_filter_scale_halves_widths(architecture: str):
    full, half = (build_model(architecture, filter_scale=scale).variables_by_name() for scale in (0.5, 0.25))
    kept_whole = (
        'PSPModule/Conv/',
        'PSPModule/Conv_1/',
        'PSPModule/Conv_2/',
        'PSPModule/Conv_3/',
        '/biases',
        'Predictions',
        'Aux',
    )
    assert set(full) == set(half)
    for name, variable in full.items():
        outputs = variable.shape[-1]
        want = outputs if any(part in name for part in kept_whole) else outputs // 2
        if architecture == 'icnet' and 'FastPSPModule' in name:
            want = outputs // 2
        assert half[name].shape[-1] == want, name


@pytest.mark.parametrize('upsample', [False, True])
def test_losses_are_scored_at_the_stride_or_upsampled(upsample: bool):
    model = build_model('icnet', loss=f'use_auxiliary_loss: true upsample_logits: {str(upsample).lower()}')
    factors = {term.upsample_factor for term in model.loss_terms}
    assert factors == ({4} if upsample else {1})
    predictions = model.predict(model.preprocess(_images(65, 97)), is_training=True)
    assert tuple(predictions[LOGITS].shape[1:3]) == (17, 25)
    assert set(model.loss(predictions, _labels(65, 97))) == {'loss', 'first_aux_loss', 'second_aux_loss'}


def test_without_auxiliary_loss_there_is_one_loss_of_weight_one():
    model = build_model('icnet', loss='', extra='main_branch_loss_weight: 3')
    assert [(term.name, term.weight) for term in model.loss_terms] == [('loss', 1.0)]
    assert not [name for name in model.variables_by_name() if name.startswith('Aux')]


_MOBILE_OPS = {
    'Add', 'AddV2', 'AvgPool', 'BiasAdd', 'Cast', 'Const', 'Conv2D', 'DepthwiseConv2dNative', 'FusedBatchNormV3',
    'BatchToSpaceND', 'SpaceToBatchND', 'Identity', 'NoOp', 'Placeholder', 'ReadVariableOp', 'RealDiv', 'Relu',
    'Relu6', 'ResizeBilinear', 'Sub', 'MaxPool', 'Pad', 'Pack', 'ConcatV2',
}  # fmt: skip


@pytest.mark.parametrize('extractor', ['dilated_resnet50', 'dilated_mobilenet'])
def test_icnet_keeps_to_operations_of_mobile_runtimes(extractor: str):
    model = build_model('icnet', extractor)
    graph = tf.function(lambda x: model.predict(model.preprocess(x), is_training=False), autograph=False)
    operations = {op.type for op in graph.get_concrete_function(_images(65, 97)).graph.get_operations()}
    assert operations <= _MOBILE_OPS, operations - _MOBILE_OPS


@pytest.mark.parametrize('architecture', ['icnet', 'pspnet'])
def test_input_scale_enlarges_inside_and_keeps_the_size_outside(architecture: str):
    plain, enlarged = build_model(architecture), build_model(architecture, extra='input_scale: 2')
    for name, variable in plain.variables_by_name().items():
        enlarged.variables_by_name()[name].assign(variable)
    images = _images(33, 49)
    logits = enlarged.predict(enlarged.preprocess(images), is_training=False)[LOGITS]
    assert logits.shape == (1, 33, 49, 3)
    twice = tf.compat.v1.image.resize_bilinear(images, (65, 97), align_corners=True)
    want = plain.predict(plain.preprocess(twice), is_training=True)[LOGITS].shape
    assert enlarged.predict(enlarged.preprocess(images), is_training=True)[LOGITS].shape == want
