"""Each augmentation against NumPy or an exact small case; padding is never a valid label."""

from __future__ import annotations

import colorsys
import functools

import numpy as np
import pytest
import tensorflow as tf

from inputs import augmentations as aug

RNG = np.random.default_rng(5)
IMAGE = RNG.uniform(0, 255, (9, 13, 3)).astype(np.float32)
LABEL = RNG.integers(0, 3, (9, 13)).astype(np.int32)
SEEDS = [(0, 0), (7, 1), (7, 2), (2**31 - 1, 5)]


def run(step, seed=(1, 2), image=IMAGE, label=LABEL, **arguments):
    results = step(tf.constant(image), tf.constant(label), tf.constant(seed, tf.int32), **arguments)
    return tuple(result.numpy() for result in results)


def run_many(step, count, *, seed=0, image=IMAGE, label=LABEL, **arguments):
    """The results for the seeds (seed, 0), (seed, 1), ..., from one compiled function."""

    @tf.function(autograph=False)
    def compiled(second):
        return step(tf.constant(image), tf.constant(label), tf.stack([seed, second]), **arguments)

    return [tuple(result.numpy() for result in compiled(tf.constant(i))) for i in range(count)]


def bilinear_corners_aligned(image, height, width):
    """The definition: output pixel i is read at i * (n - 1) / (m - 1)."""

    def weights(n_in, n_out):
        at = np.arange(n_out) * ((n_in - 1) / (n_out - 1))
        low = np.minimum(np.floor(at).astype(int), n_in - 2)
        matrix = np.zeros((n_out, n_in))
        matrix[np.arange(n_out), low] = 1 - (at - low)
        matrix[np.arange(n_out), low + 1] = at - low
        return matrix

    rows, columns = weights(image.shape[0], height), weights(image.shape[1], width)
    return np.einsum('yi,xj,ijc->yxc', rows, columns, image.astype(np.float64))


def nearest_corners_aligned(label, height, width):
    rows = np.floor(np.arange(height) * ((label.shape[0] - 1) / (height - 1)) + 0.5).astype(int)
    columns = np.floor(np.arange(width) * ((label.shape[1] - 1) / (width - 1)) + 0.5).astype(int)
    return label[rows][:, columns]


def test_resize_aligns_corners():
    image, label = run(aug.resize_image, height=17, width=11)
    np.testing.assert_allclose(image, bilinear_corners_aligned(IMAGE, 17, 11), atol=1e-3)
    np.testing.assert_array_equal(label, nearest_corners_aligned(LABEL, 17, 11))
    np.testing.assert_allclose(image[0, 0], IMAGE[0, 0], rtol=1e-6)
    np.testing.assert_allclose(image[-1, -1], IMAGE[-1, -1], rtol=1e-5)


@pytest.mark.parametrize('method', aug.RESIZE_METHODS)
def test_resize_methods_keep_range_and_ids(method):
    image, label = run(aug.resize_image, height=20, width=30, method=method)
    assert image.shape == (20, 30, 3) and image.min() >= 0 and image.max() <= 255
    assert set(np.unique(label)) <= {0, 1, 2}


def test_unknown_resize_method_is_refused():
    with pytest.raises(ValueError, match="got 'area', choose from"):
        run(aug.resize_image, height=2, width=2, method='area')


@pytest.mark.parametrize('ratio', [0.5, 0.77, 1.0, 1.6])
def test_scale_size_is_cut_to_an_integer(ratio):
    image, label = run(aug.random_scale, min_ratio=ratio, max_ratio=ratio)
    height, width = (int(np.float32(side) * np.float32(ratio)) for side in LABEL.shape)
    assert image.shape == (height, width, 3) and label.shape == (height, width)
    np.testing.assert_allclose(image, bilinear_corners_aligned(IMAGE, height, width), atol=1e-3)
    np.testing.assert_array_equal(label, nearest_corners_aligned(LABEL, height, width))


