"""What export.py wrote, found and loaded as a function of one picture."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from core.errors import DataError, UsageError
from core.servable import INPUTS, PREDICTIONS
from exporters import frozen_graph, saved_model


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """Call it with a picture [H, W, input_channels] in 0..255; it answers [H, W, K]."""

    run: Callable[[np.ndarray], np.ndarray]
    input_channels: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self.run(image)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportedGraph:
    """A frozen graph or SavedModel.

    Attributes:
      path: of the `.pb` file or the SavedModel folder.
      folder: where its label map lies, if there is one.
      is_frozen: a frozen graph, else a SavedModel.
    """

    path: str
    folder: str
    is_frozen: bool

    def has_output(self, name: str) -> bool:
        """Whether it can answer `name`."""
        return (frozen_graph if self.is_frozen else saved_model).has_output(self.path, name)

    def load(self, output: str) -> Answer:
        """The function from a picture in 0..255 to its `output` [H, W, K].

        Pixels that are not whole numbers are rounded: the graph takes uint8. The function raises DataError for a size
        that the graph does not take, and for an answer that has not one value, or row of values, for each pixel.
        """
        run = (
            frozen_graph.load(self.path, inputs=INPUTS, outputs=[output])
            if self.is_frozen
            else saved_model.load(self.path)
        )

        def answer(image: np.ndarray) -> np.ndarray:
            pixels = image if image.dtype == np.uint8 else np.rint(image).astype(np.uint8)
            try:
                values = run(pixels[np.newaxis])[output]
            except (tf.errors.InvalidArgumentError, ValueError) as error:
                size, message = f'{image.shape[0]} x {image.shape[1]}', str(error).splitlines()[0]
                raise DataError(f'the exported graph does not take an image of {size} ({message})') from None
            depth = (1,) if output == PREDICTIONS else values.shape[3:]
            if values.shape != (1, *image.shape[:2], *depth):
                raise DataError(f'the exported graph answers {list(values.shape)}, not one class id for each pixel')
            return values[0]

        return Answer(run=answer, input_channels=run.input_channels)


def find(path: str) -> ExportedGraph:
    """The graph that `path` means: a folder of export.py, a `.pb` file or a SavedModel folder; else UsageError."""
    if not tf.io.gfile.exists(path):
        raise UsageError(f'--exported: no such file or folder: {path}')
    if not tf.io.gfile.isdir(path):
        return ExportedGraph(path=path, folder=os.path.dirname(path), is_frozen=True)
    inside = os.path.join(path, frozen_graph.FILENAME)
    if tf.io.gfile.exists(inside):
        return ExportedGraph(path=inside, folder=path, is_frozen=True)
    if tf.io.gfile.exists(os.path.join(path, 'saved_model.pb')):
        return ExportedGraph(path=path, folder=os.path.dirname(os.path.normpath(path)), is_frozen=False)
    raise UsageError(f'--exported: {path} holds neither {frozen_graph.FILENAME} nor saved_model.pb')
