"""A trained model from its config and a checkpoint, for evaluation, prediction and export."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from builders import input_builder, model_builder
from core import processor
from core.errors import CheckpointError, UsageError
from core.model import SegmentationModel
from core.servable import InputShape, Servable, inference_variables
from core.weight_averages import MOVING_AVERAGE
from engine import checkpoints
from engine import restore as restore_report
from inputs.label_map import LabelMap


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restored:
    """Which checkpoint was loaded: its prefix, and its step (0 if it does not tell)."""

    path: str
    step: int


def build_model(config: Any) -> SegmentationModel:
    """The model of a pipeline config with its variables created, not yet restored."""
    processor.avoid_slow_fusions()
    model = model_builder.build(config.model)
    model.build()
    return model


def restore(
    model: SegmentationModel, concrete: Any, checkpoint: str | os.PathLike, *, moving_averages: bool = False
) -> Restored:
    """Assigns every variable that the traced function reads, or raises CheckpointError.

    Training-only parts may be missing: an exported checkpoint has no auxiliary heads.

    Args:
      model: built.
      concrete: the traced function that will run.
      checkpoint: prefix, one of its files, or a directory, whose newest is taken.
      moving_averages: take `<variable>/ExponentialMovingAverage` where it is there; CheckpointError if it nowhere is.
    """
    variables = inference_variables(concrete, model.variables_by_name())
    if moving_averages:
        variables = _by_average(variables, checkpoints.read(checkpoint))
    report = checkpoints.restore_variables(variables, checkpoint, strict=True)
    return Restored(path=report.path, step=_step(report.path))


def check_fit(
    model: SegmentationModel, concrete: Any, checkpoint: str | os.PathLike, *, flag: str = '--trained_checkpoint'
) -> None:
    """CheckpointError of one line if the checkpoint has another shape for what the traced function reads, or lacks it.

    What nothing of fits is left to `restore`, which says so.
    """
    variables = inference_variables(concrete, model.variables_by_name())
    report = restore_report.compare(variables, checkpoints.read(checkpoint))
    if report.matched and (misfit := report.misfit()):
        raise CheckpointError(f'{misfit}; use the config it was trained with, or another {flag}')


def check_input_shape(
    model: SegmentationModel,
    input_shape: InputShape,
    pad_to_shape: tuple[int, int] | None = None,
    *,
    name: str = '--input_shape',
) -> None:
    """UsageError if a fixed side, padded, is below the output stride: not one cell of the features would be filled.

    The network would run; what was written as `name` is more likely no size in pixels.
    """
    stride = model.feature_extractor.output_stride
    how = 'height,width,channels in pixels, for example 1024,2048,3' if name == '--input_shape' else 'pixels'
    for side, own, padded in zip(('height', 'width'), input_shape[1:], pad_to_shape or (0, 0), strict=True):
        if own is not None and max(own, padded) < stride:
            raise UsageError(
                f'{name}: its {side}, {own}, is too small for this network, whose output stride is {stride}; '
                f'write {how}'
            )


def trace_scores(servable: Servable) -> tuple[Any, Callable[[np.ndarray], np.ndarray]]:
    """The traced function of a servable's probabilities, for `restore`, and what `class_scores` calls with each view.

    The second takes pixels uint8 or float32 [h, w, channels] and returns probabilities float32 [h, w, C].
    """
    concrete = tf.function(
        servable.probabilities,
        input_signature=[tf.TensorSpec([1, None, None, servable.model.input_channels])],
        autograph=False,
    ).get_concrete_function()

    def scores(pixels: np.ndarray) -> np.ndarray:
        return concrete(tf.constant(pixels[np.newaxis], tf.float32)).numpy()[0]

    return concrete, scores


def build_label_map(config: Any, num_classes: int) -> LabelMap:
    """Names and colours: of the evaluation data if it has a label map, else of the training data, else numbered."""
    reader = config.eval_input_reader if config.eval_input_reader.label_map_path else config.train_input_reader
    return input_builder.build_label_map(reader, num_classes)


def _by_average(variables: Mapping[str, tf.Variable], reader: checkpoints.Reader) -> dict[str, tf.Variable]:
    """The variables by the names of their averages, and by their own where there is none: batch norm's, frozen ones."""
    averages = {name: f'{name}/{MOVING_AVERAGE}' for name in variables if f'{name}/{MOVING_AVERAGE}' in reader.shapes}
    if not averages:
        raise CheckpointError(
            f'{reader.path}: holds no moving averages of weights: train with train_config.moving_average_decay, or set '
            'eval_config.use_moving_averages: false'
        )
    return {averages.get(name, name): variable for name, variable in variables.items()}


def _step(path: str) -> int:
    try:
        return int(checkpoints.read(path).tensor(checkpoints.GLOBAL_STEP))
    except CheckpointError:
        return checkpoints.step_of(path) or 0
