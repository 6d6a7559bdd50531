"""Label maps and predictions to measure by place: blobs, lines, noise, odd sizes, ignored pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage

# Its functions have no types of their own.
ndimage: Any = scipy.ndimage

IGNORE_LABEL = 255


def case(seed: int, num_classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """(label, prediction), uint8 [H, W] of 1 .. 40 pixels a side."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2)
    cell = int(rng.integers(1, 9))
    rows, columns = height // cell + 1, width // cell + 1
    label = rng.integers(0, num_classes, (rows, columns)).repeat(cell, 0).repeat(cell, 1)[:height, :width]
    label[rng.random(label.shape) < 0.05 * (seed % 3)] = IGNORE_LABEL
    if seed % 4 == 1 and height > 5:
        label[height // 2] = IGNORE_LABEL
    shift = int(rng.integers(0, 4))
    prediction = np.roll(np.where(label == IGNORE_LABEL, 0, label), shift, axis=1)
    noise = rng.random(label.shape) < 0.1
    prediction[noise] = rng.integers(0, num_classes, noise.sum())
    return label.astype(np.uint8), prediction.astype(np.uint8)
