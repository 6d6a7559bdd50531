"""What a planned training step keeps of its forward pass, and in which segments it computes the rest again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence, Set

import tensorflow as tf

# Their value costs nothing to have at any time.
_ALWAYS_THERE = frozenset({'Const', 'Placeholder', 'ReadVariableOp', 'VarHandleOp', 'PlaceholderWithDefault'})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """For one traced forward pass.

    Several segments in a row may be inside a rerun: when the backward pass enters the last of them, their operations
    run once more, and what the rerun keeps is held until the backward pass has left the first. Reruns may be inside
    reruns.

    Attributes:
      segment_of: segment of each operation, ascending.
      recomputed: ids of the tensors that are dropped after the forward pass and computed again when the backward pass
        enters their segment.
      late: ids of those that are not even held then, but computed once more right before the gradient that reads them.
      inside: for each segment, the numbers of the reruns it is inside of, outermost first.
      kept_by: for each rerun, ids of the tensors it keeps.
    """

    segment_of: Sequence[int]
    recomputed: Set[int]
    late: Set[int]
    inside: Sequence[Sequence[int]]
    kept_by: Sequence[Set[int]]

    def keeps(self, tensor: tf.Tensor) -> bool:
        """Whether the forward pass's own tensor is used by the backward pass."""
        return id(tensor) not in self.recomputed


def can_recompute(op: tf.Operation) -> bool:
    """Whether running `op` again gives the same value: no state, no random draw of its own, no input from outside."""
    return op.type not in _ALWAYS_THERE and not op.op_def.is_stateful
