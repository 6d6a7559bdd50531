"""Kernels solved for anew after a cut, layer after layer, so that each makes again what it made in the whole network.

Channel pruning of He et al. (arXiv:1707.06168, section 3.1, and section 3.2 for the sums of residual blocks): a layer
that has lost inputs can make up for them with those that are left, as far as these are correlated. Its targets are the
whole network's outputs, its inputs those of the cut network with all earlier layers already refitted, so that errors
do not pile up. No label and no gradient is needed.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from builders import input_builder
from compression import linear_layers
from compression.channels import ChannelGraph
from compression.least_squares import NormalEquations, Solution
from compression.linear_layers import LinearLayer
from core import fields
from core.errors import UserError
from core.model import SegmentationModel
from engine.compression_report import RefittedLayer
from engine.traced_net import TracedNet, save
from inputs import pipeline

_LOGGER = logging.getLogger(__name__)

RIDGE = 1e-3
_POSITIONS = 4096  # of each batch, for each layer
_MOST_INPUTS = 8192  # of one output: their matrix of products takes half a gigabyte


def refit(
    whole: SegmentationModel,
    cut: SegmentationModel,
    graph: ChannelGraph,
    keep: np.ndarray,
    config: Any,
    *,
    num_batches: int,
) -> list[RefittedLayer]:
    """Changes kernels, biases and batch norm of `cut`, in the order of its layers.

    Args:
      whole: the network that was cut, with its values.
      cut: what is left of it, with the values that are left.
      graph, keep: of `whole`, and the channels that `cut` has.
      config: of `whole`; its training records and augmentations are used.
      num_batches: training batches that each layer is fitted on, 1 or more.

    Returns what came of each layer. Raises DataError for records that cannot be read; UserError if there are none.
    """
    with pipeline.user_errors(config.train_input_reader.tf_record_input_reader.input_path):
        batches = input_builder.build_train(config).take(num_batches).map(lambda batch: batch[fields.IMAGE])
        return fit(whole, cut, graph, keep, batches)


def fit(
    whole: SegmentationModel,
    cut: SegmentationModel,
    graph: ChannelGraph,
    keep: np.ndarray,
    batches: Iterable[tf.Tensor],
    *,
    ridge: float = RIDGE,
) -> list[RefittedLayer]:
    """As `refit`, on images float [B, H, W, channels] of one size. What later layers need of them waits on disk."""
    kernels = dict.fromkeys(convolution.kernel for convolution in graph.convolutions)
    done: dict[str, RefittedLayer] = {}
    with tempfile.TemporaryDirectory() as folder:
        images = [save(os.path.join(folder, f'images-{number}'), [batch]) for number, batch in enumerate(batches)]
        if not images:
            raise UserError('the training records hold no batch to refit kernels on')
        for is_training in (False, True):  # then the heads that only training has
            if len(done) == len(kernels):
                break
            nets = [
                TracedNet(model, images, os.path.join(folder, name), is_training=is_training)
                for name, model in (('whole', whole), ('cut', cut))
            ]
            done.update((kernel, _left(kernel, why)) for kernel, why in nets[1].left.items() if kernel not in done)
            for kernel, layer in nets[1].layers.items():
                if kernel in done:
                    continue
                if why := _unfit(nets[0].layers.get(kernel), layer):
                    done[kernel] = _left(kernel, why)
                else:
                    done[kernel] = _refit_layer(nets[0], nets[1], kernel, _kept(graph, keep, kernel), ridge)
    return [done[kernel] for kernel in kernels if kernel in done]


def _kept(graph: ChannelGraph, keep: np.ndarray, kernel: str) -> np.ndarray:
    outputs = next(c.outputs for c in graph.convolutions if c.kernel == kernel)
    return np.flatnonzero(graph.stays(outputs, keep))


def _left(kernel: str, reason: str) -> RefittedLayer:
    _LOGGER.info('left %s as it is: %s', _scope(kernel), reason)
    return RefittedLayer(layer=_scope(kernel), left=reason)


def _unfit(whole: LinearLayer | None, layer: LinearLayer) -> str:
    if whole is None:
        return 'the whole network applies it differently'
    if math.prod(layer.size) * layer.features.shape[-1] > _MOST_INPUTS:
        return f'each output has more than {_MOST_INPUTS} inputs'
    return ''


def _scope(kernel: str) -> str:
    return kernel.rpartition('/')[0]


def _refit_layer(whole: TracedNet, cut: TracedNet, kernel: str, kept: np.ndarray, ridge: float) -> RefittedLayer:
    target, layer = whole.layers[kernel], cut.layers[kernel]
    is_sum = target.total is not None and layer.other is not None
    targets = whole.values_at(kernel, [target.total if is_sum else target.output])
    features = cut.values_at(kernel, [layer.features, *([layer.other] if is_sum else [])])
    equations = NormalEquations()
    rng = np.random.default_rng(0)
    for (wanted,), (seen, *others) in zip(targets, features, strict=True):
        places = _places(wanted.shape[:3], rng)
        values = wanted[places][:, kept]
        for other in others:
            values = values - other[places]
        equations.add(linear_layers.windows(layer, seen, places), values)
    solution = _solve(equations, layer, cut.variables, ridge)
    _assign(layer, cut.variables, solution)
    _LOGGER.info('refitted %s: error %.3f -> %.3f', _scope(kernel), solution.prior_error, solution.error)
    return RefittedLayer(layer=_scope(kernel), error_before=solution.prior_error, error=solution.error)


def _places(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Images, rows and columns of _POSITIONS different pixels of maps [B, H, W], or of all where there are fewer."""
    pixels = int(np.prod(shape))
    chosen = np.arange(pixels) if pixels <= _POSITIONS else rng.choice(pixels, _POSITIONS, replace=False)
    return np.unravel_index(chosen, shape)


