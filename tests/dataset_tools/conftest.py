"""Tiny data sets on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def save(path: Path, array: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


@pytest.fixture
def folders(tmp_path) -> Path:
    """images/NN.png and labels/NN.png, 7 pairs of 5x6 pixels, ids 0..2 and 255."""
    rng = np.random.default_rng(1)
    for i in range(7):
        save(tmp_path / 'images' / f'{i:02d}.png', rng.integers(0, 256, (5, 6, 3), np.uint8))
        save(tmp_path / 'labels' / f'{i:02d}.png', rng.choice(np.array([0, 1, 2, 255], np.uint8), (5, 6)))
    return tmp_path
