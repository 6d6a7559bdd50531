"""Convolutions in the form that has a fast kernel: padding inside, dilation as an attribute."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from exporters.optimise import rewriting


def native_dilation(node: rewriting.Node) -> tf.Tensor | None:
    """SpaceToBatchND, unpadded convolution, BatchToSpaceND, as slim builds dilation -> one dilated convolution."""
    if node.op != 'BatchToSpaceND':
        return None
    convolution = node.inputs[0].op
    if convolution.type != 'Conv2D' or convolution.inputs[0].op.type != 'SpaceToBatchND':
        return None
    spread = convolution.inputs[0].op
    constants = rewriting.constants([*node.inputs[1:], *spread.inputs[1:]])
    if constants is None:
        return None
    block, crops, spread_block, paddings = constants
    if not np.array_equal(block, spread_block) or len(block) != 2:
        return None
    plain = convolution.get_attr('strides') == [1, 1, 1, 1] and convolution.get_attr('dilations') == [1, 1, 1, 1]
    if not plain or convolution.get_attr('padding') != b'VALID' or crops[:, 0].any():
        return None
    # What is cropped behind was padded only to fill the last block.
    padding = [(int(before), int(after - crop)) for (before, after), (_, crop) in zip(paddings, crops, strict=True)]
    if min(min(pair) for pair in padding) < 0:
        return None
    return conv2d(
        spread.inputs[0],
        convolution.inputs[1],
        dilations=[int(n) for n in block],
        padding=padding,
        name=node.proto.name,
    )


def merge_padding(node: rewriting.Node) -> tf.Tensor | None:
    """Zero padding, unpadded convolution -> one padded convolution."""
    if node.op != 'Conv2D' or node.inputs[0].op.type not in ('Pad', 'PadV2') or node.consumers_of[0] > 1:
        return None
    if node.proto.attr['padding'].s != b'VALID' or node.proto.attr['data_format'].s not in (b'NHWC', b''):
        return None
    pad = node.inputs[0].op
    values = rewriting.constants(pad.inputs[1:])
    if values is None or (len(values) == 2 and values[1] != 0) or values[0][[0, 3]].any():
        return None
    attributes = node.proto.attr
    return conv2d(
        pad.inputs[0],
        node.inputs[1],
        strides=list(attributes['strides'].list.i)[1:3],
        dilations=(list(attributes['dilations'].list.i) or [1, 1, 1, 1])[1:3],
        padding=[(int(before), int(after)) for before, after in values[0][1:3]],
        name=node.proto.name,
    )


def conv2d(
    features: tf.Tensor,
    kernel: tf.Tensor,
    *,
    padding: list[tuple[int, int]],
    strides: list[int] | None = None,
    dilations: list[int] | None = None,
    name: str | None = None,
) -> tf.Tensor:
    """Convolution of NHWC features padded by (before, after) zeros: called SAME or VALID where that is equal."""
    strides, dilations = strides or [1, 1], dilations or [1, 1]
    sides = zip(features.shape[1:3], kernel.shape[:2], strides, dilations, strict=True)
    wanted: str | list = [[0, 0], *padding, [0, 0]]
    if padding == [(0, 0), (0, 0)]:
        wanted = 'VALID'
    elif padding == [_same(*side) for side in sides]:
        wanted = 'SAME'
    return tf.nn.conv2d(features, kernel, strides, wanted, dilations=dilations, name=name)


def _same(size: int | None, taps: int, stride: int, dilation: int) -> tuple[int, int] | None:
    """The zeros that SAME puts before and after; None where that depends on a size that is free."""
    missing = (taps - 1) * dilation
    if stride > 1:
        if size is None:
            return None
        missing = max((-(-size // stride) - 1) * stride + missing + 1 - size, 0)
    return missing // 2, missing - missing // 2
