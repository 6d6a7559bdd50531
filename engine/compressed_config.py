"""The config of a network with fewer filters."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import tensorflow as tf

from compression.channels import ChannelGraph
from core.model import SegmentationModel
from protos.pipeline_pb2 import PipelineConfig

Shapes = Mapping[str, Sequence[int]]
# Dilation on tiles, which some widths need and others do not (`third_party.slim`), computes the same.
_TILES = frozenset({'SpaceToBatchND', 'BatchToSpaceND', 'Const'})


@dataclasses.dataclass(frozen=True)
class Network:
    """Shapes of all variables by name, and the types of the operations of a training trace in order, tiles apart."""

    shapes: Shapes
    operations: tuple[str, ...]


def network_of(model: SegmentationModel) -> Network:
    """What tells whether two built models differ in more than their widths."""
    graph = tf.__internal__.FuncGraph('network')
    with graph.as_default():
        model.predict(tf.zeros([1, 97, 97, model.input_channels]), is_training=True)
    shapes = {name: tuple(variable.shape) for name, variable in model.variables_by_name().items()}
    return Network(shapes, tuple(op.type for op in graph.get_operations() if op.type not in _TILES))


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
