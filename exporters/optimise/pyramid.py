"""The levels of a pyramid within the 3x3 convolution behind it, computed on their grids.

PSPNet enlarges grids of a few cells to the size of the features and lays them beside these: at 713x713 half of the
channels of the convolution that follows, which is itself nearly half of the network's work. `core/grid_convolution.py`
says why less than a hundredth of that is enough.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from core.grid_convolution import convolve_enlarged_grids
from exporters.optimise import batch_norm, resizing, rewriting

# Pixels of the map for each cell of a grid, at least: fewer are not worth it.
_FEWEST_PIXELS = 9


def on_grids(node: rewriting.Node) -> tf.Tensor | None:
    """3x3 convolution of features beside enlarged grids, bias -> that of the features, plus the share of the grids."""
    if node.op != 'BiasAdd' or node.inputs[0].op.type != 'Conv2D' or node.consumers_of[0] > 1:
        return None
    convolution = node.inputs[0].op
    parts, kernel = _parts(convolution.inputs[0].op), rewriting.constant(convolution.inputs[1])
    if not parts or kernel is None or kernel.shape[:2] != (3, 3) or not _is_plain(convolution):
        return None
    is_grid = [_is_small_grid(part.op) for part in parts]
    channels = [part.shape[-1] for part in parts]
    if not any(is_grid) or all(is_grid) or None in channels:
        return None
    pairs = list(zip(parts, np.split(kernel, np.cumsum(channels)[:-1], axis=2), strict=True))
    grids = [pair for pair, small in zip(pairs, is_grid, strict=True) if small]
    features = [pair for pair, small in zip(pairs, is_grid, strict=True) if not small]
    joined = features[0][0] if len(features) == 1 else tf.concat([part for part, _ in features], axis=-1)
    own = batch_norm.with_inputs(convolution, [joined, tf.constant(np.concatenate([k for _, k in features], axis=2))])
    height, width = joined.shape[1:3].as_list()
    share = convolve_enlarged_grids(
        [part.op.inputs[0] for part, _ in grids], [tf.constant(k) for _, k in grids], (height, width)
    )
    return tf.add(tf.nn.bias_add(own, node.inputs[1]), share, name=node.proto.name)


def _is_plain(convolution: tf.Operation) -> bool:
    """Every pixel once, zeros around the map."""
    steps = [convolution.get_attr('strides'), convolution.get_attr('dilations')]
    layout, padding = convolution.get_attr('data_format'), convolution.get_attr('padding')
    return steps == [[1, 1, 1, 1]] * 2 and (layout, padding) == (b'NHWC', b'SAME')


def _parts(operation: tf.Operation) -> list[tf.Tensor]:
    """What lies side by side in the output of `operation`; nothing unless it concatenates channels."""
    if operation.type != 'ConcatV2':
        return []
    *parts, axis = operation.inputs
    place = rewriting.constant(axis)
    return parts if place is not None and int(place) in (-1, 3) else []


def _is_small_grid(operation: tf.Operation) -> bool:
    sides = resizing.sides(operation)
    return sides is not None and _FEWEST_PIXELS * math.prod(sides[0]) <= math.prod(sides[1])
