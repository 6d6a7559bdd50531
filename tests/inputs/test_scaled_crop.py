"""Crops of scaled pictures, read from the crop alone, against scaling everything and cutting it out."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from inputs import augmentations as aug
from inputs import pictures, scaled_crop

RNG = np.random.default_rng(8)


def step(function, **arguments):
    return functools.partial(function, **arguments)


def both(steps, image, label, num_seeds):
    """Pairs of results for some seeds: (of the chain of pictures, of the chain of everything)."""
    fused, whole = scaled_crop.chain(steps), aug.chain(steps)

    @tf.function(autograph=False)
    def compiled(seed):
        pixels, ids = pictures.of_pixels(tf.constant(image)), pictures.of_pixels(tf.constant(label[..., None]))
        size = tf.constant(label.shape, tf.int32)
        return fused(pixels, ids, size, seed), whole(tf.cast(image, tf.float32), tf.cast(label, tf.int32), seed)

    for i in range(num_seeds):
        yield [tuple(part.numpy() for part in result) for result in compiled(tf.constant([3, i]))]


@pytest.mark.parametrize(
    ('size', 'ratios', 'crop'),
    [
        ((47, 61), (0.5, 2.0), (33, 33)),
        ((47, 61), (0.3, 0.9), (33, 41)),  # often padded, in one direction or both
        ((200, 300), (1.0, 1.0), (65, 97)),  # nothing is resized, but for the name of it
        ((33, 300), (0.9, 1.1), (65, 33)),
        ((301, 503), (0.5, 0.51), (150, 251)),  # the crop reaches every border
        ((2, 3), (4.0, 9.0), (7, 7)),
        ((1, 5), (0.5, 3.0), (2, 2)),
        ((5, 4), (0.01, 0.3), (3, 3)),  # scaled to a single row
    ],
)
def test_a_scaled_crop_is_the_crop_of_the_scaled_picture(size, ratios, crop):
    image, label = RNG.integers(0, 256, (*size, 3), np.uint8), RNG.integers(0, 20, size, np.uint8)
    steps = [
        step(aug.random_scale, min_ratio=ratios[0], max_ratio=ratios[1]),
        step(aug.random_crop, height=crop[0], width=crop[1], ignore_label=200),
        aug.random_horizontal_flip,
    ]
    for (pixels, ids), (expected_pixels, expected_ids) in both(steps, image, label, 30):
        np.testing.assert_array_equal(ids, expected_ids)
        # Of noise: eight roundings of a place up to 503, times 255 from one pixel to the next.
        np.testing.assert_allclose(pixels, expected_pixels, atol=503 * 8 * 2**-23 * 255)
        assert pixels.shape == (*crop, 3) and ids.shape == crop and ids.dtype == np.int32


def test_crops_at_the_far_border_of_a_large_picture_are_not_black():
    """The operation fills what is outside by the rounding of a number with 0."""
    image, label = np.full((1024, 2048, 3), 255, np.uint8), np.zeros((1024, 2048), np.uint8)
    steps = [
        step(aug.random_scale, min_ratio=0.502, max_ratio=0.56),
        step(aug.random_crop, height=513, width=1020, ignore_label=255),
    ]
    for (pixels, ids), _ in both(steps, image, label, 60):
        assert not ids.any()
        np.testing.assert_allclose(pixels, 255, rtol=1e-6)


def test_a_crop_alone_changes_no_pixel():
    image, label = RNG.integers(0, 256, (30, 40, 3), np.uint8), np.arange(1200).reshape(30, 40).astype(np.uint8)
    for (pixels, ids), (expected_pixels, expected_ids) in both(
        [step(aug.random_crop, height=9, width=7)], image, label, 9
    ):
        np.testing.assert_array_equal(ids, expected_ids)
        np.testing.assert_array_equal(pixels, expected_pixels)
        assert (pixels == pixels.astype(np.uint8)).all()


def test_windows_of_one_class_are_drawn_again_in_the_same_way():
    image, label = RNG.integers(0, 256, (60, 80, 3), np.uint8), np.zeros((60, 80), np.uint8)
    label[:, 60:] = RNG.integers(0, 3, (60, 20))
    steps = [
        step(aug.random_scale, min_ratio=0.5, max_ratio=2.0),
        step(aug.random_crop, height=24, width=24, max_class_share=0.75),
    ]
    shares = []
    for (_, ids), (_, expected_ids) in both(steps, image, label, 40):
        np.testing.assert_array_equal(ids, expected_ids)
        shares.append((ids == 0).mean())
    assert np.mean(np.array(shares) <= 0.75) > 0.6


@pytest.mark.parametrize(
    'steps',
    [
        [],
        [step(aug.resize_image, height=11, width=13)],
        [aug.random_horizontal_flip, step(aug.random_crop, height=9, width=7)],
        [step(aug.random_scale, min_ratio=0.5, max_ratio=2.0), aug.random_vertical_flip],
    ],
)
def test_other_chains_are_as_before(steps):
    image, label = RNG.integers(0, 256, (20, 30, 3), np.uint8), RNG.integers(0, 20, (20, 30), np.uint8)
    for (pixels, ids), (expected_pixels, expected_ids) in both(steps, image, label, 4):
        np.testing.assert_array_equal(ids, expected_ids)
        np.testing.assert_array_equal(pixels, expected_pixels)
