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
from core.servable import PREDICTIONS, PROBABILITIES, InputShape, Servable
from engine import checkpoints, class_scores, exported_graph, image_files, inference, painting
from engine.image_files import InputImage
from engine.views import WHOLE_IMAGE, Views
from inputs.label_map import LabelMap

LABEL_MAP = 'label_map.json'
OUTPUTS = tuple(image_files.SUFFIXES)
_MAX_CLASSES = 255


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictor:
    """A function from an image uint8 [H, W, input_channels] to class ids [H, W], and how the classes look.

    An image has at most `max_pixels`.
    """

    predict: Callable[[np.ndarray], np.ndarray]
    label_map: LabelMap
    input_channels: int = 3
    max_pixels: int = image_files.MAX_PIXELS


def from_checkpoint(
    config: Any,
    checkpoint: str,
    *,
    input_shape: InputShape = (None, None, None),
    pad_to_shape: tuple[int, int] | None = None,
    views: Views = WHOLE_IMAGE,
) -> Predictor:
    """The model of a config with a checkpoint's weights.

    Args:
      config: `PipelineConfig`, validated for prediction.
      checkpoint: prefix, one of its files, or a directory, whose newest is taken.
      input_shape: (batch, height, width); images of another size are refused. None where free; the batch is not used.
      pad_to_shape: see `core.servable.Servable`.
      views: how the network looks at an image.
    """
    views.check_padding(pad_to_shape)
    checkpoint = checkpoints.read(checkpoint).path  # a wrong path is told before the model is built
    model = inference.build_model(config)
    inference.check_input_shape(model, input_shape, pad_to_shape)
    label_map = inference.build_label_map(config, model.num_classes)
    servable = Servable(model=model, num_classes=model.num_classes, pad_to_shape=pad_to_shape)
    concrete = servable.trace((1, *input_shape[1:]))
    inference.check_fit(model, concrete, checkpoint)
    inference.restore(model, concrete, checkpoint, moving_averages=config.eval_config.use_moving_averages)
    scores = None if views == WHOLE_IMAGE else inference.trace_scores(servable)[1]

    def predict(image: np.ndarray) -> np.ndarray:
        _check_size(image, input_shape)
        if scores is not None and not views.shows_whole(*image.shape[:2]):
            return class_scores.class_ids(image, views, scores, num_classes=model.num_classes)
        return concrete(tf.constant(image[np.newaxis]))[PREDICTIONS].numpy()[0, ..., 0]

    return Predictor(
        predict=predict, label_map=label_map, input_channels=model.input_channels, max_pixels=_max_pixels(views)
    )


def from_export(path: str, config: Any = None, *, views: Views = WHOLE_IMAGE) -> Predictor:
    """What export.py wrote, whatever its form; also a frozen graph of the reference.

    Args:
      path: a folder, or the file or folder of one form.
      config: `PipelineConfig` that names the classes of a graph that does not; without either, they are numbered.
      views: how the network looks at an image. Their mean needs the output `probabilities`. Without it windows are
        stitched: each pixel's class is that of the window whose middle is nearest; scales and flips are a UsageError.
    """
    graph = exported_graph.find(path)
    label_map = _label_map(graph, config)
    answers_probabilities = views != WHOLE_IMAGE and graph.has_output(PROBABILITIES)
    if not answers_probabilities and (views.flip or views.scales != (1.0,)):
        raise UsageError(
            f'--exported: {path} answers class ids alone, of which --scales and --flip have no mean; export it with '
            '--output_probabilities, or give --trained_checkpoint'
        )
    whole = graph.load(PREDICTIONS)
    scores = graph.load(PROBABILITIES) if answers_probabilities else None

    def predict(image: np.ndarray) -> np.ndarray:
        if views.shows_whole(*image.shape[:2]):
            return whole(image)[..., 0]
        if scores is None:
            return class_scores.stitched(image, views, lambda pixels: whole(pixels)[..., 0])
        return class_scores.class_ids(image, views, scores, num_classes=label_map.num_classes)

    return Predictor(
        predict=predict, label_map=label_map, input_channels=whole.input_channels, max_pixels=_max_pixels(views)
    )


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
    pixels = image_files.read(image.path, predictor.input_channels, max_pixels=predictor.max_pixels)
    class_ids = predictor.predict(pixels)
    for output in outputs:
        painted = painting.paint(
            output, pixels, class_ids, predictor.label_map, id_table=id_table if output == 'ids' else None, alpha=alpha
        )
        image_files.write_png(painted, os.path.join(output_dir, image.name + image_files.SUFFIXES[output]))


def _label_map(graph: exported_graph.ExportedGraph, config: Any) -> LabelMap:
    beside = os.path.join(graph.folder, LABEL_MAP)
    if tf.io.gfile.exists(beside):
        return LabelMap.load(beside)
    about = graph.manifest()
    if about is not None:
        return LabelMap.parse(about['label_map'], graph.path)
    if config is None:
        return LabelMap.default(_MAX_CLASSES)
    return inference.build_label_map(config, getattr(config.model, config.model.WhichOneof('model')).num_classes)


def _max_pixels(views: Views) -> int:
    """Windows bound what the network needs; the picture alone is then what has to fit into memory."""
    return image_files.MAX_PIXELS_IN_WINDOWS if views.window else image_files.MAX_PIXELS


def _check_size(image: np.ndarray, input_shape: InputShape) -> None:
    wanted = input_shape[1:]
    if any(side is not None and side != own for side, own in zip(wanted, image.shape[:2], strict=True)):
        shape = ' x '.join('any' if side is None else str(side) for side in wanted)
        raise DataError(f'{_size(image)} (height x width), but --input_shape is {shape}; leave it out for any size')


def _size(image: np.ndarray) -> str:
    return f'{image.shape[0]} x {image.shape[1]}'
