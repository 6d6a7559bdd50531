"""Which channels stay: counts, floors, divisors, the ranking over all layers, targets, layers by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compression import cutting, selection, targets
from compression.channels import Axis, ChannelEdges, ChannelGraph, Convolution
from compression.targets import Amount, parse_amount
from core.errors import UsageError, UserError
from core.layers import scaled_width


def chain(*widths: int) -> ChannelGraph:
    """Convolutions one behind the other: SharedFeatureExtractor/net/conv1, conv2, ... and their biases."""
    edges = ChannelEdges()
    before, shapes, layers = edges.fresh(3), {}, []
    edges.keep(before)
    for number, width in enumerate(widths, start=1):
        scope = f'SharedFeatureExtractor/net/conv{number}'
        kernel, bias = f'{scope}/weights', f'{scope}/biases'
        edges.join(before, edges.of(Axis(kernel, 2), len(before)))
        outputs = edges.of(Axis(kernel, 3), width)
        edges.join(outputs, edges.of(Axis(bias, 0), width))
        shapes |= {kernel: (1, 1, len(before), width), bias: (width,)}
        layers.append(Convolution(kernel=kernel, outputs=Axis(kernel, 3), depthwise=False, positions=10, area=1))
        before = outputs
    edges.keep(before)
    return edges.finish(shapes, layers)


def counts(graph: ChannelGraph, keep: np.ndarray) -> list[int]:
    return [int(keep[group.channels].sum()) for group in graph.groups]


def scores(graph: ChannelGraph) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(0.1, 10 ** (3 * i), len(group.channels)) for i, group in enumerate(graph.groups)]


GRAPH = chain(16, 40, 7, 3)  # the last is the class scores


def test_the_last_layer_and_the_image_are_no_groups():
    assert [group.name.rpartition('/')[2] for group in GRAPH.groups] == ['conv1', 'conv2', 'conv3']
    assert GRAPH.num_channels == 16 + 40 + 7
    assert GRAPH.flops(np.ones(GRAPH.num_channels, bool)) == 2 * 10 * (3 * 16 + 16 * 40 + 40 * 7 + 7 * 3)


@settings(deadline=None, max_examples=50)
@given(share=st.floats(1e-3, 1), divisor=st.sampled_from([1, 4, 8]), least=st.integers(1, 12))
def test_uniform_counts(share: float, divisor: int, least: int):
    keep = selection.Selector(GRAPH, scores(GRAPH), divisor=divisor, min_filters=least)(share)
    for count, size in zip(counts(GRAPH, keep), (16, 40, 7), strict=True):
        if divisor == 1:
            assert count == min(size, max(scaled_width(size, share), least))
        assert count >= min(size, least, divisor)
        assert count % divisor == 0 or count in (size, least)


@settings(deadline=None, max_examples=50)
@given(share=st.floats(1e-3, 1))
def test_the_ranking_over_all_layers_is_relative_to_each_and_keeps_the_share(share: float):
    values = scores(GRAPH)
    keep = selection.Selector(GRAPH, values, scope='global')(share)
    assert abs(keep.sum() - max(share * GRAPH.num_channels, 1)) <= 3  # a channel of each layer stays in any case
    relative = [v / v.mean() for v in values]
    stay, go = (
        np.concatenate([r[keep[g.channels] == kept] for r, g in zip(relative, GRAPH.groups, strict=True)])
        for kept in (True, False)
    )
    if len(go) and min(counts(GRAPH, keep)) > 1:
        assert stay.min() >= go.max()


def test_the_best_stay_and_equals_in_order():
    values = [np.ones(16), np.arange(40.0), np.arange(7.0)[::-1]]
    keep = selection.best(GRAPH, values, [4, 3, 2])
    stay = [np.flatnonzero(keep[group.channels]).tolist() for group in GRAPH.groups]
    assert stay == [[0, 1, 2, 3], [37, 38, 39], [0, 1]]


def test_layers_are_skipped_by_scope_beginning_and_pattern():
    whole = 'SharedFeatureExtractor/net/conv2'
    for pattern in (whole, 'net/conv2', '*/conv2', 'net/conv[2]'):
        assert selection.skipped_groups(GRAPH, [pattern]) == [False, True, False]
    assert selection.skipped_groups(GRAPH, ['SharedFeatureExtractor']) == [True] * 3
    assert selection.skipped_groups(GRAPH, ['net/conv4']) == [False] * 3  # kept in any case
    with pytest.raises(UsageError, match=r"--skip_layers: 'net/con2' names no layer; the nearest are Shared"):
        selection.skipped_groups(GRAPH, ['net/con2'])
    keep = selection.Selector(GRAPH, scores(GRAPH), skipped=[False, True, False])(0.5)
    assert counts(GRAPH, keep) == [8, 40, 3]


@pytest.mark.parametrize(
    ('value', 'kind', 'said'),
    [
        (2000, targets.FLOPS, '2k FLOPs'),
        (2_940_001, targets.FLOPS, '2.941M FLOPs'),
        (25.51e9, targets.FLOPS, '25.51G FLOPs'),
        (999_960, targets.PARAMETERS, '1M parameters'),
        (5, targets.PARAMETERS, '5 parameters'),
        (12.3401, targets.LATENCY_MS, '12.35 ms'),
        (1234.5, targets.LATENCY_MS, '1235 ms'),
    ],
)
def test_an_amount_is_written_as_its_flag_takes_it_and_is_enough(value, kind, said):
    assert targets.written(value, kind) == said
    if kind != targets.LATENCY_MS:
        assert targets.parse_amount(said.split()[0]).value >= value


@settings(deadline=None, max_examples=30)
@given(target=st.floats(1.0, 99.0))
def test_a_target_is_met_as_closely_as_the_steps_allow(target: float):
    share = selection.largest_share(lambda share: 100 * share, target, kind='target_flops')
    assert target - 100 / 2**12 <= 100 * share <= target


def test_a_target_out_of_reach_says_the_range():
    said = '--target_flops: 5 FLOPs cannot be reached; this network goes from 10.01 FLOPs .* to 20 FLOPs'
    with pytest.raises(UserError, match=said):
        selection.largest_share(lambda share: 10 + 10 * share, 5, kind='target_flops')
    assert selection.largest_share(lambda share: 20 * share, 30, kind='target_flops') == 1


@pytest.mark.parametrize(
    ('text', 'want'),
    [
        ('60G', Amount(60e9)),
        ('6.7m', Amount(6.7e6)),
        ('900k', Amount(900e3)),
        ('.27', Amount(0.27, is_share=True)),
        ('1', Amount(1.0, is_share=True)),
        ('1000', Amount(1000.0)),
    ],
)
def test_amounts(text: str, want: Amount):
    assert parse_amount(text) == want
    assert Amount(0.5, is_share=True).of(30.0) == 15.0 and Amount(0.5).of(30.0) == 0.5


@pytest.mark.parametrize('text', ['', '0', '-1', '6 %', 'G', '1e9', 'nan'])
def test_other_amounts_are_refused(text: str):
    with pytest.raises(Exception, match='expected a number such as 60G'):
        parse_amount(text)


def test_counts_of_shapes():
    keep = selection.best(GRAPH, scores(GRAPH), [4, 3, 2])
    shapes = GRAPH.kept_shapes(keep)
    assert shapes['SharedFeatureExtractor/net/conv2/weights'] == (1, 1, 4, 3)
    assert selection.counts_of_shapes(GRAPH, shapes) == [4, 3, 2]
    assert selection.counts_of_shapes(GRAPH, {**shapes, 'more': (1,)}) is None
    assert (
        selection.counts_of_shapes(GRAPH, {**shapes, 'SharedFeatureExtractor/net/conv2/weights': (1, 1, 5, 3)}) is None
    )


def test_slots_are_cut_with_their_variable_and_zeros_keep_what_reads_them():
    keep = selection.best(GRAPH, [np.arange(16.0), np.arange(40.0), np.arange(7.0)], [4, 3, 2])
    name = 'SharedFeatureExtractor/net/conv2/weights'
    value = np.random.default_rng(0).normal(size=(1, 1, 16, 40))
    assert np.array_equal(cutting.cut(GRAPH, keep, name, value), value[:, :, 12:, 37:])
    assert np.array_equal(cutting.cut(GRAPH, keep, f'{name}/Momentum', value), value[:, :, 12:, 37:])
    assert cutting.cut(GRAPH, keep, f'{name}/scalar', np.array(3.0)) == 3.0
    zeroed = cutting.zero(GRAPH, keep, name, value)
    assert np.array_equal(zeroed[..., 37:], value[..., 37:]) and not zeroed[..., :37].any()