def _solve(equations: NormalEquations, layer: LinearLayer, variables: dict[str, tf.Variable], ridge: float) -> Solution:
    """For the kernel as it acts behind batch norm."""
    kernel = variables[layer.kernel].numpy()
    prior = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
    norm = layer.norm
    if norm:
        prior = prior / np.sqrt(variables[norm.variance].numpy() + norm.epsilon)
        if norm.gamma:
            prior = prior * variables[norm.gamma].numpy()
    return equations.solve(prior, ridge=ridge, intercept=bool(layer.bias or (norm and norm.beta)))


def _assign(layer: LinearLayer, variables: dict[str, tf.Variable], solution: Solution) -> None:
    """The solution as kernel, bias and batch norm; filters keep their length, so that training goes on at its pace."""
    kernel, norm = variables[layer.kernel], layer.norm
    if norm is None:
        kernel.assign(solution.weights.reshape(kernel.shape))
        if layer.bias:
            variables[layer.bias].assign(solution.intercept)
        return
    gamma = variables[norm.gamma].numpy() if norm.gamma else np.ones(kernel.shape[-1])
    lengths = np.linalg.norm(kernel.numpy().reshape(-1, kernel.shape[-1]), axis=0)
    solved = np.linalg.norm(solution.weights, axis=0)
    factor = np.where(gamma < 0, -1.0, 1.0) * np.where(lengths > 0, lengths, 1.0) / np.where(solved > 0, solved, 1.0)
    kernel.assign((solution.weights * factor).reshape(kernel.shape))
    bias = variables[layer.bias].numpy() if layer.bias else 0.0
    variables[norm.mean].assign(solution.mean * factor + bias)
    variables[norm.variance].assign(solution.variance * factor**2)
    if norm.gamma:
        variables[norm.gamma].assign(np.sqrt(solution.variance * factor**2 + norm.epsilon) / factor)
    if norm.beta:
        variables[norm.beta].assign(solution.intercept + solution.mean)
