"""One pass over a traced graph, from the image to the logits, operation by operation.

Feature maps are [B, H, W, C]; what is followed is C. An operation that is not in the table here stops the walk where
its channels could be removed: nothing is guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from compression.channels import KEPT, Axis, ChannelEdges, Convolution

# Each output channel is computed from the input channel at its place, and is 0 where that is.
_CHANNELWISE = frozenset(
    {
        *('Identity', 'StopGradient', 'PreventGradient', 'CheckNumerics', 'EnsureShape', 'Cast'),
        *('Relu', 'Relu6', 'LeakyRelu', 'Elu', 'Selu', 'Tanh', 'Softsign', 'Abs', 'Neg', 'Square', 'Sqrt'),
        *('MaxPool', 'AvgPool', 'ResizeBilinear', 'ResizeNearestNeighbor', 'ResizeBicubic'),
        *('Pad', 'MirrorPad', 'SpaceToBatchND', 'BatchToSpaceND', 'Reshape', 'Squeeze', 'ExpandDims'),
    }
)
_ELEMENTWISE = frozenset({'Add', 'AddV2', 'AddN', 'Sub', 'Mul', 'RealDiv', 'Maximum', 'Minimum', 'SelectV2'})
_REDUCTIONS = frozenset({'Mean', 'Sum', 'Max', 'Min'})
_VARIABLE_READS = frozenset({'ReadVariableOp', 'Identity', 'Cast', 'StopGradient'})
_RANDOM = frozenset({'RandomUniform', 'RandomStandardNormal', 'StatelessRandomUniformV2'})
# What directly behind a convolution belongs to its layer.
_OF_THE_LAYER = frozenset(
    {'BiasAdd', 'FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3', 'BatchToSpaceND', 'Identity', 'Cast'}
)


class Walk:
    """One pass over a traced graph, whose channels are added to `edges`.

    Args:
      edges: shared by the traces of one network.
      variables: {id of the tensor that stands for a variable in the graph: name}.
      shapes: {name: shape}.

    Attributes:
      convolutions: in the order of the graph.
      gates: {kernel: tensor}, what a convolution has become behind its bias and batch norm.
      operations: {kernel: the operations that apply it}.
    """

    def __init__(self, edges: ChannelEdges, variables: Mapping[int, str], shapes: Mapping[str, tuple[int, ...]]):
        self._edges = edges
        self._variable_of = dict(variables)
        self._shapes = shapes
        self._ids: dict[int, np.ndarray] = {}
        self._any: set[int] = set()
        self._refused: list[tuple[tf.Operation, np.ndarray]] = []
        self._maker: dict[int, str] = {}
        self.convolutions: list[Convolution] = []
        self.gates: dict[str, tf.Tensor] = {}
        self.operations: dict[str, list[tf.Operation]] = {}

    def variable(self, tensor: tf.Tensor) -> str | None:
        """The name of the variable that a tensor of the graph is the value of."""
        return self._variable_of.get(id(tensor))

    def run(self, graph: Any, images: tf.Tensor, outputs: Iterable[tf.Tensor]) -> None:
        """Follows every operation; channels of `images` and `outputs` are kept."""
        self._ids[id(images)] = self._edges.fresh(images.shape[-1])
        self._edges.keep(self._ids[id(images)])
        for op in graph.get_operations():
            self._visit(op)
        for output in outputs:
            self._edges.keep(self._ids[id(output)])

    def problems(self, channel_of: np.ndarray) -> list[str]:
        """One line for each operation that is not understood and has channels that could be removed."""
        return [
            f'{op.type} {op.name!r}, behind layer {self._layer_before(op)!r}: {_reason(op)}'
            for op, ids in self._refused
            if (channel_of[ids] != KEPT).any()
        ]

    def _visit(self, op: tf.Operation) -> None:
        if self._is_variable_read(op):
            self._variable_of[id(op.outputs[0])] = self._variable_of[id(op.inputs[0])]
        elif not any(id(tensor) in self._ids for tensor in op.inputs):
            if op.type in _RANDOM or self._is_even_constant(op) or self._is_even(op):
                self._any.update(id(output) for output in op.outputs)
        elif not _HANDLERS.get(op.type, Walk._refuse)(self, op):
            self._refuse(op)

    def _is_variable_read(self, op: tf.Operation) -> bool:
        return op.type in _VARIABLE_READS and len(op.inputs) == 1 and id(op.inputs[0]) in self._variable_of

    def _is_even_constant(self, op: tf.Operation) -> bool:
        if op.type != 'Const':
            return False
        value = tf.get_static_value(op.outputs[0])
        return (
            value is not None and value.dtype.kind in 'fb' and value.size > 0 and bool((value == value.flat[0]).all())
        )

    def _is_even(self, op: tf.Operation) -> bool:
        """Computed from even tensors and scalars alone: a dropout's mask."""
        inputs = [tensor for tensor in op.inputs if tensor.shape.rank]
        return bool(inputs) and all(id(tensor) in self._any for tensor in inputs)

    def _refuse(self, op: tf.Operation) -> bool:
        for tensor in op.inputs:
            if id(tensor) in self._ids:
                self._refused.append((op, self._ids[id(tensor)]))
        for output in op.outputs:  # followed further, as channels that are kept
            if output.shape.rank and output.shape[-1]:
                self._edges.keep(self._ids.setdefault(id(output), self._edges.fresh(output.shape[-1])))
        return True

    def _layer_before(self, op: tf.Operation) -> str:
        waiting, seen = list(op.inputs), set()
        while waiting:
            tensor = waiting.pop(0)
            if id(tensor) in self._maker:
                return self._maker[id(tensor)].rpartition('/')[0]
            if id(tensor) not in seen:
                seen.add(id(tensor))
                waiting += tensor.op.inputs
        return 'the image'

    # Handlers: True if the operation was understood.

    def _channelwise(self, op: tf.Operation) -> bool:
        ids = self._ids.get(id(op.inputs[0]))
        output = op.outputs[0]
        if ids is None or not _is_nhwc(op) or not output.shape.rank or output.shape[-1] != len(ids):
            return False
        self._ids[id(output)] = ids
        self._pass_gate(op)
        return True

    def _elementwise(self, op: tf.Operation) -> bool:
        output = op.outputs[0]
        width = output.shape[-1]
        joined = next((i for t in op.inputs if (i := self._ids.get(id(t))) is not None and len(i) == width), None)
        if joined is None:
            return False
        return all(self._bind(tensor, joined) for tensor in op.inputs) and self._give(output, joined)

    def _bind(self, tensor: tf.Tensor, ids: np.ndarray) -> bool:
        """Joins what `tensor` has along its last axis, which is added to or multiplied with channels `ids`."""
        own = self._ids.get(id(tensor))
        if own is not None:
            if len(own) == len(ids):
                self._edges.join(ids, own)
            else:
                self._edges.keep(own)  # one channel, repeated
            return True
        rank, name = tensor.shape.rank, self._variable_of.get(id(tensor))
        if name is not None and rank and tensor.shape[-1] == len(ids):
            self._edges.join(ids, self._edges.of(Axis(name, rank - 1), len(ids)))
            return True
        if rank == 0 or tensor.shape[-1] == 1 or id(tensor) in self._any or tensor.shape.num_elements() == 0:
            return True
        if tensor.op.type == 'Const':  # a number of its own for each channel
            self._edges.keep(ids)
            return True
        return False

    def _give(self, tensor: tf.Tensor, ids: np.ndarray) -> bool:
        self._ids[id(tensor)] = ids
        return True

    def _add_vectors(self, op: tf.Operation) -> bool:
        """BiasAdd and batch norm: vectors as long as there are channels."""
        features, *vectors = op.inputs
        ids = self._ids.get(id(features))
        if ids is None or not _is_nhwc(op) or not all(self._bind(vector, ids) for vector in vectors):
            return False
        self._pass_gate(op)
        return self._give(op.outputs[0], ids)

    def _convolution(self, op: tf.Operation) -> bool:
        """Conv2D, grouped if its kernel has fewer inputs than the features have channels."""
        features, kernel = op.inputs[:2]
        name = self._variable_of.get(id(kernel))
        if name is None or not _is_nhwc(op):
            return False
        inputs, outputs = kernel.shape[2:]
        groups = features.shape[-1] // inputs
        self._join_repeated(self._ids.get(id(features)), self._edges.of(Axis(name, 2), inputs), groups)
        out_ids = self._edges.of(Axis(name, 3), outputs)
        # Groups are equally wide: they lose the channels at the same places.
        self._join_repeated(out_ids, out_ids[: outputs // groups], groups)
        self._made(op, name, 3, op.outputs[0], op.outputs[0])
        return self._give(op.outputs[0], out_ids)

    def _join_repeated(self, ids: np.ndarray | None, period: np.ndarray, times: int) -> None:
        if ids is None:
            self._edges.keep(period)
        elif times > 1 or ids is not period:
            self._edges.join(ids, np.tile(period, times))

    def _depthwise_convolution(self, op: tf.Operation) -> bool:
        features, kernel = op.inputs[:2]
        name, ids = self._variable_of.get(id(kernel)), self._ids.get(id(features))
        if name is None or ids is None or not _is_nhwc(op):
            return False
        inputs, multiplier = kernel.shape[2:]
        own = self._edges.of(Axis(name, 2), inputs)
        self._edges.join(ids, own)
        self._made(op, name, 2, op.outputs[0], op.outputs[0])
        return self._give(op.outputs[0], np.repeat(own, multiplier))

    def _transposed_convolution(self, op: tf.Operation) -> bool:
        _, kernel, features = op.inputs
        name, ids = self._variable_of.get(id(kernel)), self._ids.get(id(features))
        if name is None or ids is None or not _is_nhwc(op):
            return False
        outputs, inputs = kernel.shape[2:]
        out_ids = self._edges.of(Axis(name, 2), outputs)
        in_ids = self._edges.of(Axis(name, 3), inputs)
        self._edges.join(ids, in_ids)
        if inputs == outputs:  # a learned enlargement of each channel: what it makes is what it reads
            self._edges.join(in_ids, out_ids)
        self._made(op, name, 2, op.outputs[0], features)
        return self._give(op.outputs[0], out_ids)

    def _made(self, op: tf.Operation, kernel: str, axis: int, output: tf.Tensor, applied_at: tf.Tensor) -> None:
        height, width = op.inputs[1].shape[:2]
        positions = math.prod(applied_at.shape[:-1])
        self.convolutions.append(
            Convolution(
                kernel=kernel,
                outputs=Axis(kernel, axis),
                depthwise=op.type.startswith('Depthwise'),
                positions=positions,
                area=height * width,
            )
        )
        self.operations.setdefault(kernel, []).append(op)
        self._maker[id(output)] = kernel
        self.gates[kernel] = output

    def _pass_gate(self, op: tf.Operation) -> None:
        """Bias, batch norm and reordering of pixels directly behind a convolution belong to it."""
        kernel = self._maker.get(id(op.inputs[0]))
        if kernel is not None and op.type in _OF_THE_LAYER:
            self._maker[id(op.outputs[0])] = kernel
            self.gates[kernel] = op.outputs[0]

    def _concatenation(self, op: tf.Operation) -> bool:
        *parts, axis = op.inputs
        output = op.outputs[0]
        ids = [self._ids.get(id(part)) for part in parts]
        place = tf.get_static_value(axis)
        if place is None or any(own is None for own in ids):
            return False
        known = [own for own in ids if own is not None]
        if int(place) in (-1, output.shape.rank - 1):
            return self._give(output, np.concatenate(known))
        for own in known[1:]:
            self._edges.join(known[0], own)
        return self._give(output, known[0])

    def _split(self, op: tf.Operation) -> bool:
        axis, features = (op.inputs[0], op.inputs[1]) if op.type == 'Split' else (op.inputs[2], op.inputs[0])
        ids, place = self._ids.get(id(features)), tf.get_static_value(axis)
        if ids is None or place is None:
            return False
        begin = 0
        for output in op.outputs:
            along = int(place) in (-1, features.shape.rank - 1)
            self._ids[id(output)] = ids[begin : begin + output.shape[-1]] if along else ids
            begin += output.shape[-1]
        return True

    def _slice(self, op: tf.Operation) -> bool:
        features, begin, output = op.inputs[0], op.inputs[1], op.outputs[0]
        ids, width = self._ids.get(id(features)), output.shape[-1]
        if ids is None or output.shape.rank != features.shape.rank:
            return False
        if width == len(ids):
            return self._give(output, ids)
        start = tf.get_static_value(begin)
        first = None if start is None else _first_channel(op, start, features.shape)
        return first is not None and self._give(output, ids[first : first + width])

    def _reduction(self, op: tf.Operation) -> bool:
        features, axes = op.inputs
        ids, places = self._ids.get(id(features)), tf.get_static_value(axes)
        if ids is None or places is None:
            return False
        rank = features.shape.rank
        if rank - 1 in {int(place) % rank for place in np.ravel(places)}:
            return False
        return self._give(op.outputs[0], ids)

    def _transpose(self, op: tf.Operation) -> bool:
        ids, order = self._ids.get(id(op.inputs[0])), tf.get_static_value(op.inputs[1])
        if ids is None or order is None or int(order[-1]) != len(order) - 1:
            return False
        return self._give(op.outputs[0], ids)


_HANDLERS: dict[str, Callable[[Walk, tf.Operation], bool]] = {
    **dict.fromkeys(_CHANNELWISE, Walk._channelwise),
    **dict.fromkeys(_ELEMENTWISE, Walk._elementwise),
    **dict.fromkeys(_REDUCTIONS, Walk._reduction),
    **dict.fromkeys(('FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3', 'BiasAdd'), Walk._add_vectors),
    **dict.fromkeys(('Split', 'SplitV'), Walk._split),
    **dict.fromkeys(('Slice', 'StridedSlice'), Walk._slice),
    'Conv2D': Walk._convolution,
    'DepthwiseConv2dNative': Walk._depthwise_convolution,
    'Conv2DBackpropInput': Walk._transposed_convolution,
    'ConcatV2': Walk._concatenation,
    'Transpose': Walk._transpose,
}


def _is_nhwc(op: tf.Operation) -> bool:
    attributes = op.node_def.attr
    return 'data_format' not in attributes or attributes['data_format'].s == b'NHWC'


def _first_channel(op: tf.Operation, begin: np.ndarray, shape: tf.TensorShape) -> int | None:
    """Where a slice of the last axis begins; None if that cannot be told, or if it does not take every channel."""
    if op.type == 'Slice':
        return int(begin[-1])
    steps, last = tf.get_static_value(op.inputs[3]), len(begin) - 1
    whole = last == shape.rank - 1 or 0 < op.get_attr('ellipsis_mask') < 1 << last
    if not whole or steps is None or int(steps[last]) != 1:
        return None
    if op.get_attr('new_axis_mask') or op.get_attr('shrink_axis_mask'):
        return None
    return 0 if op.get_attr('begin_mask') >> last & 1 else int(begin[last]) % shape[-1]


def _reason(op: tf.Operation) -> str:
    if op.type == 'Reshape' and op.outputs[0].shape.rank == op.inputs[0].shape.rank + 1:
        return (
            'takes the channels apart into groups; group normalisation mixes those of a group, so none can be removed '
            'without changing the others: train with hyperparams.batch_norm to prune'
        )
    if op.type in _HANDLERS:
        return 'is used in a way that channels cannot be followed through'
    return 'not known to the pruner, so channels cannot be followed through it'
