"""From a built model to its channel graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from compression.channels import ChannelEdges, ChannelGraph
from compression.walk import Walk
from core.errors import UserError
from core.model import SegmentationModel

_LISTED = 3
_SMALL = (97, 129)  # no stage below 2 pixels, and no two sizes alike


def trace(model: SegmentationModel, *, size: tuple[int, int] = _SMALL) -> ChannelGraph:
    """The channel graph of a built model: of what it infers with, and of the heads that only training has.

    Args:
      size: height and width of the image whose arithmetic `ChannelGraph.flops` counts.

    Raises:
      UserError: an operation that is not understood stands where channels could be removed.
    """
    edges = ChannelEdges()
    shapes = {name: tuple(variable.shape) for name, variable in model.variables_by_name().items()}
    inference = walk(model, edges, shapes, size=size, is_training=False)
    training = walk(model, edges, shapes, size=_SMALL, is_training=True)
    channel_of = edges.components()
    problems = list(dict.fromkeys([*inference.problems(channel_of), *training.problems(channel_of)]))
    if problems:
        more = [f'... and {len(problems) - _LISTED} more'] if len(problems) > _LISTED else []
        raise UserError('\n'.join([*problems[:_LISTED], *more]))
    known = {convolution.kernel for convolution in inference.convolutions}
    heads = [dataclasses.replace(c, positions=0) for c in training.convolutions if c.kernel not in known]
    return edges.finish(shapes, [*inference.convolutions, *heads])


def walk(
    model: SegmentationModel,
    edges: ChannelEdges,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    size: tuple[int, int],
    is_training: bool,
) -> Walk:
    """One trace of `model`, followed; nothing is computed."""
    graph = tf.__internal__.FuncGraph('channels')
    with graph.as_default():
        images = tf.compat.v1.placeholder(tf.float32, [1, *size, model.input_channels])
        with model.in_published_order():
            outputs = model.predict(model.preprocess(images), is_training=is_training)
    found = Walk(edges, captured_variables(graph, model), shapes)
    found.run(graph, images, outputs.values())
    return found


def captured_variables(graph: Any, model: SegmentationModel) -> dict[int, str]:
    """{id of the tensor in `graph` that stands for a variable: its name}."""
    names = {id(variable.handle): name for name, variable in model.variables_by_name().items()}
    return {id(inside): names[id(outside)] for outside, inside in graph.captures if id(outside) in names}