def test_scale_ratios_fill_their_range():
    sides = [label.shape[0] for _, label in run_many(aug.random_scale, 60, min_ratio=1.0, max_ratio=3.0)]
    assert 9 <= min(sides) <= 11 and 24 <= max(sides) <= 27


@pytest.mark.parametrize(
    ('size', 'min_dimension', 'max_dimension', 'expected'),
    [
        ((9, 13), 18, 100, (18, 26)),  # the shorter side reaches min_dimension
        ((9, 13), 18, 20, (14, 20)),  # the longer would exceed max_dimension: 9 * 20 / 13 = 13.8
        ((13, 9), 18, 20, (20, 14)),
        ((40, 40), 10, 30, (10, 10)),
    ],
)
def test_aspect_resize(size, min_dimension, max_dimension, expected):
    image, label = np.ones((*size, 3), np.float32), np.ones(size, np.int32)
    step = functools.partial(aug.aspect_ratio_image_resize, min_dimension=min_dimension, max_dimension=max_dimension)
    resized, ids = run(step, image=image, label=label)
    assert resized.shape == (*expected, 3) and ids.shape == expected
    padded, padded_ids = run(
        functools.partial(step, pad_to_max_dimension=True, ignore_label=99), image=image, label=label
    )
    assert padded.shape == (max_dimension, max_dimension, 3)
    height, width = expected
    assert (padded_ids[:height, :width] == 1).all()
    assert (padded_ids == 99).sum() == max_dimension**2 - height * width
    np.testing.assert_allclose(padded[:height, :width], 1, atol=1e-4)
    np.testing.assert_allclose(padded[height:], np.broadcast_to(aug.PADDING_COLOR, padded[height:].shape), rtol=1e-6)


def test_fixed_size_is_declared_and_checked():
    image, label = run(aug.set_fixed_image_size, fixed_height=9, fixed_width=13)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(label, LABEL)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r'expects 9x12, got an image of size \[9 13\]'):
        run(aug.set_fixed_image_size, fixed_height=9, fixed_width=12)


@pytest.mark.parametrize('seed', SEEDS)
def test_crop_is_a_window_of_both(seed):
    image, label = run(aug.random_crop, seed=seed, height=4, width=6)
    places = [(y, x) for y in range(6) for x in range(8) if np.allclose(IMAGE[y : y + 4, x : x + 6], image, atol=1e-4)]
    assert len(places) == 1
    y, x = places[0]
    np.testing.assert_array_equal(LABEL[y : y + 4, x : x + 6], label)


def test_crop_reaches_every_place():
    index = np.arange(9 * 13, dtype=np.int32).reshape(9, 13)
    crops = run_many(aug.random_crop, 200, label=index, height=8, width=11)
    assert {int(label[0, 0]) for _, label in crops} == {0, 1, 2, 13, 14, 15}


def test_crop_pads_with_the_ignore_label_and_the_mean_color():
    image, label = run(aug.random_crop, height=12, width=10, ignore_label=254)
    assert label.shape == (12, 10) and image.shape == (12, 10, 3)
    assert (label[9:] == 254).all() and (label[:9] != 254).all()
    np.testing.assert_allclose(image[9:], np.broadcast_to(aug.PADDING_COLOR, (3, 10, 3)), rtol=1e-6)


def test_crop_draws_again_where_one_class_dominates():
    label = np.zeros((40, 40), np.int32)
    label[:, 34:] = 1
    image = np.zeros((40, 40, 3), np.float32)

    def share_of_uniform(limit):
        crops = run_many(aug.random_crop, 60, image=image, label=label, height=8, width=8, max_class_share=limit)
        return np.mean([(ids == 0).mean() > 0.75 for _, ids in crops])

    assert share_of_uniform(1.0) > 0.7
    assert share_of_uniform(0.75) < 0.3


def test_ignored_pixels_do_not_count_as_a_class():
    assert aug._largest_share(tf.constant([[255, 255], [1, 2]]), 255).numpy() == 0.5
    assert aug._largest_share(tf.constant([[255, 255]]), 255).numpy() == 1


