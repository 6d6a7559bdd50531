"""A network that is computed piece by piece, from one convolution to the next, for the same images.

While its layers are changed one after the other, nothing before the current one is computed twice: of each batch, what
later operations read is kept on disk.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from compression import linear_layers
from compression.channels import ChannelEdges
from compression.tracing import captured_variables
from compression.walk import Walk
from core.errors import UserError
from core.model import SegmentationModel


class TracedNet:
    """One pass over a network in inference, or with the heads of training but batch norm by its averages.

    Args:
      model: built; what is computed follows its variables.
      images: files with batches of one shape, float [B, H, W, channels] each, of `save`.
      path: what the names of files with intermediate values begin with.
      is_training: with the heads of training.

    Attributes:
      variables: {name: variable}.
      layers, left: of `linear_layers.find`, the first by their kernels.
    """

    def __init__(self, model: SegmentationModel, images: Sequence[str], path: str, *, is_training: bool):
        def predict(batch: tf.Tensor) -> list[tf.Tensor]:
            with model.in_published_order():
                return list(model.predict(model.preprocess(batch), is_training=is_training).values())

        (first,) = _load(images[0])
        with _batch_norm_by_averages(model) if is_training else contextlib.nullcontext():
            self._traced = tf.compat.v1.wrap_function(predict, [tf.TensorSpec(first.shape, first.dtype)])
        self.variables = model.variables_by_name()
        graph: Any = self._traced.graph
        shapes = {name: tuple(variable.shape) for name, variable in self.variables.items()}
        walk = Walk(ChannelEdges(), captured_variables(graph, model), shapes)
        walk.run(graph, graph.inputs[0], self._traced.outputs)
        found, self.left = linear_layers.find(walk, graph)
        self.layers = {layer.kernel: layer for layer in found}
        self._operations = graph.get_operations()
        place_of = {id(op): place for place, op in enumerate(self._operations)}
        self._place = {kernel: place_of[id(ops[0])] for kernel, ops in walk.operations.items()}
        self._last_use = self._last_uses(graph.inputs[0], place_of)
        self._known: list[tf.Tensor] = [graph.inputs[0]]
        self._files = list(images)
        self._path = path

    def _last_uses(self, images: tf.Tensor, place_of: dict[int, int]) -> dict[int, int]:
        """{id of a tensor that depends on the images: place of the last operation, or layer, that reads it}."""
        last = {id(images): -1}
        for op in self._operations:
            if any(id(tensor) in last for tensor in op.inputs):
                last.update((id(output), -1) for output in op.outputs)
            last.update((id(tensor), place_of[id(op)]) for tensor in op.inputs if id(tensor) in last)
        for layer in self.layers.values():
            for tensor in (layer.features, layer.other):
                if tensor is not None:
                    last[id(tensor)] = max(last.get(id(tensor), -1), self._place[layer.kernel])
        return last

    def values_at(self, kernel: str, wanted: Sequence[tf.Tensor]) -> Iterator[list[np.ndarray]]:
        """The values of `wanted`, batch by batch, while the pass moves on to where `kernel` is applied.

        What comes before that place is fixed from then on, so kernels are asked for in their order, each once, and
        every batch is taken.

        Args:
          wanted: tensors that nothing but what is known by then, and this layer, has a part in.
        """
        place = self._place[kernel]
        read_later = [
            output
            for op in self._operations[:place]
            for output in op.outputs
            if self._last_use.get(id(output), -1) >= place
        ]
        known = [id(tensor) for tensor in self._known]
        unknown = list({id(tensor): tensor for tensor in [*wanted, *read_later] if id(tensor) not in known}.values())
        compute = self._traced.prune(list(self._known), unknown) if unknown else None
        for number, file in enumerate(self._files):
            values = dict(zip(known, _load(file), strict=True))
            if compute:
                computed = compute(*(tf.constant(values[tensor]) for tensor in known))
                values.update((id(tensor), value.numpy()) for tensor, value in zip(unknown, computed, strict=True))
            self._files[number] = save(f'{self._path}-{number}', [values[id(tensor)] for tensor in read_later])
            yield [values[id(tensor)] for tensor in wanted]
        self._known = read_later


def save(path: str, values: Sequence[Any]) -> str:
    """Writes arrays or tensors into one file, in place of an earlier one; its name. UserError if there is no room."""
    try:
        with open(path, 'wb') as file:
            np.savez(file, *(np.asarray(value) for value in values))
    except OSError as error:
        raise UserError(
            f'{path}: cannot keep what later layers are computed from: {error.strerror}; set TMPDIR to a folder with '
            'more room, or choose fewer --refit_batches'
        ) from error
    return path


def _load(path: str) -> list[np.ndarray]:
    with np.load(path) as arrays:
        return [arrays[f'arr_{number}'] for number in range(len(arrays.files))]


@contextlib.contextmanager
def _batch_norm_by_averages(model: SegmentationModel) -> Iterator[None]:
    configured = model.hyperparams
    model.hyperparams = dataclasses.replace(
        configured, batch_norm=dataclasses.replace(configured.batch_norm, train=False)
    )
    try:
        yield
    finally:
        model.hyperparams = configured
