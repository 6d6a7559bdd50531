"""What is painted of one prediction: ids, colours, an overlay; the same for predict.py and eval.py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.errors import DataError, UsageError
from inputs.label_map import LabelMap
from reports import pictures


def label_id_table(label_map: LabelMap, flag: str = '--label_ids') -> tuple[int, ...]:
    """The data set's own id of each class; UsageError if the label map does not tell them."""
    if label_map.label_ids is None:
        raise UsageError(f'{flag}: the label map has no label_id in its classes; leave it out for class ids')
    return label_map.label_ids


def paint(
    kind: str,
    image: np.ndarray,
    class_ids: np.ndarray,
    label_map: LabelMap,
    *,
    id_table: Sequence[int] | None = None,
    alpha: float = 0.5,
) -> np.ndarray:
    """A picture of class ids [H, W] that were predicted for an image uint8 [H, W, 3].

    Args:
      kind: `ids` -> uint8 [H, W] (uint16 above 255); `color` and `overlay` -> uint8 [H, W, 3].
      label_map: its colours; pixels of its ignore label are black, or show the image.
      id_table: for `ids`, what is written in place of each class id. The ignore label becomes 0 (Cityscapes'
        `unlabeled`) where no class has that id, else it stays.
      alpha: opacity of the overlay's colours, 0..1.

    Raises DataError for a class that the label map does not have.
    """
    known = class_ids[class_ids != label_map.ignore_label]
    if known.size and known.max() >= label_map.num_classes:
        raise DataError(f'class {known.max()} is predicted, but the label map has {label_map.num_classes} classes')
    if kind == 'color':
        return pictures.colorize(class_ids, label_map.colors)
    if kind == 'overlay':
        return pictures.overlay(pictures.as_rgb(image), class_ids, label_map.colors, alpha=alpha)
    ids = class_ids if id_table is None else _translated(class_ids, id_table, label_map)
    return ids.astype(np.uint8 if not ids.size or ids.max() <= np.iinfo(np.uint8).max else np.uint16)


def _translated(class_ids: np.ndarray, id_table: Sequence[int], label_map: LabelMap) -> np.ndarray:
    table = np.arange(max(label_map.ignore_label, len(id_table)) + 1)
    table[: len(id_table)] = id_table
    if 0 not in id_table:
        table[label_map.ignore_label] = 0
    return table[class_ids]