@pytest.mark.parametrize(('step', 'axis'), [(aug.random_horizontal_flip, 1), (aug.random_vertical_flip, 0)])
def test_flip_moves_both_or_neither(step, axis):
    flipped = 0
    for image, label in run_many(step, 40, seed=2):
        if np.array_equal(label, np.flip(LABEL, axis)):
            flipped += 1
            np.testing.assert_array_equal(image, np.flip(IMAGE, axis))
        else:
            np.testing.assert_array_equal(image, IMAGE)
            np.testing.assert_array_equal(label, LABEL)
    assert 10 <= flipped <= 30


def test_quarter_turn_is_exact():
    label = np.arange(49, dtype=np.int32).reshape(7, 7)
    image = np.repeat(label[..., None].astype(np.float32), 3, -1)
    turned, ids = (x.numpy() for x in aug.rotate(tf.constant(image), tf.constant(label), np.pi / 2))
    np.testing.assert_array_equal(ids, np.rot90(label))
    np.testing.assert_allclose(turned[1:-1, 1:-1], np.rot90(image)[1:-1, 1:-1], atol=1e-3)


def test_rotation_fills_corners_with_the_ignore_label_and_the_mean_color():
    image, label = (x.numpy() for x in aug.rotate(tf.constant(IMAGE), tf.constant(LABEL), 0.7, ignore_label=77))
    assert set(np.unique(label)) <= {0, 1, 2, 77}
    assert label[0, 0] == label[-1, -1] == 77 and label[4, 6] == LABEL[4, 6]
    np.testing.assert_allclose(image[0, 0], aug.PADDING_COLOR, rtol=1e-5)


def test_rotation_angle_stays_within_its_bound():
    image, label = run(aug.random_rotation, max_angle=0.0)
    np.testing.assert_allclose(image, IMAGE, atol=1e-3)
    np.testing.assert_array_equal(label, LABEL)


def test_brightness_adds_one_number_and_clips():
    image, _ = run(aug.random_brightness, max_delta=100.0)
    inside = (image > 0) & (image < 255)
    deltas = (image - IMAGE)[inside]
    assert image.min() >= 0 and image.max() <= 255 and np.ptp(deltas) < 1e-3 and abs(deltas.mean()) > 0.1


def test_contrast_against_numpy():
    image, _ = run(aug.random_contrast, min_factor=0.5, max_factor=0.5)
    mean = IMAGE.mean((0, 1))
    np.testing.assert_allclose(image, (IMAGE - mean) * 0.5 + mean, atol=1e-3)


def test_saturation_against_colorsys():
    image, _ = run(aug.random_saturation, min_factor=0.4, max_factor=0.4)
    expected = IMAGE.copy().reshape(-1, 3)
    for i, pixel in enumerate(expected):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
        expected[i] = np.array(colorsys.hsv_to_rgb(hue, saturation * 0.4, value)) * 255
    np.testing.assert_allclose(image, expected.reshape(IMAGE.shape), atol=0.05)


def test_hue_against_colorsys(monkeypatch):
    monkeypatch.setattr(aug, '_uniform', lambda seed, low, high: tf.constant(high))
    image, _ = run(aug.random_hue, max_delta=0.25)
    expected = IMAGE.copy().reshape(-1, 3)
    for i, pixel in enumerate(expected):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
        expected[i] = np.array(colorsys.hsv_to_rgb((hue + 0.25) % 1, saturation, value)) * 255
    np.testing.assert_allclose(image, expected.reshape(IMAGE.shape), atol=0.05)


def test_gamma_against_numpy():
    image, _ = run(aug.random_gamma, min_gamma=1.5, max_gamma=1.5)
    np.testing.assert_allclose(image, 255 * (IMAGE / 255) ** 1.5, atol=1e-2)


def test_gamma_is_as_often_above_one_as_below():
    grey = np.full((1, 1, 3), 100, np.float32)
    pictures = run_many(aug.random_gamma, 60, image=grey, min_gamma=0.25, max_gamma=4.0)
    assert 18 <= sum(image.mean() < 100 for image, _ in pictures) <= 42


