"""Curves are a readable PNG of a fixed size, and what was there survives a failure."""

from __future__ import annotations

import pytest
from PIL import Image

from reports.curves import Curve, draw


def test_draws_a_picture_of_fixed_size(tmp_path):
    path = tmp_path / 'curve.png'
    draw(
        str(path),
        losses=[Curve(label='loss', steps=[1, 2, 3], values=[3.0, 2.0, 1.0])],
        scores=[Curve(label='mean_iou', steps=[3], values=[0.4])],
    )
    with Image.open(path) as picture:
        assert picture.size == (1200, 450)
        assert len(picture.convert('RGB').getcolors(1 << 20) or []) > 50
    assert [p.name for p in tmp_path.iterdir()] == ['curve.png']


def test_unequal_lengths_write_nothing(tmp_path):
    with pytest.raises(ValueError, match='same first dimension'):
        draw(str(tmp_path / 'curve.png'), losses=[Curve(label='loss', steps=[1, 2], values=[3.0])], scores=[])
    assert not list(tmp_path.iterdir())
