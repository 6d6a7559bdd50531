"""The heat map of layers: names are large enough to read, and whole."""

from __future__ import annotations

import numpy as np
from PIL import Image

from reports import sensitivity_map


def test_rows_are_high_enough_for_letters_and_long_names_fit(tmp_path):
    names = [f'SharedFeatureExtractor/resnet_v1_50/block{n}/unit_1/bottleneck_v1/shortcut' for n in range(1, 41)]
    path = tmp_path / 'map.png'
    values = np.full([len(names), 2], 0.25)
    sensitivity_map.draw(str(path), names=names, shares=[0.25, 0.5], values=values, whole=0.5)
    pixels = np.asarray(Image.open(path).convert('L'))
    assert pixels.shape[0] / len(names) > 28
    dark = pixels < 128
    letters = dark[:, : pixels.shape[1] // 3]  # of the names, left of the map
    rows = np.flatnonzero(np.diff(letters.any(axis=1).astype(int)))
    assert np.median(np.diff(rows)[::2]) >= 9  # pixels from the top to the bottom of a line of letters
    assert not dark[:, :3].any()
