"""TensorBoard event files of a training, written into its log directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from core import fields
from core.model import SegmentationModel
from reports import pictures

_MAX_PICTURES = 3


class Summaries:
    """Scalars under `losses/`, the rest under `train/`, pictures under `training_examples`.

    Args:
      directory: the log directory.
    """

    def __init__(self, directory: str):
        self._writer = tf.summary.create_file_writer(directory)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point of each curve; names that end in `loss` go under `losses/`."""
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(f'{"losses" if name.endswith("loss") else "train"}/{name}', value, step=step)
        self._writer.flush()

    def pictures(self, step: int, panels: np.ndarray) -> None:
        """Pictures uint8 [N, H, W, 3]."""
        with self._writer.as_default():
            tf.summary.image('training_examples', panels, step=step, max_outputs=_MAX_PICTURES)
        self._writer.flush()

    def close(self) -> None:
        """Writes what is buffered."""
        self._writer.close()


class PicturePanels:
    """Draws image | label | prediction of training examples, the prediction made in inference mode.

    Args:
      model: a built model.
      colors: one RGB triple 0..255 per class.
      ignore_label: the id of pixels without a class.
    """

    def __init__(self, *, model: SegmentationModel, colors: Sequence[pictures.Color], ignore_label: int):
        self._colors, self._ignore_label = colors, ignore_label

        @tf.function(autograph=False, reduce_retracing=True)
        def class_ids(images: tf.Tensor) -> tf.Tensor:
            predictions = model.predict(model.preprocess(images), is_training=False)
            return model.postprocess(predictions)[fields.CLASS_IDS]

        self._class_ids = class_ids

    def draw(self, images: tf.Tensor, labels: tf.Tensor) -> np.ndarray:
        """Images [B, H, W, channels] in 0..255 and labels [B, H, W] -> uint8 [min(B, 3), H, 3 * W, 3]."""
        images, labels = images[:_MAX_PICTURES], labels[:_MAX_PICTURES]
        predicted = self._class_ids(images).numpy()
        photographs = [pictures.as_rgb(p) for p in np.clip(images.numpy(), 0, 255).astype(np.uint8)]
        rows = zip(photographs, labels.numpy(), predicted, strict=True)
        return np.stack([np.concatenate([p, self._paint(a), self._paint(b)], axis=1) for p, a, b in rows])

    def _paint(self, class_ids: np.ndarray) -> np.ndarray:
        return pictures.colorize(class_ids, self._colors)
