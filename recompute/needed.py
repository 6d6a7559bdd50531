"""Which activations the backward pass of plain training reads, found by building it aside."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from recompute.backward import gradients
from recompute.forward import ForwardGraph

# They read a tensor's shape, which a fixed crop makes a constant, and never its content.
_SHAPE_ONLY = frozenset({'Shape', 'ShapeN', 'Rank', 'Size', 'ZerosLike', 'OnesLike'})


def tensors_needed(forward: ForwardGraph, variables: Sequence[tf.Variable]) -> set[int]:
    """Ids of the forward pass's tensors that gradients are computed from.

    The backward pass is built in a graph of its own, which then knows what it had to fetch from outside.
    """
    scratch = tf.__internal__.FuncGraph('backward_of_plain_training')
    with scratch.as_default():
        results = [g for g in gradients(forward, variables) if g is not None]
    used = _used(results)
    return {
        id(outer)
        for outer, inner in scratch.captures
        if inner.op in used and any(op in used and op.type not in _SHAPE_ONLY for op in inner.consumers())
    }


def _used(results: Sequence[tf.Tensor]) -> set[tf.Operation]:
    """Everything that the results depend on; the rest is pruned before anything runs."""
    found = {t.op for t in results}
    waiting = list(found)
    while waiting:
        for tensor in waiting.pop().inputs:
            if tensor.op not in found:
                found.add(tensor.op)
                waiting.append(tensor.op)
    return found
