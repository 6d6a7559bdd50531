"""Prediction: pictures on disk -> class ids, colours and overlays on disk."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from core.errors import DataError, UsageError, UserError
from core.servable import INPUTS, PREDICTIONS, InputShape, Servable
from engine import checkpoints, image_files, inference
from engine.image_files import InputImage
from exporters import frozen_graph, saved_model
from exporters.loaded import LoadedGraph
from inputs.label_map import LabelMap
from reports import pictures

LABEL_MAP = 'label_map.json'
OUTPUTS = tuple(image_files.SUFFIXES)
_MAX_CLASSES = 255


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictor:
    """A function from an image uint8 [H, W, input_channels] to class ids [H, W], and how the classes look."""

    predict: Callable[[np.ndarray], np.ndarray]
    label_map: LabelMap
    input_channels: int = 3


def from_checkpoint(
    config: Any,
    checkpoint: str,
    *,
    input_shape: InputShape = (None, None, None),
    pad_to_shape: tuple[int, int] | None = None,
) -> Predictor:
    """The model of a config with a checkpoint's weights.

    Args:
      config: `PipelineConfig`, validated for prediction.
      checkpoint: prefix, one of its files, or a directory, whose newest is taken.
      input_shape: (batch, height, width); images of another size are refused. None where free; the batch is not used.
      pad_to_shape: see `core.servable.Servable`.
    """
    checkpoints.read(checkpoint)  # a wrong path is told before the model is built
    model = inference.build_model(config)
    label_map = inference.build_label_map(config, model.num_classes)
    concrete = Servable(model=model, num_classes=model.num_classes, pad_to_shape=pad_to_shape).trace(
        (1, *input_shape[1:])
    )
    inference.restore(model, concrete, checkpoint)

    def predict(image: np.ndarray) -> np.ndarray:
        _check_size(image, input_shape)
        return concrete(tf.constant(image[np.newaxis]))[PREDICTIONS].numpy()[0, ..., 0]

    return Predictor(predict=predict, label_map=label_map, input_channels=model.input_channels)


def from_export(path: str, config: Any = None) -> Predictor:
    """What export.py wrote: its folder, a frozen graph (also of the reference), or a SavedModel folder.

    Args:
      path: a folder or a `.pb` file.
      config: `PipelineConfig` that names the classes where no `label_map.json` lies beside the graph; without either,
        they are numbered.
    """
    graph, folder = _load_export(path)

    def predict(image: np.ndarray) -> np.ndarray:
        try:
            class_ids = graph(image[np.newaxis])[PREDICTIONS]
        except (tf.errors.InvalidArgumentError, ValueError) as error:
            message = str(error).splitlines()[0]
            raise DataError(f'the exported graph does not take an image of {_size(image)} ({message})') from None
        if class_ids.shape != (1, *image.shape[:2], 1):
            raise DataError(f'the exported graph answers {list(class_ids.shape)}, not one class id for each pixel')
        return class_ids[0, ..., 0]

    return Predictor(predict=predict, label_map=_label_map(folder, config), input_channels=graph.input_channels)


def label_id_table(label_map: LabelMap) -> tuple[int, ...]:
    """The data set's own id of each class; UsageError if the label map does not tell them."""
    if label_map.label_ids is None:
        raise UsageError('--label_ids: the label map has no label_id in its classes; leave the flag out for class ids')
    return label_map.label_ids


def run(
    predictor: Predictor,
    images: Sequence[InputImage],
    output_dir: str,
    *,
    outputs: Iterable[str] = OUTPUTS,
    id_table: Sequence[int] | None = None,
    alpha: float = 0.5,
) -> list[str]:
    """Writes `<output_dir>/<name>_ids.png`, `_color.png` and `_overlay.png` for each image.

    An image that cannot be used is named on stderr and the rest goes on.

    Args:
      outputs: which of `OUTPUTS`.
      id_table: written in place of class id i: `id_table[i]`.
      alpha: opacity of the overlay's colours, 0..1.

    Returns:
      One line for each image that failed.
    """
    failures = []
    with tqdm(images, unit='image', disable=None) as progress:
        for image in progress:
            try:
                _predict_one(predictor, image, output_dir, outputs=outputs, id_table=id_table, alpha=alpha)
            except UserError as error:
                line = str(error) if str(error).startswith(image.path) else f'{image.path}: {error}'
                failures.append(line)
                tqdm.write(f'error: {line}', file=sys.stderr)
    return failures


def _predict_one(
    predictor: Predictor,
    image: InputImage,
    output_dir: str,
    *,
    outputs: Iterable[str],
    id_table: Sequence[int] | None,
    alpha: float,
) -> None:
    pixels = image_files.read(image.path, predictor.input_channels)
    class_ids = predictor.predict(pixels)
    colors = predictor.label_map.colors
    if class_ids.max() >= len(colors):
        raise DataError(f'class {class_ids.max()} is predicted, but the label map has {len(colors)} classes')
    paint = {
        'ids': lambda: class_ids if id_table is None else np.asarray(id_table)[class_ids],
        'color': lambda: pictures.colorize(class_ids, colors),
        'overlay': lambda: pictures.overlay(pictures.as_rgb(pixels), class_ids, colors, alpha=alpha),
    }
    for output in outputs:
        painted = paint[output]()
        narrow = painted.max() <= np.iinfo(np.uint8).max
        path = os.path.join(output_dir, image.name + image_files.SUFFIXES[output])
        image_files.write_png(painted.astype(np.uint8) if narrow else painted, path)


def _load_export(path: str) -> tuple[LoadedGraph, str]:
    """The graph as a function, and the folder whose label map belongs to it."""
    if not tf.io.gfile.exists(path):
        raise UsageError(f'--exported: no such file or folder: {path}')
    if not tf.io.gfile.isdir(path):
        return frozen_graph.load(path, inputs=INPUTS, outputs=[PREDICTIONS]), os.path.dirname(path)
    inside = os.path.join(path, frozen_graph.FILENAME)
    if tf.io.gfile.exists(inside):
        return frozen_graph.load(inside, inputs=INPUTS, outputs=[PREDICTIONS]), path
    if tf.io.gfile.exists(os.path.join(path, 'saved_model.pb')):
        return saved_model.load(path), os.path.dirname(os.path.normpath(path))
    raise UsageError(f'--exported: {path} holds neither {frozen_graph.FILENAME} nor saved_model.pb')


def _label_map(folder: str, config: Any) -> LabelMap:
    beside = os.path.join(folder, LABEL_MAP)
    if tf.io.gfile.exists(beside):
        return LabelMap.load(beside)
    if config is None:
        return LabelMap.default(_MAX_CLASSES)
    return inference.build_label_map(config, getattr(config.model, config.model.WhichOneof('model')).num_classes)


def _check_size(image: np.ndarray, input_shape: InputShape) -> None:
    wanted = input_shape[1:]
    if any(side is not None and side != own for side, own in zip(wanted, image.shape[:2], strict=True)):
        shape = ' x '.join('any' if side is None else str(side) for side in wanted)
        raise DataError(f'{_size(image)} (height x width), but --input_shape is {shape}; leave it out for any size')


def _size(image: np.ndarray) -> str:
    return f'{image.shape[0]} x {image.shape[1]}'
