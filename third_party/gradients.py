"""The one place that reads TensorFlow's private gradient registry and op copying.

`tf.gradients` and `tf.GradientTape` both walk the forward graph themselves and hand each gradient function the op that
ran. Recomputation needs to hand it the op that runs again, so it walks by itself and needs these two pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf
from tensorflow.python.framework import ops as _ops

GradientFunction = Callable[..., object]

# Attributes that tie a node to its neighbours by name; a copy must not have them.
_COLOCATION = '_class'
_CUSTOM_GRADIENT = '_gradient_op_type'


def gradient_function(op: tf.Operation) -> GradientFunction | None:
    """The registered gradient of `op`'s type, overrides included; None where it is defined as having none.

    Raises LookupError for a type that no gradient was registered for.
    """
    return _ops.get_gradient_function(op)


def differentiable_inputs(op: tf.Operation) -> list[tf.Tensor]:
    """Inputs that a gradient may pass to: all, but of a function with a gradient of its own its arguments alone.

    `tf.custom_gradient` ends its function with an IdentityN of results and arguments, whose arguments nobody reads.
    """
    if op.type != 'IdentityN' or _CUSTOM_GRADIENT not in op.node_def.attr:
        return list(op.inputs)
    return [t for t, passed_on in zip(op.inputs, op.outputs, strict=True) if not passed_on.consumers()]


def copy_operation(op: tf.Operation, inputs: Sequence[tf.Tensor], name: str) -> tf.Operation:
    """The same operation on other inputs, in the same graph, under the control dependencies and name scope in force."""
    attributes = {key: value for key, value in op.node_def.attr.items() if key != _COLOCATION}
    with tf.device(op.device or None):
        copy = op.graph.create_op(op.type, list(inputs), [t.dtype for t in op.outputs], name=name, attrs=attributes)
    for output, original in zip(copy.outputs, op.outputs, strict=True):
        output.set_shape(original.shape)
    return copy


def captured_handle(graph: tf.Graph, variable: tf.Variable) -> tf.Tensor:
    """What stands in the traced function's graph for the variable; in a replica, for its own copy."""
    return graph.capture(variable.handle)


def run_before(last: tf.Operation, first: Sequence[tf.Operation]) -> None:
    """A control dependency of an operation on others that were made after it, in the same graph."""
    last._add_control_inputs(list(first))
