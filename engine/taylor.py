"""First-order Taylor importance of filters, from gradients of the training loss over batches of data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from compression.channels import Axis, ChannelEdges, ChannelGraph
from compression.tracing import captured_variables
from compression.walk import Walk
from core import fields
from core.errors import UserError
from core.model import SegmentationModel


def scores(
    model: SegmentationModel, graph: ChannelGraph, batches: Iterable[Mapping[str, tf.Tensor]]
) -> dict[Axis, np.ndarray]:
    """{axis of output channels: score of each}, averaged over the batches.

    The score of a channel is the square of what the loss would change by, to first order, if the channel were switched
    off behind its bias and batch norm: the sum over pixels of its value times its gradient (Molchanov et al.,
    arXiv:1906.10771, equation 8, with gates behind batch norm as in section 3.2). All losses of training count, without
    the regulariser. The model's variables are as before afterwards.

    Raises UserError if a loss or a score is not finite.
    """
    axes = {convolution.kernel: convolution.outputs for convolution in graph.convolutions}
    averages = {name: v.numpy() for name, v in model.variables_by_name().items() if not v.trainable}
    step = tf.function(lambda batch: _squares(model, batch), autograph=False, reduce_retracing=True)
    totals: dict[str, np.ndarray] = {}
    for batch in batches:
        for kernel, squares in step({name: batch[name] for name in (fields.IMAGE, fields.LABEL)}).items():
            totals[kernel] = totals.get(kernel, 0.0) + squares.numpy().astype(np.float64)
    for name, value in averages.items():
        model.variables_by_name()[name].assign(value)
    broken = [kernel for kernel, total in totals.items() if not np.isfinite(total).all()]
    if broken or not totals:
        raise UserError(f'--criterion: taylor has no finite score for {broken[0] if broken else "any layer"}')
    return {
        axes[kernel]: _per_index(total, graph.shapes[kernel][axes[kernel].axis]) for kernel, total in totals.items()
    }


def _squares(model: SegmentationModel, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """{kernel: squared change of the loss [outputs]} of one batch."""
    images = model.preprocess(batch[fields.IMAGE])
    with model.in_published_order():  # elsewhere a kernel may be in parts, whose outputs are not those of its channels
        predictions = model.predict(images, is_training=True)
    loss = tf.add_n(list(model.loss(predictions, batch[fields.LABEL]).values()))
    shapes = {name: tuple(variable.shape) for name, variable in model.variables_by_name().items()}
    walk = Walk(ChannelEdges(), captured_variables(images.graph, model), shapes)
    walk.run(images.graph, images, predictions.values())
    gates = walk.gates
    gradients = tf.gradients(loss, list(gates.values()))
    return {
        kernel: tf.square(tf.reduce_sum(gate * gradient, axis=[0, 1, 2]))
        for (kernel, gate), gradient in zip(gates.items(), gradients, strict=True)
        if gradient is not None
    }


def _per_index(total: np.ndarray, length: int) -> np.ndarray:
    """Of a depthwise kernel with a multiplier: the sum over the channels that one input makes."""
    return total.reshape(length, -1).sum(1)