COLOR_STEPS = [
    functools.partial(aug.random_brightness, max_delta=60.0),
    functools.partial(aug.random_contrast, min_factor=0.3, max_factor=3.0),
    functools.partial(aug.random_saturation, min_factor=0.3, max_factor=3.0),
    functools.partial(aug.random_hue, max_delta=0.4),
    functools.partial(aug.random_gamma, min_gamma=0.3, max_gamma=3.0),
]
ALL_STEPS = [
    *COLOR_STEPS,
    functools.partial(aug.random_scale, min_ratio=0.5, max_ratio=2.0),
    functools.partial(aug.random_rotation, max_angle=20.0),
    functools.partial(aug.random_crop, height=7, width=8, max_class_share=0.9),
    aug.random_horizontal_flip,
    aug.random_vertical_flip,
]


@pytest.mark.parametrize('step', COLOR_STEPS, ids=lambda step: step.func.__name__)
def test_color_leaves_labels_alone_and_stays_in_range(step):
    for seed in SEEDS:
        image, label = run(step, seed=seed)
        np.testing.assert_array_equal(label, LABEL)
        assert image.min() >= 0 and image.max() <= 255 and image.dtype == np.float32


def test_everything_is_a_function_of_the_seed():
    chained = aug.chain(ALL_STEPS)
    one, again, other = (run(chained, seed=seed) for seed in ((4, 4), (4, 4), (4, 5)))
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])
    assert not np.array_equal(one[0], other[0])


def test_no_step_makes_a_valid_label_out_of_padding():
    """A picture of class 2 alone: whatever the steps do, labels are 2 or ignored."""
    label = np.full((9, 13), 2, np.int32)
    for _, ids in run_many(aug.chain(ALL_STEPS), 30, label=label):
        assert set(np.unique(ids)) <= {2, 255}


def test_equal_steps_in_a_chain_draw_apart():
    step = functools.partial(aug.random_brightness, max_delta=50.0)
    dark = np.full((2, 2, 3), 120, np.float32)
    image, _ = run(aug.chain([step, step]), image=dark)
    first, _ = run(aug.chain([step]), image=dark)
    assert abs((image - 120).mean() - 2 * (first - 120).mean()) > 1e-3


@pytest.mark.parametrize('channels', [1, 4])
def test_images_without_colours_are_scaled_turned_and_cut_alike(channels):
    """Channels that are equal stay equal, and the size is static, whatever their number."""
    plane = np.random.default_rng(3).uniform(0, 255, (9, 12, 1)).astype(np.float32)
    label = tf.zeros([9, 12], tf.int32)
    steps = aug.chain(
        [
            functools.partial(aug.random_scale, min_ratio=0.5, max_ratio=2.0),
            functools.partial(aug.random_rotation, max_angle=30.0),
            functools.partial(aug.random_crop, height=20, width=21),
            aug.random_horizontal_flip,
            functools.partial(aug.random_brightness, max_delta=20.0),
            functools.partial(aug.random_contrast, min_factor=0.5, max_factor=1.5),
            functools.partial(aug.random_gamma, min_gamma=0.7, max_gamma=1.5),
        ]
    )
    examples = tf.data.Dataset.from_tensors((np.repeat(plane, channels, -1), label, [1, 2])).map(steps)
    assert examples.element_spec[0].shape == (20, 21, channels)
    image, label = next(iter(examples))
    np.testing.assert_allclose(image, np.repeat(image[..., :1], channels, -1), atol=1e-4)
    assert (label.numpy() == 255).any()


def test_padding_of_images_without_colours_is_the_mean_of_the_colours_mean():
    image, _ = aug.pad_to_at_least(tf.zeros([2, 2, 4]), tf.zeros([2, 2], tf.int32), height=3, width=2)
    np.testing.assert_allclose(image[2], np.full((2, 4), np.mean(aug.PADDING_COLOR)), rtol=1e-6)
