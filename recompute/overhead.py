"""What a process takes for the activations and gradients of a step, beyond the bytes of these themselves.

TensorFlow's allocator on a CPU with oneDNN never gives memory back, so a step takes the most that it ever held, with
the gaps between what it holds (FRAGMENTATION; a replay of best fit in one region gave 1.1 to 1.2 for plans, and none
for plain training, which only grows and then shrinks); beside it, at some moment of the step, about as much as the
largest tensor that a convolution reads or makes, which the process gives back afterwards (copies in oneDNN's layouts,
presumably); and compiled kernels and the like, about the same for every model (RUNTIME_BYTES). The numbers were fitted
to what benchmarks/gradient_checkpointing.py measures.
"""

from __future__ import annotations

import dataclasses

FRAGMENTATION = 1.1
RUNTIME_BYTES = 140_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overhead:
    """Between bytes that are held at once and bytes that the process takes.

    Attributes:
      largest_operand_bytes: of what convolutions read or make.
    """

    largest_operand_bytes: int

    @property
    def fixed_bytes(self) -> int:
        """What is taken whatever is held."""
        return self.largest_operand_bytes + RUNTIME_BYTES

    def taken(self, held: float, *, planned: bool) -> int:
        """Bytes the process takes for so many held at once."""
        return int((FRAGMENTATION if planned else 1) * held) + self.fixed_bytes

    def may_hold(self, taken: float, *, planned: bool) -> int:
        """The most that can be held at once where the process may take so many bytes."""
        return int((taken - self.fixed_bytes + 1) / (FRAGMENTATION if planned else 1))
