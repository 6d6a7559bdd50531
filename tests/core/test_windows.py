"""Windows along an axis: they cover it, overlap as asked, and their weights sum to 1 everywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import windows

AXES = st.tuples(st.integers(1, 300), st.integers(1, 120), st.floats(0, 0.95))


@given(AXES)
def test_windows_cover_the_axis_and_overlap_as_asked(axis):
    length, window, overlap = axis
    begins = windows.starts(length, window, overlap)
    window = min(window, length)
    assert begins[0] == 0 and begins[-1] == length - window
    gaps = np.diff(begins)
    assert (gaps >= 1).all()
    assert (gaps <= max(1, math.floor(window * (1 - overlap) + 1e-6))).all()


@given(AXES)
def test_there_is_no_window_too_many(axis):
    length, window, overlap = axis
    count = len(windows.starts(length, window, overlap))
    window = min(window, length)
    step = max(1, math.floor(window * (1 - overlap) + 1e-6))
    assert count == 1 or (count - 2) * step < length - window


def test_the_overlap_of_pspnet():
    assert windows.starts(19, 9, 1 / 3) == [0, 5, 10]
    assert windows.starts(18, 6, 0.0) == [0, 6, 12]
    assert windows.starts(5, 9, 0.5) == [0]


@given(AXES, st.sampled_from(sorted(windows.BLENDS)))
def test_weights_sum_to_one_at_every_pixel(axis, blend):
    length, window, overlap = axis
    begins, window = windows.starts(length, window, overlap), min(window, length)
    weights = windows.weights(begins, window, length, blend)
    assert weights.shape == (len(begins), window) and (weights > 0).all()
    total = np.zeros(length)
    for begin, weight in zip(begins, weights, strict=True):
        total[begin : begin + window] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_a_single_window_counts_exactly_one():
    for blend in windows.BLENDS:
        assert (windows.weights([0], 7, 7, blend) == 1).all()


def test_profiles_by_hand():
    """Two windows of 4 over 6 pixels: at the shared pixels 2 and 3 the profiles meet."""
    linear = windows.weights([0, 2], 4, 6, 'linear')  # 1 2 2 1, a quarter each
    np.testing.assert_allclose(linear, [[1, 1, 2 / 3, 1 / 3], [1 / 3, 2 / 3, 1, 1]], rtol=1e-6)
    uniform = windows.weights([0, 2], 4, 6, 'uniform')
    np.testing.assert_allclose(uniform, [[1, 1, 0.5, 0.5], [0.5, 0.5, 1, 1]])
    inner, outer = math.exp(-0.5 * 1.0**2), math.exp(-0.5 * 3.0**2)  # sigma is half a pixel: 1 and 3 of them away
    share = inner / (inner + outer)
    gaussian = windows.weights([0, 2], 4, 6, 'gaussian')
    np.testing.assert_allclose(gaussian, [[1, 1, share, 1 - share], [1 - share, share, 1, 1]], rtol=1e-5)


@given(AXES)
def test_cells_part_the_axis_by_the_nearest_middle(axis):
    length, window, overlap = axis
    begins, window = windows.starts(length, window, overlap), min(window, length)
    owner = np.full(length, -1)
    for number, cell in enumerate(windows.cells(begins, window, length)):
        assert (owner[cell] == -1).all()
        owner[cell] = number
    middles = np.array(begins) + (window - 1) / 2
    distances = np.abs(np.arange(length)[:, np.newaxis] - middles)
    assert (owner >= 0).all()
    np.testing.assert_array_less(distances[np.arange(length), owner], distances.min(1) + 1e-9)


@pytest.mark.parametrize('arguments', [(0, 4, 0.5), (4, 0, 0.5), (4, 4, 1.0), (4, 4, -0.1)])
def test_nonsense_is_refused(arguments):
    with pytest.raises(ValueError, match='no windows of'):
        windows.starts(*arguments)
