"""The activations of a traced forward pass: bytes, which the backward pass reads, the work of making them again."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import tensorflow as tf

from recompute import costs
from recompute.forward import ForwardGraph
from recompute.needed import BackwardPass
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
      first_read, last_read: places at which the backward pass, which goes from the last to the first, reads it first
        and last; its own and `place` if it does not.
      work: FLOPs, or what takes as long, to compute it again from its inputs.
      sources: mask of the buffers it is computed from.
    """

    place: int
    last_use: int
    size: int
    needed: bool
    replaceable: bool
    expensive: bool
    first_read: int
    last_read: int
    work: float
    sources: int

    def read_at(self, places: Sequence[int]) -> None:
        """The backward pass reads it, or an alias of it, at these, descending."""
        if places:
            self.first_read = max(self.first_read, places[0]) if self.needed else places[0]
            self.last_read = min(self.last_read, places[-1]) if self.needed else places[-1]
            self.needed = True

    @property
    def density(self) -> float:
        """Work saved for each byte kept."""
        return self.work / self.size


class Activations:
    """Every activation worth planning for, in the order of the operations that fill them.

    Sets of buffers are bit masks: bit i stands for `buffers[i]`.

    Args:
      forward: a forward pass of static shapes throughout.
      backward: the plain backward pass.
      bfloat16: the graph will be rewritten to compute in bfloat16.

    Attributes:
      buffers: those of more than some kilobytes; the others are always kept, as is what prepares the batch.
      batch_bytes: of the latter, what the backward pass reads.
      kernel_copy_bytes: of kernels in bfloat16, made for the forward pass and read again by the backward pass.
      gradient_bytes: for each operation, most bytes of gradients that are there while the backward pass is at it.
      variable_gradient_bytes: of the gradients of variables that are there at the end of the backward pass.
      workspace_bytes: for each operation, what it takes besides: as much as the larger of its input and output where it
        is a convolution or a matrix product, otherwise nothing.
      total_work: FLOPs of one forward pass, or what takes as long.
    """

    def __init__(self, forward: ForwardGraph, backward: BackwardPass, *, bfloat16: bool = False):
        self.operations = forward.operations
        self.buffers: list[Buffer] = []
        self.batch_bytes = 0
        self._index: dict[int, int] = {}
        self._of_batch: set[int] = set()
        self.total_work = 0.0
        self._bfloat16 = bfloat16
        for place, op in enumerate(forward.operations):
            self._read(place, op)
            self._fill(place, op, backward.reads)
        self.gradient_bytes = backward.gradient_bytes
        self.variable_gradient_bytes = backward.variable_bytes
        self.kernel_copy_bytes = _kernel_bytes(forward.operations) // 2 if bfloat16 else 0
        self.workspace_bytes = [self._workspace(op) for op in forward.operations]

    @property
    def regularizer_gradient_bytes(self) -> int:
        """Gradients of an L2 regulariser: plain training has them all as soon as its backward pass begins."""
        losses = [op for op in self.operations if op.type == 'L2Loss' and op.inputs[0].op.type == 'ReadVariableOp']
        return sum(costs.num_bytes(op.inputs[0]) for op in losses)

    @property
    def lasting_bytes(self) -> int:
        """What is there throughout the step, whatever is planned."""
        return self.batch_bytes + self.kernel_copy_bytes

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
        change = [0] * (len(self.operations) + 1)
        for b in self.buffers:
            change[b.place] += b.size
            change[b.last_use] -= b.size
        return list(itertools.accumulate(change[:-1]))

    def size(self, mask: int) -> int:
        """Bytes of all buffers in the mask."""
        return sum(self.buffers[i].size for i in bits(mask))

    def _workspace(self, op: tf.Operation) -> int:
        if op.type not in EXPENSIVE:
            return 0
        return max(costs.stored_bytes(t, bfloat16=self._bfloat16) for t in (op.inputs[0], op.outputs[0]))

    def _read(self, place: int, op: tf.Operation) -> None:
        for t in op.inputs:
            index = self._index.get(id(t))
            if index is not None:
                self.buffers[index].last_use = place

    def _fill(self, place: int, op: tf.Operation, reads: Mapping[int, Sequence[int]]) -> None:
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
                self.buffers[index].read_at(reads.get(id(op.outputs[0]), ()))
            return
        work = costs.work(op)
        self.total_work += work
        of_batch = self._is_of_batch(op)
        for t in op.outputs:
            size = costs.stored_bytes(t, bfloat16=self._bfloat16)
            if of_batch:
                self._of_batch.add(id(t))
                self.batch_bytes += size if id(t) in reads else 0
            if of_batch or size <= _SMALL:
                continue
            self._index[id(t)] = len(self.buffers)
            self.buffers.append(
                Buffer(
                    place=place,
                    last_use=place,
                    size=size,
                    needed=False,
                    replaceable=can_recompute(op),
                    expensive=op.type in EXPENSIVE,
                    first_read=place,
                    last_read=place,
                    work=work,
                    sources=sources,
                )
            )
            self.buffers[-1].read_at(reads.get(id(t), ()))

    def _is_of_batch(self, op: tf.Operation) -> bool:
        """Whether it prepares the batch: the image less its mean, other sizes of it, the labels that count."""
        from_batch = [
            id(t) in self._of_batch or (t.op.type == 'Placeholder' and t.dtype != tf.resource) for t in op.inputs
        ]
        known = [there or t.op.type == 'Const' for there, t in zip(from_batch, op.inputs, strict=True)]
        return any(from_batch) and all(known) and op.type not in EXPENSIVE


def _kernel_bytes(operations: Sequence[tf.Operation]) -> int:
    """Bytes of the variables' values, or parts of them, that convolutions and matrix products take."""
    kernels = {id(op.inputs[1]): op.inputs[1] for op in operations if op.type in EXPENSIVE}
    return sum(costs.num_bytes(kernel) for kernel in kernels.values() if _is_of_variable(kernel))


def _is_of_variable(tensor: tf.Tensor) -> bool:
    while tensor.op.type in costs.ALIASES or tensor.op.type == 'SplitV':
        tensor = tensor.op.inputs[0]
    return tensor.op.type == 'ReadVariableOp'


def bits(mask: int) -> Iterator[int]:
    """Numbers of the bits that are set, ascending."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
