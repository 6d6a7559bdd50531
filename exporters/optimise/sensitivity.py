"""How much each convolution, alone in bfloat16, would move the decision between classes.

All of it is float32 arithmetic: a convolution's input, kernel, bias and result are rounded to 8 bits of mantissa and
made float again, one convolution at a time. So it tells the same on every processor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from core.servable import INPUTS, PREDICTIONS
from exporters.optimise import precision, rewriting

_DECIDING = 0.1  # share of the pixels whose classes are closest: those which an error can change


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution, or product of matrices.

    Attributes:
      name: of its operation.
      flops: multiplications and additions of all batches that were looked at.
      error: mean square by which the lead of the best class over the second changes, where that lead is small.
    """

    name: str
    flops: float
    error: float


def measure(graph_def: Any, batches: Sequence[np.ndarray]) -> list[Layer]:
    """Every convolution before the class ids, in the order of the graph.

    Args:
      graph_def: float32, of a servable: `inputs` to `predictions`, an argmax between.
      batches: images as the graph takes them; one run for each convolution and batch.
    """
    scores = _scores(graph_def)
    switched = _Switched(graph_def, scores)
    if not switched.names:
        return []
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(switched.graph_def, name='')
        products = [graph.get_operation_by_name(name) for name in switched.names.values()]
        operations = tf.stack([_flops(product) for product in products])
        run = session.make_callable([f'{scores}:0', operations], [f'{INPUTS}:0', f'{switched.switches}:0'])
        off = np.zeros(len(products), np.float32)
        errors, flops = np.zeros(len(products)), np.zeros(len(products))
        for images in batches:
            exact, of_batch = run(images, off)
            lead = _Lead(exact)
            for number in range(len(products)):
                off[number] = 1
                errors[number] += lead.error(run(images, off)[0])
                off[number] = 0
            flops += of_batch
    return [
        Layer(name=name, flops=float(flops[i]), error=float(errors[i] / max(len(batches), 1)))
        for i, name in enumerate(switched.names)
    ]


class _Lead:
    """How far the best class is ahead of the second at the deciding pixels of float32 `scores` [..., C]."""

    def __init__(self, scores: np.ndarray):
        flat = scores.reshape(-1, scores.shape[-1])
        two = np.argpartition(flat, -2, -1)[:, -2:]  # any order: a lead changes its sign, not its square
        lead = self._of(flat, two)
        count = max(1, int(_DECIDING * len(flat)))
        self._pixels = np.argpartition(np.abs(lead), count - 1)[:count]
        self._two, self._lead = two[self._pixels], lead[self._pixels]

    def error(self, scores: np.ndarray) -> float:
        """Mean square of the change."""
        flat = scores.reshape(-1, scores.shape[-1])[self._pixels]
        return float(np.square(self._of(flat, self._two) - self._lead).mean())

    @staticmethod
    def _of(flat: np.ndarray, two: np.ndarray) -> np.ndarray:
        low, high = np.take_along_axis(flat, two, -1).T.astype(np.float64)
        return high - low


class _Switched:
    """The graph up to `scores`, with a number for each convolution: 1 rounds it, 0 leaves it as it is.

    Attributes:
      graph_def: with the placeholder `switches`, float32 [number of convolutions].
      names: {name in the given graph: in this one}.
    """

    def __init__(self, graph_def: Any, scores: str):
        self._numbers = {
            node.name: number
            for number, node in enumerate(
                node for node in rewriting.in_order(graph_def, [scores]) if node.op in precision.CONVOLUTIONS
            )
        }
        self.names: dict[str, str] = {}
        self.switches = ''
        self._of_tensor: dict[str, tf.Tensor] = {}
        self._placeholder: Any = None
        self.graph_def = rewriting.rewrite(graph_def, [scores], self._rule)

    def _rule(self, node: rewriting.Node) -> tf.Tensor | None:
        if node.proto.name in self._numbers:
            switch = self._switch(self._numbers[node.proto.name])
            rounded = [_rounded(tensor, switch) for tensor in node.inputs]
            made = self._copy(node, rounded, f'{node.proto.name}/product')  # no name of the given graph
            self.names[node.proto.name] = made.op.name
            self._of_tensor[made.name] = switch
            # What a bias follows is rounded behind it: they are one operation when they run.
            return made if node.num_consumers == 1 else _rounded(made, switch)
        if node.op == 'BiasAdd' and (switch := self._of_tensor.get(node.inputs[0].name)) is not None:
            made = self._copy(node, [node.inputs[0], _rounded(node.inputs[1], switch)], node.proto.name)
            return _rounded(made, switch)
        return None

    def _switch(self, number: int) -> tf.Tensor:
        if self._placeholder is None:
            self._placeholder = tf.compat.v1.placeholder(tf.float32, [len(self._numbers)], name='bfloat16_switches')
        self.switches = self._placeholder.op.name
        return self._placeholder[number]

    @staticmethod
    def _copy(node: rewriting.Node, inputs: Sequence[tf.Tensor], name: str) -> tf.Tensor:
        graph, attributes = tf.compat.v1.get_default_graph(), dict(node.proto.attr)
        return graph.create_op(node.op, list(inputs), name=name, attrs=attributes).outputs[0]


def _rounded(tensor: tf.Tensor, switch: tf.Tensor) -> tf.Tensor:
    if tensor.dtype != tf.float32:
        return tensor
    return tensor + switch * (tf.cast(tf.cast(tensor, tf.bfloat16), tf.float32) - tensor)


def _scores(graph_def: Any) -> str:
    """What the class ids are the argmax of, before it is enlarged and cropped: fewer numbers, the same decisions."""
    order = rewriting.in_order(graph_def, [PREDICTIONS])
    by_name = {node.name: node for node in order}
    node = next(node for node in reversed(order) if node.op == 'ArgMax')
    source = by_name[node.input[0].split(':')[0]]
    while source.op in ('ResizeBilinear', 'StridedSlice', 'Slice'):
        source = by_name[source.input[0].split(':')[0]]
    return source.name


def _flops(product: tf.Operation) -> tf.Tensor:
    """Of one run; sizes need not be static."""
    kernel = product.inputs[1].shape
    if product.type == 'MatMul':
        terms = kernel[1 if product.get_attr('transpose_b') else 0]
    else:
        terms = kernel[0] * kernel[1] * (kernel[2] if product.type == 'Conv2D' else 1)
    return tf.cast(tf.size(product.outputs[0], tf.int64), tf.float64) * float(2 * terms)
