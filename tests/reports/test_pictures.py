"""Colours, overlays, legends and grids on exact small cases."""

from __future__ import annotations

import numpy as np
import pytest

from reports import pictures

COLORS = ((10, 20, 30), (40, 50, 60))


@pytest.mark.parametrize('kind', [np.uint8, np.int32, np.int64])
def test_colorize_is_a_table(kind):
    ids = np.array([[0, 1, 255], [1, 2, 0]], kind)
    black = (0, 0, 0)
    expected = [[COLORS[0], COLORS[1], black], [COLORS[1], black, COLORS[0]]]
    painted = pictures.colorize(ids, COLORS)
    np.testing.assert_array_equal(painted, expected)
    assert painted.dtype == np.uint8
    np.testing.assert_array_equal(pictures.colorize(ids, COLORS, other=(9, 9, 9))[0, 2], (9, 9, 9))


def test_negative_ids_have_no_color():
    np.testing.assert_array_equal(pictures.colorize(np.array([[-1]]), COLORS), [[[0, 0, 0]]])


def test_overlay_mixes_classes_and_lets_ignored_pixels_through():
    image = np.full((1, 3, 3), 100, np.uint8)
    mixed = pictures.overlay(image, np.array([[0, 1, 255]]), COLORS, alpha=0.25)
    np.testing.assert_array_equal(mixed, [[[78, 80, 82], [85, 88, 90], [100, 100, 100]]])
    np.testing.assert_array_equal(pictures.overlay(image, np.array([[0, 1, 255]]), COLORS, alpha=0), image)


def test_grid_puts_pictures_side_by_side():
    red, blue = (np.full((4, 5, 3), color, np.uint8) for color in ((255, 0, 0), (0, 0, 255)))
    drawn = np.asarray(pictures.grid([[red, blue], [blue]]))
    gap = 4
    assert drawn.shape == (gap + 2 * (4 + gap), gap + 2 * (5 + gap), 3)
    np.testing.assert_array_equal(drawn[gap : gap + 4, gap : gap + 5], red)
    np.testing.assert_array_equal(drawn[gap : gap + 4, 2 * gap + 5 : 2 * gap + 10], blue)
    np.testing.assert_array_equal(drawn[2 * gap + 4 : 2 * gap + 8, gap : gap + 5], blue)
    assert (drawn[2 * gap + 4 :, 2 * gap + 5 :] == 255).all()


def test_titles_are_drawn_above():
    picture = np.zeros((6, 40, 3), np.uint8)
    plain, titled = pictures.grid([[picture]]), pictures.grid([[picture]], ['image'])
    assert titled.height > plain.height
    assert (np.asarray(titled)[: titled.height - 10] < 128).any()


def test_legend_shows_every_class_and_wraps():
    colors = tuple((i * 10, 255 - i * 10, 7) for i in range(12))
    names = tuple(f'class number {i}' for i in range(12))
    picture = np.full((20, 150, 3), 200, np.uint8)
    drawn = np.asarray(pictures.with_legend(picture, names, colors))
    np.testing.assert_array_equal(drawn[:20], picture)
    strip = {tuple(map(int, pixel)) for pixel in drawn[20:].reshape(-1, 3)}
    assert set(colors) <= strip
    assert drawn.shape[1] == 150 and drawn.shape[0] > 20 + 6 * 14


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: pictures.colorize(np.zeros((2, 2, 1), int), COLORS), r'must be \[H, W\]'),
        (lambda: pictures.overlay(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3), int), COLORS), 'the class ids are'),
        (lambda: pictures.grid([]), 'at least one picture'),
        (lambda: pictures.grid([[np.zeros((2, 2, 3), np.uint8)]], ['a', 'b']), '2 titles for 1 columns'),
        (lambda: pictures.grid([[np.zeros((2, 2, 3))]]), 'must be uint8'),
    ],
)
def test_nonsense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_picture_of_several_bands_is_painted_as_a_whole():
    rng = np.random.default_rng(0)
    class_ids = rng.integers(0, 4, (1100, 3))
    image = rng.integers(0, 256, (1100, 3, 3), np.uint8)
    colors = [(10, 20, 30), (40, 50, 60), (70, 80, 90)]
    painted = np.array([*colors, (0, 0, 0)])[class_ids]
    np.testing.assert_array_equal(pictures.colorize(class_ids, colors), painted)
    blended = np.where(class_ids[..., np.newaxis] < 3, np.rint(image * 0.25 + painted * 0.75), image)
    np.testing.assert_array_equal(pictures.overlay(image, class_ids, colors, alpha=0.75), blended)
