"""The picture of ranked filters: nothing of its title is cut off."""

from __future__ import annotations

import numpy as np
from PIL import Image

from reports import filter_scores


def test_the_title_of_a_deep_layer_fits(tmp_path):
    title = (
        'SharedFeatureExtractor/resnet_v1_50/block2/unit_1/bottleneck_v1/shortcut, and 4 more with the same channels'
    )
    path = tmp_path / 'a.png'
    filter_scores.draw(str(path), scores=np.arange(8.0), num_removed=4, title=title, ylabel='l1')
    pixels = np.asarray(Image.open(path).convert('L'))
    assert pixels.shape == (400, 900)
    top = pixels[:15]
    assert (top < 128).any() and (top[:, :8] == 255).all() and (top[:, -8:] == 255).all()
