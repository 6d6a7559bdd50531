"""What a process takes for a training step beyond the activations, gradients and workspaces that the plan counts.

TensorFlow's allocator on a CPU with oneDNN never gives memory back, so a step takes the most that it ever held, with
the gaps between what it holds. Those were seen to be about as large as the largest tensor that a convolution of the
segment reads or makes, which is counted with the segment (`Activations.workspace_bytes`). What is left, compiled
kernels and the like, is about the same for every model; it was fitted to what
benchmarks/gradient_checkpointing.py measures.
"""

from __future__ import annotations

RUNTIME_BYTES = 90_000_000


def taken(held: float) -> int:
    """Bytes the process takes for so many held at once."""
    return int(held) + RUNTIME_BYTES


def may_hold(taken_bytes: float) -> int:
    """The most that can be held at once where the process may take so many bytes; negative where that is too few."""
    return int(taken_bytes) - RUNTIME_BYTES
