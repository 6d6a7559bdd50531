"""The predictions of an evaluation as pictures: `<eval_dir>/predictions-<step>/`, each file whole or not there."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from core.errors import DataError, UsageError, UserError
from engine import image_files, painting
from inputs.label_map import LabelMap

KINDS = {
    'ids': '_ids.png',
    'label_ids': '_labelIds.png',
    'color': '_color.png',
    'overlay': '_overlay.png',
    'cityscapes': '_pred_labelIds.png',
}
SIZES = ('original', 'network')
# What the benchmark's server wants: one file for each frame, and none beside it that could be taken for another.
_SERVER_FOLDER = 'cityscapes'
_FRAME = re.compile(r'(?P<frame>[A-Za-z-]+_\d+_\d+)([_.]|$)')
_TRANSLATED = ('label_ids', 'cityscapes')


class SavedPredictions:
    """Paints what an evaluation predicts, with predict.py's painter.

    A file that cannot be written (a full disk) ends the saving, not the evaluation: `problem` says so in one line.

    Args:
      eval_dir: of the evaluation.
      label_map: ids and colours.
      kinds: of `KINDS`.
      size: `original`, that of the image in the records, what a central crop leaves out having the ignore label; or
        `network`, that of what the network sees: the crop, or the image with its padding.
      padded_size: (height, width) that the network's input is padded to; None if it is not.

    Attributes:
      folder: of the current checkpoint.
      num_images: saved of it.
      num_renamed: of those, whose records have a name that an earlier one has; they end in -2, -3, ...
      problem: None, or why no more are saved.
    """

    def __init__(
        self,
        eval_dir: str,
        *,
        label_map: LabelMap,
        kinds: Sequence[str],
        size: str = 'original',
        padded_size: tuple[int, int] | None = None,
    ):
        if 'cityscapes' in kinds and size != 'original':
            raise UsageError('--prediction_size: the Cityscapes server takes the original size; leave it out')
        self._eval_dir, self._label_map, self._kinds = eval_dir, label_map, tuple(kinds)
        self._size, self._padded_size = size, padded_size
        translated = [kind for kind in kinds if kind in _TRANSLATED]
        flag = f'--save_predictions {translated[0]}' if translated else ''
        self._id_table = painting.label_id_table(label_map, flag) if translated else None
        self.problem: str | None = None
        self.begin(0)

    def begin(self, step: int) -> None:
        """From now on predictions are of the checkpoint of this step."""
        self.folder, self.num_images = os.path.join(self._eval_dir, f'predictions-{step}'), 0
        self.num_renamed = 0
        self._names: set[str] = set()

    def add(self, name: str, image: np.ndarray, class_ids: np.ndarray, corner: tuple[int, int]) -> None:
        """Writes the pictures of one example, unless an earlier one could not be written.

        Args:
          name: of the example in its record; folders in it become folders.
          image: in the records, [H, W, 3] in 0..255.
          class_ids: predicted, of the part [h, w] of it that was evaluated.
          corner: (top, left) of that part.

        Raises DataError for a name that the Cityscapes server would not understand, or twice.
        """
        if self.problem:
            return
        paths = {kind: self._path(name, kind) for kind in self._kinds}
        image, class_ids = self._placed(image, class_ids, corner)
        try:
            for kind, path in paths.items():
                image_files.write_png(self._painted(kind, image, class_ids), path)
        except (UserError, tf.errors.OpError) as error:
            self.problem = (
                f'--save_predictions: {error}; no more are saved, {self.num_images} images in {self.folder} are whole'
            )
            return
        self.num_images += 1

    def _painted(self, kind: str, image: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        table = self._id_table if kind in _TRANSLATED else None
        return painting.paint('ids' if table else kind, image, class_ids, self._label_map, id_table=table)

    def _path(self, name: str, kind: str) -> str:
        if kind == 'cityscapes':
            frame = _FRAME.match(os.path.basename(name))
            if frame is None:
                raise DataError(
                    f'--save_predictions cityscapes: {name}: the server wants names <city>_<sequence>_<frame>...'
                )
            path = os.path.join(self.folder, _SERVER_FOLDER, frame['frame'] + KINDS[kind])
            if path in self._names:
                raise DataError(f'--save_predictions cityscapes: {name}: a second record of the frame {frame["frame"]}')
            self._names.add(path)
            return path
        stem = safe_stem(name) or 'image'
        path, number = os.path.join(self.folder, stem + KINDS[kind]), 1
        while path in self._names:
            number += 1
            path = os.path.join(self.folder, f'{stem}-{number}{KINDS[kind]}')
        self._names.add(path)
        self.num_renamed += number > 1 and kind == self._kinds[0]
        return path

    def _placed(
        self, image: np.ndarray, class_ids: np.ndarray, corner: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 and class ids on the canvas of the wanted size."""
        pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        height, width = class_ids.shape
        if self._size == 'network':
            pixels = pixels[corner[0] : corner[0] + height, corner[1] : corner[1] + width]
            canvas, corner = self._padded_size or (height, width), (0, 0)
        else:
            canvas = pixels.shape[:2]
        if canvas == class_ids.shape:
            return pixels, class_ids
        picture = np.zeros((*canvas, 3), np.uint8)
        picture[: pixels.shape[0], : pixels.shape[1]] = pixels
        ids = np.full(canvas, self._label_map.ignore_label, class_ids.dtype)
        ids[corner[0] : corner[0] + height, corner[1] : corner[1] + width] = class_ids
        return picture, ids

    def describe(self) -> str:
        """One line for the terminal."""
        renamed = f'; {self.num_renamed} of them share a name and are numbered' if self.num_renamed else ''
        return f'predictions of {self.num_images} images in {self.folder}{renamed}'


def safe_stem(name: str) -> str:
    """The name without its extension, as a path that stays inside a folder: no root, no `..`, no empty part."""
    parts = [part for part in re.split(r'[/\\]', name) if part not in ('', '.', '..') and not part.endswith(':')]
    with contextlib.suppress(IndexError):
        parts[-1] = os.path.splitext(parts[-1])[0]
    return '/'.join(part.replace('\0', '') for part in parts)
