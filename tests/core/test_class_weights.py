"""Weights of classes against the papers' formulas, by hand."""

from __future__ import annotations

import numpy as np

from core import class_weights

PIXELS = np.array([600, 300, 100, 0])
# Class 0 in both images of 500 pixels, class 1 in both, class 2 in one.
PIXELS_OF_IMAGES = np.array([1000, 1000, 500, 0])


def test_inverse_frequency():
    weights = class_weights.inverse_frequency(PIXELS)
    np.testing.assert_allclose(weights, [1000 / 1800, 1000 / 900, 1000 / 300, 0])
    np.testing.assert_allclose((weights * PIXELS).sum() / PIXELS.sum(), 1)


def test_median_frequency():
    """Frequencies 0.6, 0.3 and 0.2: the median is 0.3."""
    weights = class_weights.median_frequency(PIXELS, PIXELS_OF_IMAGES)
    np.testing.assert_allclose(weights, [0.5, 1.0, 1.5, 0])


def test_enet():
    weights = class_weights.enet(PIXELS)
    np.testing.assert_allclose(weights, 1 / np.log([1.62, 1.32, 1.12, 1.02]))
    assert weights.min() > 1.4 and weights.max() < 50.6


def test_a_data_set_without_labels_has_finite_weights():
    nothing = np.zeros(3, int)
    assert not class_weights.inverse_frequency(nothing).any()
    assert not class_weights.median_frequency(nothing, nothing).any()
    assert np.isfinite(class_weights.enet(nothing)).all()
