"""Which channels stay, for a share of filters or for a target, and the config of the network they make."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from compression import names, selection
from compression.channels import ChannelGraph, ChannelGroup
from compression.targets import FLOPS, LATENCY_MS, PARAMETERS, Target
from core import processor
from core.model import SegmentationModel
from engine import compressed_config, compression_report, inference, latency, sensitivity_report

_STEPS = 10  # of bisection: a thousandth of the filters
_STEPS_OF_LATENCY = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What to remove; see the flags of compress.py.

    Attributes:
      factor: share of filters that stay, in (0, 1].
      target: instead of `factor`, the largest network within it.
      criterion, aggregate, scope: of `compression.names`.
      sources: scopes of layers that alone choose for all that share their channels.
      skip_layers: patterns of layers that keep their filters.
      min_filters, divisor: of each group of layers; divisor None is what `divisor_of` says, and for scope uniform
        what the config's own filter_scale gives.
      soft_apply: set filters to zero and keep every shape.
      size: height and width of the image that arithmetic and latency are told for.
      num_images: timed for the latency, of which the median counts; 0 measures none.
      seed: of criterion random, and of the order of the data that criterion taylor sees.
      num_batches: of that data.
      recalibrate_batches: of training data, on which batch-norm averages are measured after the cut; 0: they stay.
      refit_batches: of training data, on which kernels are solved for after the cut; 0: they are what is left.
      sensitivity_report: what scope sensitivity goes by: a `sensitivity.json`, or its folder.
    """

    factor: float = 0.5
    target: Target | None = None
    criterion: str = names.L1
    aggregate: str = names.MEAN
    scope: str = names.UNIFORM
    sources: Sequence[str] = ()
    skip_layers: Sequence[str] = ()
    min_filters: int = 1
    divisor: int | None = None
    soft_apply: bool = False
    size: tuple[int, int] = (513, 513)
    num_images: int = 5
    seed: int = 0
    num_batches: int = 16
    recalibrate_batches: int = 0
    refit_batches: int = 0
    sensitivity_report: str = ''


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Which channels stay (bool [num_channels]), the share that was asked for, and the config of what is left."""

    keep: np.ndarray
    share: float
    config: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Origin:
    """The network that shares are meant of, where that to be cut is itself the result of a cut.

    Attributes:
      config: its config.
      sizes: {scopes of the layers that make a group of channels: how many there were}.
    """

    config: Any
    sizes: Mapping[tuple[str, ...], int]

    @staticmethod
    def of(config: Any, graph: ChannelGraph) -> Origin:
        """Of a network that was not cut yet."""
        return Origin(config, {_layers(group): len(group.channels) for group in graph.groups})

    def sizes_of(self, graph: ChannelGraph) -> list[int]:
        """How many channels each group of `graph` had."""
        return [self.sizes.get(_layers(group), len(group.channels)) for group in graph.groups]


def _layers(group: ChannelGroup) -> tuple[str, ...]:
    return tuple(layer.scope for layer in group.layers)


def divisor_of(options: Options) -> int | None:
    """What widths are multiples of; None for scope uniform, whose widths are those of a config's `filter_scale`.

    Of a latency that is a vector of this processor: with 16 floats in it, 40 channels take as long as 48.
    """
    if options.divisor is not None or options.scope == names.UNIFORM:
        return options.divisor
    is_latency = options.target is not None and options.target.kind == LATENCY_MS
    return processor.floats_of_a_vector() if is_latency else 8


def choose(
    config: Any,
    model: SegmentationModel,
    graph: ChannelGraph,
    scores: Sequence[np.ndarray],
    options: Options,
    origin: Origin | None = None,
) -> Plan:
    """The channels that stay at `options.factor`, or as many as `options.target` allows, and their config.

    Args:
      origin: what shares of filters are meant of; None is this network itself.

    Raises:
      UsageError: a layer to skip that does not exist.
      UserError: a target that cannot be reached.
    """
    plan_of = _planner(config, model, graph, scores, options, origin or Origin.of(config, graph))
    if options.target is None:
        return plan_of(options.factor)
    kind, amount = options.target.kind, options.target.amount
    measure = _measure(model, graph, options)
    wanted = amount.of(measure(plan_of(1.0))) if amount.is_share else amount.value
    steps = _STEPS_OF_LATENCY if kind == LATENCY_MS else _STEPS
    share = selection.largest_share(lambda share: measure(plan_of(share)), wanted, kind=kind, steps=steps)
    if kind == LATENCY_MS:
        share = confirmed(share, lambda share: _latency(plan_of(share), options), wanted, step=2.0**-steps)
    return plan_of(share)


def confirmed(share: float, measure: Callable[[float], float], wanted: float, *, step: float) -> float:
    """The share, or so many steps less that a second measurement is at most `wanted`, too; above 0.

    The bisection ends at the largest share that was within the target once, often by chance: times vary.
    """
    while share > step and measure(share) > wanted:
        share -= step
    return share


def _planner(
    config: Any,
    model: SegmentationModel,
    graph: ChannelGraph,
    scores: Sequence[np.ndarray],
    options: Options,
    origin: Origin,
) -> Callable[[float], Plan]:
    """From a share of filters to a plan.

    Plain uniform pruning follows the architecture's own rounding: it keeps what the config with its filter_scale
    multiplied has, and that config is the result. Everything else names the widths of layers.
    """
    uniform = options.scope == names.UNIFORM
    skipped = selection.skipped_groups(graph, options.skip_layers)
    selector = selection.Selector(
        graph,
        scores,
        scope=options.scope,
        skipped=skipped,
        min_filters=options.min_filters,
        divisor=divisor_of(options) or 1,
        sizes=origin.sizes_of(graph),
        curves=sensitivity_report.read(options.sensitivity_report) if options.scope == names.SENSITIVITY else (),
    )
    plain = uniform and options.divisor is None and not any(skipped) and options.min_filters == 1
    own = None
    if plain and not origin.config.model.layer_width:
        # Of the original: a cut network may compute the same by other operations.
        whole = model if origin.config is config else inference.build_model(origin.config)
        own = compressed_config.network_of(whole)

    @functools.cache
    def plan_of(share: float) -> Plan:
        if own is not None:
            narrower = compressed_config.narrower(origin.config, share)
            network = compressed_config.network_of(inference.build_model(narrower))
            counts = selection.counts_of_shapes(graph, network.shapes)
            if counts is not None:
                keep = selection.best(graph, scores, counts)
                same = network.operations == own.operations
                return Plan(keep, share, narrower if same else _with_widths(config, graph, keep))
        keep = selector(share)
        return Plan(keep, share, _with_widths(config, graph, keep))

    return plan_of


def whole(model: SegmentationModel, graph: ChannelGraph, config: Any, options: Options) -> float:
    """What the target limits, of the network as it is."""
    return _measure(model, graph, options)(Plan(np.ones(graph.num_channels, bool), 1.0, config))


def _with_widths(config: Any, graph: ChannelGraph, keep: np.ndarray) -> Any:
    return compressed_config.with_widths(config, graph, graph.kept_shapes(keep))


def _measure(model: SegmentationModel, graph: ChannelGraph, options: Options) -> Callable[[Plan], float]:
    """What the target limits, of a plan."""
    parameters = compression_report.parameters_of(model)
    measures: Mapping[str, Callable[[Plan], float]] = {
        FLOPS: lambda plan: graph.flops(plan.keep),
        PARAMETERS: lambda plan: compression_report.count(graph.kept_shapes(plan.keep), parameters),
        LATENCY_MS: functools.cache(lambda plan: _latency(plan, options)),
    }
    assert options.target is not None
    return measures[options.target.kind]


def _latency(plan: Plan, options: Options) -> float:
    """Of the network as its config builds it; the values of weights do not matter."""
    (milliseconds,) = latency.measure(
        [inference.build_model(plan.config)], size=options.size, num_images=max(1, options.num_images)
    )
    return milliseconds
