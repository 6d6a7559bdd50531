"""Views of an image against their definition in NumPy, on networks of a few lines."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from core import windows
from core.errors import UsageError
from engine import class_scores
from engine.views import Views
from protos import eval_pb2

NUM_CLASSES = 3
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, NUM_CLASSES)).astype(np.float32) / 30


def position_blind(pixels):
    """Softmax of a 1x1 convolution: what a window says of a pixel does not depend on the window."""
    return softmax(pixels.astype(np.float32) @ KERNEL)


def position_aware(pixels):
    """The answer also depends on where in the window a pixel lies and on the window's mean."""
    rows, columns = np.indices(pixels.shape[:2], np.float32)
    logits = pixels.astype(np.float32) @ KERNEL + pixels.mean() / 100
    return softmax(logits + np.stack([rows / 9, columns / 7, rows * 0], -1))


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return (powers / powers.sum(-1, keepdims=True)).astype(np.float32)


def resized(values, size):
    return tf.raw_ops.ResizeBilinear(
        images=values[np.newaxis].astype(np.float32), size=size, align_corners=True, half_pixel_centers=False
    ).numpy()[0]


def definition(image, views, scores):
    """The whole sum, in memory for all of the image: weights as in their definition, resizing by TensorFlow."""
    height, width = image.shape[:2]
    means = []
    for scale in views.scales:
        scaled = resized(image, class_scores.scaled_size(height, width, scale)) if scale != 1 else image
        size = scaled.shape[:2]
        window = [min(a, b) for a, b in zip(views.window or size, size, strict=True)]
        profiles = [windows.BLENDS[views.blend](side) for side in window]
        answers, total = np.zeros((*size, NUM_CLASSES)), np.zeros((*size, 1))
        for top in windows.starts(size[0], window[0], views.overlap):
            for left in windows.starts(size[1], window[1], views.overlap):
                place = np.s_[top : top + window[0], left : left + window[1]]
                answer = scores(scaled[place])
                if views.flip:
                    answer = (answer + scores(scaled[place][:, ::-1])[:, ::-1]) / 2
                weight = np.outer(*profiles)[..., np.newaxis]
                answers[place] += weight * answer
                total[place] += weight
        means.append(resized(answers / total, (height, width)))
    return np.mean(means, axis=0)


def assembled(image, views, scores, **options):
    """All patches in one array; each pixel is covered once."""
    whole = np.full((*image.shape[:2], NUM_CLASSES), np.nan, np.float32)
    for patch in class_scores.patches(image, views, scores, num_classes=NUM_CLASSES, **options):
        place = patch.rows, patch.columns
        assert np.isnan(whole[place]).all()
        whole[place] = patch.probabilities
    assert not np.isnan(whole).any()
    return whole


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


