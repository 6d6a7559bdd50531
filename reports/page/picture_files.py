"""Pictures of the page on disk: image, label, prediction and errors of one example, small enough to look at."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from reports.pictures import Color, Picture

MAX_SIDE = 960
JPEG_QUALITY = 88
ERROR_COLOR = (230, 60, 0)
IGNORED_COLOR = (120, 120, 120)

_WRONG, _IGNORED, _RIGHT = range(3)  # the first two have a colour


def report_dir(eval_dir: str) -> str:
    """Where the page and its pictures lie."""
    return os.path.join(eval_dir, 'report')


class PictureFiles:
    """Writes and removes the four files of an example.

    They are collected in a folder of their own and become `<folder>/images/<step>` by `publish`, so that the page
    of an earlier evaluation keeps its pictures until there is a new one.

    Args:
      folder: `<eval_dir>/report`.
      step: of the checkpoint.
      colors: one RGB triple per class.
      ignore_label: drawn transparent in the label and gray among the errors.
    """

    def __init__(self, folder: str, *, step: int, colors: Sequence[Color], ignore_label: int):
        self._images = os.path.join(folder, 'images')
        self._step = str(step)
        self._unfinished = os.path.join(self._images, f'{step}.unfinished')
        self._colors = list(colors)
        self._ignore_label = ignore_label
        if tf.io.gfile.exists(self._unfinished):
            tf.io.gfile.rmtree(self._unfinished)
        tf.io.gfile.makedirs(self._unfinished)

    def write(self, number: int, picture: Picture) -> dict[str, str]:
        """Writes the views of example `number`; returns their paths relative to the page, by view.

        A side beyond `MAX_SIDE` is reduced to it, class ids without blending.
        """
        size = _reduced_size(*picture.label.shape)
        label, prediction = (_nearest(class_ids, size) for class_ids in (picture.label, picture.prediction))
        ignored = (label == self._ignore_label) | (label < 0) | (label >= len(self._colors))
        errors = np.where(ignored, _IGNORED, np.where(label == prediction, _RIGHT, _WRONG))
        views = {
            'image': ('jpg', _jpeg(picture.image, size)),
            'label': ('png', _flat_png(np.where(ignored, len(self._colors), label), self._colors)),
            'prediction': ('png', _flat_png(prediction, self._colors)),
            'error': ('png', _flat_png(errors, (ERROR_COLOR, IGNORED_COLOR))),
        }
        paths = {}
        for view, (extension, content) in views.items():
            name = f'{number:07d}-{view}.{extension}'
            with tf.io.gfile.GFile(os.path.join(self._unfinished, name), 'wb') as f:
                f.write(content)
            paths[view] = f'images/{self._step}/{name}'
        return paths

    def remove(self, paths: dict[str, str]) -> None:
        """Removes the files that `write` returned, before they are published."""
        for path in paths.values():
            tf.io.gfile.remove(os.path.join(self._unfinished, os.path.basename(path)))

    def publish(self) -> None:
        """Puts the pictures where `write` said; an earlier evaluation of the same step is replaced."""
        place = os.path.join(self._images, self._step)
        if tf.io.gfile.exists(place):
            tf.io.gfile.rmtree(place)
        tf.io.gfile.rename(self._unfinished, place)

    def remove_other_steps(self) -> None:
        """Removes pictures of evaluations that no page shows any more."""
        for name in tf.io.gfile.listdir(self._images):
            if name.rstrip('/') != self._step:
                tf.io.gfile.rmtree(os.path.join(self._images, name))


def _reduced_size(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, MAX_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _nearest(class_ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Class ids [H, W] at [*size], each the one at the pixel's centre."""
    rows, columns = (
        ((np.arange(n) + 0.5) * of / n).astype(np.int64) for n, of in zip(size, class_ids.shape, strict=True)
    )
    return class_ids[rows[:, np.newaxis], columns]


def _jpeg(image: np.ndarray, size: tuple[int, int]) -> bytes:
    picture = Image.fromarray(image)
    if image.shape[:2] != size:
        picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return _encoded(picture, format='JPEG', quality=JPEG_QUALITY)


def _flat_png(ids: np.ndarray, colors: Sequence[Color]) -> bytes:
    """Ids [H, W] in their colours; an id beyond them is transparent."""
    if len(colors) < 256:
        picture = Image.fromarray(ids.astype(np.uint8))
        picture.putpalette([channel for color in (*colors, (0, 0, 0)) for channel in color])
        return _encoded(picture, format='PNG', compress_level=3, transparency=len(colors))
    table = np.array([(*color, 255) for color in colors] + [(0, 0, 0, 0)], np.uint8)
    return _encoded(Image.fromarray(table[np.minimum(ids, len(colors))]), format='PNG', compress_level=3)


def _encoded(picture: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()
