"""How far off the logits are in forms that do not answer any.

The same conversion is made once more with the logits as one more output, run on the first few images, and thrown away.
Two are not worth it: int8 would be calibrated again, and mixed arithmetic chosen again, which takes minutes; both are
judged by their class ids and mean IoU. With --output_logits every form answers them itself.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from core.export_forms import FORMS
from core.servable import LOGITS, PREDICTIONS, InputShape, Servable
from engine.export_check import Reference
from engine.export_samples import Samples
from exporters import formats
from exporters.source import Source

_FOLDER = 'with_logits'
_BATCHES = 4  # looked at


class TwinsWithLogits:
    """Makes and measures them.

    Args:
      servable: what is exported.
      input_shape: of the graph.
      folder: where there is room for one form.
      make_source: traced servable, folder -> what forms are converted from, as for the export itself.
    """

    def __init__(
        self, servable: Servable, *, input_shape: InputShape, folder: str, make_source: Callable[[Any, str], Source]
    ):
        self._servable, self._input_shape = servable, input_shape
        self._folder, self._make_source = os.path.join(folder, _FOLDER), make_source
        self._source: Source | None = None

    def largest_difference(self, name: str, reference: Reference, samples: Samples) -> float | None:
        """Of the form called `name`; None for those that are not made twice."""
        source = self._made()
        if name == 'tflite_int8' or (name == 'frozen_graph' and source.compute == 'mixed'):
            return None
        form, path = formats.of(name), os.path.join(self._folder, FORMS[name].entry)
        if form.write is not None:
            form.write(source, path)
        few = itertools.islice(samples, _BATCHES)
        return reference.compare(form.load(path, [PREDICTIONS, LOGITS]), few).largest_logit_difference

    def remove(self) -> None:
        """Deletes them."""
        if tf.io.gfile.exists(self._folder):
            tf.io.gfile.rmtree(self._folder)

    def _made(self) -> Source:
        if self._source is None:
            tf.io.gfile.makedirs(self._folder)
            twin = Servable(
                model=self._servable.model,
                num_classes=self._servable.num_classes,
                pad_to_shape=self._servable.pad_to_shape,
                with_logits=True,
            )
            self._source = self._make_source(twin.trace(self._input_shape), self._folder)
        return self._source
