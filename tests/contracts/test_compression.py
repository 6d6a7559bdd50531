"""Half of every width, of every pair of architecture and extractor: the cut net is the original without those filters.

What is compared with is not made by the pruner's own notion of inputs: filters are set to zero where they are made, and
kernels behind them keep all inputs. Deep nets are slow to build, so most pairs are marked slow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from builders import model_builder
from compression import cutting, tracing
from compression.channels import ChannelGraph
from compression.names import AGGREGATES, CRITERIA, TAYLOR
from compression.targets import FLOPS, Amount, Target
from core.errors import UserError
from core.fields import LOGITS
from core.flops import operation_flops
from core.model import BACKBONE_SCOPE, SegmentationModel
from core.servable import Servable
from engine import compress_lib, compression_plan, compression_report
from engine.compression_plan import Options
from protos.model_pb2 import FastSegmentationModel
from protos.pipeline_pb2 import PipelineConfig
from tests.contracts.test_pairs import _ELSEWHERE, _PAIRS, config_of

# Of uniform cuts the one with branches runs always, of global ones the lightest.
_BRANCHED, _LIGHTEST = ('icnet', 'resnet_v1_18'), ('fcn', 'mobilenet_v2')
_ALL = [*_PAIRS, *sorted(_ELSEWHERE)]


def _mark(pair: tuple[str, str]):
    return pytest.param(pair, marks=[] if pair == _BRANCHED else [pytest.mark.slow], id='-'.join(pair))


def built(config: PipelineConfig) -> SegmentationModel:
    """A model whose features neither vanish nor saturate: scales around 1, averages those of a batch of noise."""
    model = model_builder.build(config.model)
    model.build()
    rng = np.random.default_rng(5)
    for name, variable in model.variables_by_name().items():
        if name.endswith('weights'):
            fan_in = np.prod(variable.shape[:2]) * (1 if 'depthwise' in name else variable.shape[2])
            variable.assign(rng.normal(0, np.sqrt(2 / fan_in), variable.shape))
        elif name.endswith('gamma'):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif 'moving' not in name:
            variable.assign(rng.normal(0, 0.1, variable.shape))
    noise = tf.constant(rng.uniform(0, 255, (2, 65, 97, 3)).astype(np.float32))
    tf.function(lambda: model.predict(model.preprocess(noise), is_training=True), autograph=False)()
    return model


@functools.lru_cache(maxsize=2)
def _traced(model: SegmentationModel) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.function(
        lambda x: model.predict(model.preprocess(x), is_training=False)[LOGITS],
        autograph=False,
        input_signature=[tf.TensorSpec([1, None, None, 3])],
    )


def logits_of(model: SegmentationModel) -> list[np.ndarray]:
    infer = _traced(model)
    rng = np.random.default_rng(6)
    return [infer(tf.constant(rng.uniform(0, 255, (1, *size, 3)).astype(np.float32))).numpy() for size in _SIZES]


_SIZES = ((33, 65), (71, 50))


def assert_cut_is_zeroed(model: SegmentationModel, graph: ChannelGraph, keep: np.ndarray, config: PipelineConfig):
    """Cuts `model`, builds `config`, and compares; leaves `model` with its filters at zero."""
    values = {name: variable.numpy() for name, variable in model.variables_by_name().items()}
    smaller = model_builder.build(config.model)
    smaller.build()
    variables = smaller.variables_by_name()
    assert set(variables) == set(values)
    for name, value in values.items():
        variables[name].assign(cutting.cut(graph, keep, name, value))  # raises where a shape is another
        model.variables_by_name()[name].assign(cutting.zero(graph, keep, name, value))
    for want, have in zip(logits_of(model), logits_of(smaller), strict=True):
        assert want.std(axis=(1, 2)).max() > 1e-3, 'the image does not matter: nothing would be compared'
        assert np.abs(have - want).max() <= 1e-4 * np.abs(want).max()


def make_config(architecture: str, extractor: str, *, filter_scale: float = 0.25) -> PipelineConfig:
    config = PipelineConfig(model=config_of(architecture, extractor, filter_scale=filter_scale))
    getattr(config.model, architecture).hyperparams.batch_norm.decay = 0.0
    return config


@pytest.fixture(scope='module', params=[_mark(pair) for pair in _ALL])
def config(request) -> PipelineConfig:
    # The reference's MobileNetV2 has a shortcut more below a fifth of its width: see the test of widths below.
    scale = 0.5 if request.param[1] == 'dilated_mobilenet' else 0.25
    return make_config(*request.param, filter_scale=scale)


def test_half_of_a_net(config: PipelineConfig):
    model = built(config)
    graph = tracing.trace(model)
    options = Options(factor=0.5, criterion='random', seed=1)
    scores = compress_lib.score_channels(config, model, graph, options)

    plan = compression_plan.choose(config, model, graph, scores, options)

    whole, half = (getattr(c.model, config.model.WhichOneof('model') or '') for c in (config, plan.config))
    assert half.filter_scale == whole.filter_scale / 2 and not plan.config.model.layer_width
    assert 0 < plan.keep.sum() < len(plan.keep)
    before = logits_of(model)
    assert_cut_is_zeroed(model, graph, plan.keep, plan.config)
    assert np.abs(logits_of(model)[0] - before[0]).max() > 1e-2 * np.abs(before[0]).max(), 'the filters did not matter'


@pytest.mark.parametrize(
    'pair', [pytest.param(p, marks=[] if p == _LIGHTEST else [pytest.mark.slow], id='-'.join(p)) for p in _ALL]
)
def test_the_best_of_all_layers(pair: tuple[str, str]):
    """Widths that no filter_scale gives, a layer that keeps its own, and less than half of the arithmetic."""
    config = make_config(*pair)
    model = built(config)
    graph = tracing.trace(model, size=(65, 97))
    # Of the backbone: ICNet's first layer of all may have half of a light network's arithmetic.
    skipped = next(group.name for group in graph.groups if group.name.startswith(BACKBONE_SCOPE))
    options = Options(
        target=Target(FLOPS, Amount(0.5, is_share=True)), scope='global', divisor=1, skip_layers=[skipped]
    )
    scores = compress_lib.score_channels(config, model, graph, options)

    plan = compression_plan.choose(config, model, graph, scores, options)

    whole = np.ones_like(plan.keep)
    assert 0.3 < graph.flops(plan.keep) / graph.flops(whole) <= 0.5
    assert graph.flops(whole) == _flops(model, (65, 97))
    widths = {layer.scope: layer.num_filters for layer in plan.config.model.layer_width}
    assert len(widths) > 5 and skipped not in widths
    assert_cut_is_zeroed(model, graph, plan.keep, plan.config)


def _flops(model: SegmentationModel, size: tuple[int, int]) -> int:
    traced = Servable(model=model, num_classes=model.num_classes).trace((1, *size))
    return sum(map(operation_flops, traced.graph.get_operations()))


@pytest.mark.slow
@pytest.mark.parametrize('aggregate', AGGREGATES)
@pytest.mark.parametrize('criterion', [name for name in CRITERIA if name != TAYLOR])
def test_every_criterion_and_aggregate(criterion: str, aggregate: str):
    """On a net of residual stages, whose layers share channels; taylor has a test with data of its own."""
    config = make_config('pspnet', 'resnet_v1_18', filter_scale=0.125)
    model = built(config)
    graph = tracing.trace(model)
    options = Options(factor=0.6, criterion=criterion, aggregate=aggregate, scope='global', divisor=2, min_filters=2)
    scores = compress_lib.score_channels(config, model, graph, options)
    plan = compression_plan.choose(config, model, graph, scores, options)
    assert all(count % 2 == 0 and count >= 2 for count in (plan.keep[group.channels].sum() for group in graph.groups))
    assert_cut_is_zeroed(model, graph, plan.keep, plan.config)


@pytest.mark.slow
def test_a_net_too_narrow_for_its_own_rules_is_cut_by_widths():
    """MobileNetV2 at a quarter of its width has a shortcut more, which the whole one has not."""
    config = make_config('fcn', 'mobilenet_v2', filter_scale=0.5)
    model = built(config)
    graph = tracing.trace(model)
    options = Options(factor=0.3)
    scores = compress_lib.score_channels(config, model, graph, options)
    plan = compression_plan.choose(config, model, graph, scores, options)
    assert plan.config.model.fcn.filter_scale == 0.5 and plan.config.model.layer_width
    assert_cut_is_zeroed(model, graph, plan.keep, plan.config)


@pytest.mark.slow
def test_icnet_of_the_paper_halved_has_its_parameters():
    config = text_format.Parse(
        """icnet { num_classes: 19 filter_scale: 1.0 pooling_factors: [1, 2, 3, 4]
        feature_extractor { type: 'dilated_resnet50' } loss { use_auxiliary_loss: true } }""",
        FastSegmentationModel(),
    )
    model = model_builder.build(config)
    model.build()
    graph = tracing.trace(model)
    options = Options(factor=0.5, criterion='random')
    whole = PipelineConfig(model=config)
    scores = compress_lib.score_channels(whole, model, graph, options)
    plan = compression_plan.choose(whole, model, graph, scores, options)
    read = compression_report.parameters_of(model)
    counted = [compression_report.count(shapes, read) for shapes in (graph.shapes, graph.kept_shapes(plan.keep))]
    assert [round(number / 1e6, 2) for number in counted] == [26.87, 6.74]  # of the reference
    assert plan.config.model.icnet.filter_scale == 0.5 and not plan.config.model.layer_width


def test_group_normalisation_is_refused_with_its_layer():
    config = make_config('fcn', 'resnet_v1_18', filter_scale=0.125)
    config.model.fcn.hyperparams.ClearField('batch_norm')
    config.model.fcn.hyperparams.group_norm.groups = 4
    model = model_builder.build(config.model)
    model.build()
    said = (
        "Reshape '.*', behind layer '.*resnet_v1_18/conv1': takes the channels apart into groups; group normalisation"
    )
    with pytest.raises(UserError, match=said) as refused:
        tracing.trace(model)
    assert len(str(refused.value).splitlines()) == 4
