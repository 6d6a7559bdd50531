"""Which examples of each batch one of several readers reads."""

from __future__ import annotations

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """What one of several readers reads of every batch: an equal part, the first reader the first examples.

    Attributes:
      number: which part, from 0 on.
      of: parts.
      batch_size: of all parts together.
    """

    number: int = 0
    of: int = 1
    batch_size: int = 1

    def taken(self, examples: tf.data.Dataset) -> tf.data.Dataset:
        """Of `examples`, which begin with a batch, those of this reader."""
        if self.of == 1:
            return examples
        size = self.batch_size // self.of
        own = slice(self.number * size, (self.number + 1) * size)

        def cut(*parts: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return tuple(part[own] for part in parts)

        batches = examples.batch(self.batch_size, drop_remainder=True)
        return batches.map(tf.autograph.experimental.do_not_convert(cut)).unbatch()
