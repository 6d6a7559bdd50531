"""The activations of a traced forward pass: bytes, which the backward pass reads, the work of making them again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence, Set

import tensorflow as tf

from recompute import costs
from recompute.forward import ForwardGraph
from recompute.schedule import can_recompute

EXPENSIVE = frozenset({'Conv2D', 'DepthwiseConv2dNative', 'Conv2DBackpropInput', 'MatMul', 'BatchMatMulV2'})

# Bytes that are not worth computing again: statistics of batch norm, pooled features, scalars of losses.
_SMALL = 1 << 16


@dataclasses.dataclass(kw_only=True)
class Buffer:
    """Memory of one activation and its aliases, such as reshapes.

    Attributes:
      place: operation that fills it.
      last_use: last operation of the forward pass that reads it.
      size: bytes.
      needed: the backward pass reads it.
      replaceable: it can be computed again.
      expensive: that takes a convolution or a matrix product.
      differentiable: it has a gradient.
      work: FLOPs, or what takes as long, to compute it again from its inputs.
      sources: mask of the buffers it is computed from.
    """

    place: int
    last_use: int
    size: int
    needed: bool
    replaceable: bool
    expensive: bool
    differentiable: bool
    work: float
    sources: int

    @property
    def density(self) -> float:
        """Work saved for each byte kept."""
        return self.work / self.size


class Activations:
    """Every activation worth planning for, in the order of the operations that fill them.

    Sets of buffers are bit masks: bit i stands for `buffers[i]`.

    Args:
      forward: a forward pass of static shapes throughout.
      needed: ids of the tensors that the plain backward pass reads.
      differentiable: ids of the tensors that have a gradient.

    Attributes:
      buffers: those of more than some kilobytes; the others are always kept.
      waiting_gradients: for each operation, bytes of gradients that are there while the backward pass is at it: of all
        activations that cross this point, of its inputs, and of the kernels from here to the end.
      total_work: FLOPs of one forward pass, or what takes as long.
    """

    def __init__(self, forward: ForwardGraph, needed: Set[int], differentiable: Set[int]):
        self.operations = forward.operations
        self.buffers: list[Buffer] = []
        self._index: dict[int, int] = {}
        self.total_work = 0.0
        for place, op in enumerate(forward.operations):
            self._read(place, op)
            self._fill(place, op, needed, differentiable)
        self.waiting_gradients = self._count_gradients(differentiable)

    @property
    def regularizer_gradient_bytes(self) -> int:
        """Gradients of an L2 regulariser: plain training has them all as soon as its backward pass begins."""
        losses = [op for op in self.operations if op.type == 'L2Loss' and op.inputs[0].op.type == 'ReadVariableOp']
        return sum(costs.num_bytes(op.inputs[0]) for op in losses)

    @property
    def plain_bytes(self) -> int:
        """What plain training keeps for the backward pass."""
        return sum(buffer.size for buffer in self.buffers if buffer.needed)

    def index(self, tensor: tf.Tensor) -> int | None:
        """The buffer that holds the tensor; None if it is always there."""
        return self._index.get(id(tensor))

    def crossing(self, place: int) -> int:
        """Mask of the buffers filled up to operation `place` and read after it."""
        return sum(1 << i for i, b in enumerate(self.buffers) if b.place <= place < b.last_use)

    def crossing_bytes(self) -> list[int]:
        """Bytes of `crossing` for each operation."""
        return self._running(self.buffers)

    def size(self, mask: int) -> int:
        """Bytes of all buffers in the mask."""
        return sum(self.buffers[i].size for i in bits(mask))

    def _read(self, place: int, op: tf.Operation) -> None:
        for t in op.inputs:
            index = self._index.get(id(t))
            if index is not None:
                self.buffers[index].last_use = place

    def _fill(self, place: int, op: tf.Operation, needed: Set[int], differentiable: Set[int]) -> None:
        if not op.inputs or op.type == 'ReadVariableOp':
            return
        sources = 0
        for t in op.inputs:
            index = self._index.get(id(t))
            sources |= 0 if index is None else 1 << index
        if op.type in costs.ALIASES:
            index = self._index.get(id(op.inputs[0]))
            if index is not None:
                self._index[id(op.outputs[0])] = index
                self.buffers[index].needed |= id(op.outputs[0]) in needed
            return
        work = costs.work(op)
        self.total_work += work
        for t in op.outputs:
            size = costs.num_bytes(t)
            if size <= _SMALL:
                continue
            self._index[id(t)] = len(self.buffers)
            self.buffers.append(
                Buffer(
                    place=place,
                    last_use=place,
                    size=size,
                    needed=id(t) in needed,
                    replaceable=can_recompute(op),
                    expensive=op.type in EXPENSIVE,
                    differentiable=id(t) in differentiable,
                    work=work,
                    sources=sources,
                )
            )

    def _running(self, buffers: Sequence[Buffer]) -> list[int]:
        change = [0] * (len(self.operations) + 1)
        for b in buffers:
            change[b.place] += b.size
            change[b.last_use] -= b.size
        total, found = 0, []
        for delta in change[:-1]:
            total += delta
            found.append(total)
        return found

    def _count_gradients(self, differentiable: Set[int]) -> list[int]:
        found = self._running([b for b in self.buffers if b.differentiable])
        for b in self.buffers:
            if b.differentiable:
                found[b.last_use] += b.size
        kernels = 0
        for place in reversed(range(len(self.operations))):
            read = [
                t for t in self.operations[place].inputs if t.op.type == 'ReadVariableOp' and id(t) in differentiable
            ]
            kernels += sum(costs.num_bytes(t) for t in read)
            found[place] += kernels
        return found


def bits(mask: int) -> Iterator[int]:
    """Numbers of the bits that are set, ascending."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
