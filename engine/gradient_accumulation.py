"""A training step whose gradients are computed in parts of the batch, one after another, and applied once.

Each part is a call of one compiled function, so memory is that of a part, whatever their number; replicas add up their
own gradients and exchange the sums once. Sums are 0 between two steps, so a checkpoint has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from core.model import SegmentationModel

Tensors = Mapping[str, tf.Tensor]


class AccumulatingStep:
    """{image, label} of one replica batch each -> scalars on the device, their means over the parts.

    Args:
      model: whose store is entered.
      trainable: the variables by name; to be made in the strategy's scope.
      strategy: runs the parts.
      num_parts: how many; divides the replica batch.
      gradients_of: a part, in a replica -> (losses, gradients by name, those of the mean over parts and replicas).
      apply: called once with the sums, in each replica -> the scalars of the whole step.
      finished: called at the end of a step, outside of replicas, with what `apply` gave -> more scalars of the step.
    """

    def __init__(
        self,
        *,
        model: SegmentationModel,
        trainable: Mapping[str, tf.Variable],
        strategy: tf.distribute.Strategy,
        num_parts: int,
        gradients_of: Callable[[Tensors], tuple[Tensors, Tensors]],
        apply: Callable[[Tensors], Tensors],
        finished: Callable[[Tensors], Tensors],
    ):
        self._model, self._strategy, self._num_parts = model, strategy, num_parts
        self._gradients_of, self._apply, self._finished = gradients_of, apply, finished
        with strategy.scope():
            self._sums = {name: _local_sum(variable) for name, variable in trainable.items()}
        self._present: Sequence[str] = ()
        self._add = tf.function(self._add_part, autograph=False, reduce_retracing=True)
        self._finish = tf.function(self._finish_step, autograph=False, reduce_retracing=True)

    def __call__(self, batch: Mapping[str, Any]) -> Tensors:
        return self._finish([self._add(batch, tf.constant(index)) for index in range(self._num_parts)])

    def get_concrete_function(self, batch: Mapping[str, Any]) -> Any:
        """Of one part: what the memory of a step is that of."""
        return self._add.get_concrete_function(batch, tf.TensorSpec([], tf.int32))

    def _add_part(self, batch: Mapping[str, Any], index: tf.Tensor) -> dict[str, tf.Tensor]:
        def replica(batch: Tensors, index: tf.Tensor) -> Tensors:
            losses, gradients = self._gradients_of({name: self._part(value, index) for name, value in batch.items()})
            self._present = list(gradients)
            for name, gradient in gradients.items():
                self._sums[name].assign_add(gradient)
            return losses

        with self._model.entered():
            return self._mean(self._strategy.run(replica, args=(batch, index)))

    def _finish_step(self, parts: Sequence[Tensors]) -> dict[str, tf.Tensor]:
        def replica() -> Tensors:
            scalars = self._apply({name: tf.convert_to_tensor(self._sums[name]) for name in self._present})
            for name in self._present:
                self._sums[name].assign(tf.zeros_like(self._sums[name]))
            return scalars

        losses = {name: tf.add_n([part[name] for part in parts]) / self._num_parts for name in parts[0]}
        applied = self._mean(self._strategy.run(replica))
        return {**losses, **applied, **self._finished(applied)}

    def _part(self, value: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        """Number `index` of [B, ...] cut into equal parts."""
        size = value.shape[0] // self._num_parts
        rest = value.shape[1:]
        return tf.slice(value, tf.stack([index * size, *[0] * len(rest)]), [size, *rest])

    def _mean(self, scalars: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        return {name: self._strategy.reduce('MEAN', value, axis=None) for name, value in scalars.items()}


def _local_sum(variable: tf.Variable) -> tf.Variable:
    """Zeros that each replica adds to by itself."""
    return tf.Variable(
        tf.zeros(variable.shape, variable.dtype),
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.SUM,
    )
