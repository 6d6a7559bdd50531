"""What export.py wrote, found and loaded as a function of one picture, whatever runs it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from core import export_forms
from core.errors import DataError, UsageError
from core.export_forms import FORMS
from core.servable import PREDICTIONS
from exporters import formats, manifest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """Call it with a picture [H, W, input_channels] in 0..255; it answers [H, W, K]."""

    run: Callable[[np.ndarray], np.ndarray]
    input_channels: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self.run(image)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportedGraph:
    """An export in one form.

    Attributes:
      path: of its file or folder.
      folder: where its label map and manifest lie, if there are any.
      form: a key of `core.export_forms.FORMS`.
    """

    path: str
    folder: str
    form: str

    def has_output(self, name: str) -> bool:
        """Whether it can answer `name`."""
        return formats.of(self.form).has_output(self.path, name)

    def manifest(self) -> dict[str, Any] | None:
        """What it says of itself: from within, else from the file beside it; None where neither is."""
        text = formats.of(self.form).manifest(self.path)
        beside = os.path.join(self.folder, manifest.FILENAME)
        if text is None and tf.io.gfile.exists(beside):
            with tf.io.gfile.GFile(beside, 'r') as f:
                text = f.read()
        return None if text is None else manifest.parse(text, self.path)

    def load(self, output: str) -> Answer:
        """The function from a picture in 0..255 to its `output` [H, W, K].

        Pixels that are not whole numbers are rounded: the graph takes uint8. The function raises DataError for a size
        that the graph does not take, and for an answer that has not one value, or row of values, for each pixel.
        """
        run = formats.of(self.form).load(self.path, [output])

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
    """The graph that `path` means: a form's file or folder, or a folder of export.py, of which the first form is taken.

    Raises UsageError if there is none, or what runs it is not installed.
    """
    graph = _find(path)
    export_forms.check_runtime(graph.form)
    return graph


def _find(path: str) -> ExportedGraph:
    if not tf.io.gfile.exists(path):
        raise UsageError(f'--exported: no such file or folder: {path}')
    if not tf.io.gfile.isdir(path):
        folder = os.path.dirname(path)
        form = formats.of_file(path)
        beside = os.path.dirname(folder) if form == 'openvino' else folder
        return ExportedGraph(path=path, folder=beside, form=form)
    for mark, form in (('saved_model.pb', 'saved_model'), ('model.xml', 'openvino')):
        if tf.io.gfile.exists(os.path.join(path, mark)):
            return ExportedGraph(path=path, folder=os.path.dirname(os.path.normpath(path)), form=form)
    for name, form in FORMS.items():
        inside = os.path.join(path, form.entry)
        if tf.io.gfile.exists(inside):
            return ExportedGraph(path=inside, folder=path, form=name)
    entries = ', '.join(form.entry for form in FORMS.values())
    raise UsageError(f'--exported: {path} holds none of saved_model.pb, model.xml, {entries}')
