"""The config of a network with fewer filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from builders import model_builder
from compression.channels import ChannelGraph
from protos.pipeline_pb2 import PipelineConfig

Shapes = Mapping[str, Sequence[int]]


def shapes_of(config: PipelineConfig) -> dict[str, tuple[int, ...]]:
    """{name: shape} of every variable of the network that the config builds."""
    model = model_builder.build(config.model)
    model.build()
    return {name: tuple(variable.shape) for name, variable in model.variables_by_name().items()}


def narrower(config: PipelineConfig, factor: float) -> PipelineConfig:
    """The same config with its filter_scale multiplied by `factor` in (0, 1]."""
    scaled = PipelineConfig()
    scaled.CopyFrom(config)
    architecture = getattr(scaled.model, scaled.model.WhichOneof('model') or '')
    architecture.filter_scale = (architecture.filter_scale or 1.0) * factor
    return scaled


def with_widths(config: PipelineConfig, graph: ChannelGraph, kept: Shapes) -> PipelineConfig:
    """The same config with a `layer_width` for each layer that has another number of filters in the shapes `kept`."""
    changed = PipelineConfig()
    changed.CopyFrom(config)
    widths = {layer.scope: layer.num_filters for layer in config.model.layer_width}
    for convolution in graph.convolutions:
        width = kept[convolution.kernel][convolution.outputs.axis]
        if not convolution.depthwise and width != graph.shapes[convolution.kernel][convolution.outputs.axis]:
            widths[convolution.scope] = width
    del changed.model.layer_width[:]
    for scope, width in widths.items():
        changed.model.layer_width.add(scope=scope, num_filters=width)
    return changed