VIEWS = st.builds(
    Views,
    window=st.none() | st.tuples(st.integers(1, 60), st.integers(1, 60)),
    overlap=st.floats(0, 0.8),
    blend=st.sampled_from(sorted(windows.BLENDS)),
    scales=st.lists(st.sampled_from([0.5, 0.75, 1.0, 1.3, 2.0]), min_size=1, max_size=3).map(tuple),
    flip=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(VIEWS.filter(lambda v: v.window is None or min(v.window) > 9), st.integers(1, 150), st.integers(1, 90))
def test_patches_are_the_definition(views, height, width):
    image = noise(height, width)
    expected = definition(image, views, position_aware)
    np.testing.assert_allclose(assembled(image, views, position_aware), expected, atol=2e-4)


@settings(max_examples=30, deadline=None)
@given(VIEWS.filter(lambda v: v.window is not None and min(v.window) > 9), st.integers(1, 90), st.integers(60, 200))
def test_stripes_change_nothing_not_even_the_last_bit(views, height, width):
    image = noise(height, width)
    narrow = assembled(image, views, position_aware, budget_bytes=1)
    np.testing.assert_array_equal(narrow, assembled(image, views, position_aware))


@pytest.mark.parametrize('window', [None, (33, 65), (40, 99)])
def test_a_window_that_holds_the_image_is_the_whole_image(window):
    image = noise(33, 65)
    np.testing.assert_array_equal(assembled(image, Views(window=window), position_aware), position_aware(image))


def test_windows_of_a_network_without_context_are_the_whole_image():
    image = noise(70, 131)
    views = Views(window=(32, 48), overlap=0.4)
    np.testing.assert_allclose(assembled(image, views, position_blind), position_blind(image), atol=1e-6)


def test_the_flip_of_an_equivariant_network_changes_nothing():
    image = noise(33, 65)
    np.testing.assert_array_equal(assembled(image, Views(flip=True), position_blind), position_blind(image))


def test_scale_one_is_not_resampled():
    image = noise(33, 65)
    np.testing.assert_array_equal(assembled(image, Views(scales=(1.0, 1.0)), position_aware), position_aware(image))


def test_class_ids_are_the_lowest_of_the_most_probable():
    def halves(pixels):
        return np.broadcast_to(np.array([0.2, 0.4, 0.4], np.float32), (*pixels.shape[:2], 3))

    ids = class_scores.class_ids(noise(20, 30), Views(window=(9, 9)), halves, num_classes=3)
    assert ids.dtype == np.uint8 and (ids == 1).all()


def test_memory_does_not_grow_with_the_image():
    """Probabilities of the whole image would take 960 MB; the image itself is one row, repeated."""
    image = np.broadcast_to(noise(1, 4001), (3000, 4001, 3))
    num_classes = 20

    def scores(pixels):
        answer = np.zeros((*pixels.shape[:2], num_classes), np.float32)
        np.put_along_axis(answer, (pixels[..., :1] % num_classes).astype(np.int64), 1, axis=-1)
        return answer

    views = Views(window=(128, 128), overlap=0.25)
    tracemalloc.start()
    total = np.zeros(image.shape[:2], np.uint8)
    for patch in class_scores.patches(image, views, scores, num_classes=num_classes, budget_bytes=24 << 20):
        total[patch.rows, patch.columns] = patch.probabilities.argmax(-1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(total[[0, -1]], np.broadcast_to(image[0, :, 0] % num_classes, (2, 4001)))
    assert peak < total.nbytes + (60 << 20)


def test_labels_are_stitched_from_the_nearest_window():
    """The network answers the number of the call."""
    calls = iter(range(100))

    def predict(pixels):
        return np.full(pixels.shape[:2], next(calls), np.uint8)

    ids = class_scores.stitched(noise(10, 6), Views(window=(6, 6), overlap=0.3), predict)
    np.testing.assert_array_equal(ids, [[0] * 6] * 5 + [[1] * 6] * 5)


@pytest.mark.parametrize('views', [Views(), Views(window=(4, 4), flip=True), Views(window=(4, 4), scales=(0.5,))])
def test_labels_have_no_mean(views):
    with pytest.raises(ValueError, match='stitched, not averaged'):
        class_scores.stitched(noise(10, 6), views, lambda pixels: pixels[..., 0])


def test_views_of_a_config():
    message = eval_pb2.EvalConfig().inference
    assert Views.from_config(message) == Views(overlap=message.sliding_window.overlap)
    message.sliding_window.height, message.sliding_window.width = 65, 97
    message.scale.extend([0.5, 1.0])
    message.flip = True
    views = Views.from_config(message)
    assert views == Views(window=(65, 97), overlap=views.overlap, scales=(0.5, 1.0), flip=True)
    assert views.overlap == pytest.approx(1 / 3)
    assert views.describe() == 'windows of 65 x 97, overlap 0.333, gaussian, scales 0.5, 1, flipped too'
    assert Views().describe() == 'whole image'


def test_what_is_seen_once_and_whole():
    assert Views().shows_whole(9, 9) and Views(window=(9, 12)).shows_whole(9, 12)
    assert not Views(window=(9, 12)).shows_whole(10, 12)
    assert not Views(flip=True).shows_whole(9, 9) and not Views(scales=(2.0,)).shows_whole(9, 9)


def test_windows_of_padded_images_are_refused():
    Views(window=(9, 9)).check_padding(None)
    with pytest.raises(UsageError, match='--pad_to_shape: pads every window too'):
        Views(window=(9, 9)).check_padding((12, 12))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'window': (0, 3)}, 'window must be 1 x 1 or more'),
        ({'overlap': 1.0}, 'overlap must be from 0 to below 1'),
        ({'blend': 'cubic'}, "blend: got 'cubic', choose from"),
        ({'scales': ()}, 'scales must be above 0'),
    ],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Views(**arguments)
