"""Augmentations: (image, label, seed) -> (image, label), each a function of its arguments alone.

An image is float32 [H, W, C] in 0..255 (C static; 3 where colours are meant), a label int32 [H, W], a seed int32 [2].
The parameters after the seed are keywords, so `functools.partial(random_scale, min_ratio=0.5, max_ratio=2.0)` is a
step. What a step adds around a picture is never a valid label: labels get `ignore_label`, images the mean colour of
ImageNet, which is zero once an extractor has subtracted its means. Resizing aligns the corner pixels, as the public
reference implementation does.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Sequence

import tensorflow as tf

Example = tuple[tf.Tensor, tf.Tensor]
Augmentation = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Example]

# Red, green, blue: the means that slim's ImageNet models subtract. Images without colours get their mean.
PADDING_COLOR = (123.68, 116.779, 103.939)

_CROP_ATTEMPTS = 10

_RESIZERS = {
    'bilinear': tf.raw_ops.ResizeBilinear,
    'nearest': tf.raw_ops.ResizeNearestNeighbor,
    'bicubic': tf.raw_ops.ResizeBicubic,
}
RESIZE_METHODS = tuple(_RESIZERS)


def chain(steps: Sequence[Augmentation], first_position: int = 0) -> Augmentation:
    """Applies `steps` in order; step i gets a seed of its own, folded from the seed and `first_position` + i."""

    def apply(image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor) -> Example:
        for position, step in enumerate(steps, first_position):
            image, label = step(image, label, seed_of(seed, position))
        return image, label

    return apply


def seed_of(seed: tf.Tensor, position: int) -> tf.Tensor:
    """int32 [2], of the step at this position of a chain."""
    return tf.random.experimental.stateless_fold_in(seed, position)


def resize_image(
    image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor, *, height: int, width: int, method: str = 'bilinear'
) -> Example:
    """Resizes to exactly height x width, whatever the aspect; labels by nearest neighbour."""
    del seed
    return _resize(image, label, tf.constant([height, width]), method)


def aspect_ratio_image_resize(
    image: tf.Tensor,
    label: tf.Tensor,
    seed: tf.Tensor,
    *,
    min_dimension: int,
    max_dimension: int,
    method: str = 'bilinear',
    pad_to_max_dimension: bool = False,
    ignore_label: int = 255,
) -> Example:
    """Makes the shorter side `min_dimension`, unless the longer would exceed `max_dimension`: then that is the longer.

    Sides are rounded to the nearest integer. With `pad_to_max_dimension` the result is padded at the bottom and the
    right to [max_dimension, max_dimension].
    """
    del seed
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    scale = tf.minimum(min_dimension / tf.reduce_min(size), max_dimension / tf.reduce_max(size))
    new_size = tf.clip_by_value(tf.cast(tf.round(size * scale), tf.int32), 1, max_dimension)
    image, label = _resize(image, label, new_size, method)
    if not pad_to_max_dimension:
        return image, label
    image, label = pad_to_at_least(image, label, height=max_dimension, width=max_dimension, ignore_label=ignore_label)
    return _with_size(image, label, max_dimension, max_dimension)


def set_fixed_image_size(
    image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor, *, fixed_height: int, fixed_width: int
) -> Example:
    """Declares the size; changes no pixel.

    Raises (when run) tf.errors.InvalidArgumentError if a picture has another size.
    """
    del seed
    size = tf.shape(image)[:2]
    message = tf.strings.format(
        f'set_fixed_image_size expects {fixed_height}x{fixed_width}, got an image of size {{}}; '
        'resize_image or random_image_crop make the sizes equal',
        size,
    )
    matches = tf.reduce_all(tf.equal(size, [fixed_height, fixed_width]))
    with tf.control_dependencies([tf.debugging.Assert(matches, [message])]):
        return _with_size(tf.identity(image), tf.identity(label), fixed_height, fixed_width)


def random_scale(image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor, *, min_ratio: float, max_ratio: float) -> Example:
    """Resizes both sides by one ratio, uniform in [min_ratio, max_ratio); new side = int(side * ratio)."""
    size = draw_scaled_size(tf.shape(image)[:2], seed, min_ratio=min_ratio, max_ratio=max_ratio)
    return _resize(image, label, size, 'bilinear')


def draw_scaled_size(size: tf.Tensor, seed: tf.Tensor, *, min_ratio: float, max_ratio: float) -> tf.Tensor:
    """int32 [2], the size that `random_scale` gives a picture of the size int32 [2]."""
    ratio = _uniform(seed, min_ratio, max_ratio)
    return tf.maximum(tf.cast(tf.cast(size, tf.float32) * ratio, tf.int32), 1)


def random_crop(
    image: tf.Tensor,
    label: tf.Tensor,
    seed: tf.Tensor,
    *,
    height: int,
    width: int,
    max_class_share: float = 1.0,
    ignore_label: int = 255,
) -> Example:
    """Cuts a window of height x width; a picture too small is first padded at the bottom and the right.

    Args:
      image: float32 [H, W, C].
      label: int32 [H, W].
      seed: int32 [2].
      height: of the window.
      width: of the window.
      max_class_share: below 1, up to ten windows are drawn until no class has more than this share of the labelled
        pixels (the last one is taken if none does), as is usual in training on street scenes.
      ignore_label: of the padding; it does not count as a class.
    """
    image, label = pad_to_at_least(image, label, height=height, width=width, ignore_label=ignore_label)
    offset = draw_window(
        lambda offset: tf.slice(label, offset, [height, width]),
        tf.shape(label),
        seed,
        height=height,
        width=width,
        max_class_share=max_class_share,
        ignore_label=ignore_label,
    )
    image = tf.slice(image, tf.concat([offset, [0]], 0), [height, width, image.shape[-1]])
    return _with_size(image, tf.slice(label, offset, [height, width]), height, width)


def draw_window(
    label_at: Callable[[tf.Tensor], tf.Tensor],
    size: tf.Tensor,
    seed: tf.Tensor,
    *,
    height: int,
    width: int,
    max_class_share: float,
    ignore_label: int,
) -> tf.Tensor:
    """int32 [2], top and left of the window that `random_crop` takes of a picture of the size int32 [2].

    Args:
      label_at: (top and left int32 [2]) -> the label int32 [h, w] there, as far as the picture reaches.
      size: of the picture; where it is smaller than the window, the window begins at 0.
      seed: int32 [2].
      height: of the window.
      width: of the window.
      max_class_share: see `random_crop`.
      ignore_label: does not count as a class.
    """
    room = tf.maximum(size - [height, width], 0) + 1

    def window(attempt: tf.Tensor) -> tf.Tensor:
        seeds = tf.random.experimental.stateless_fold_in(seed, attempt)
        drawn = tf.random.stateless_uniform([2], seeds) * tf.cast(room, tf.float32)
        return tf.minimum(tf.cast(drawn, tf.int32), room - 1)

    offset = window(tf.constant(0))
    if max_class_share < 1:

        def too_uniform(attempt: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
            share = _largest_share(label_at(offset), ignore_label)
            return (attempt < _CROP_ATTEMPTS) & (share > max_class_share)

        _, offset = tf.while_loop(too_uniform, lambda i, _: (i + 1, window(i)), (tf.constant(1), offset))
    return offset


def random_horizontal_flip(image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor) -> Example:
    """Mirrors left and right, of both pictures, with probability one half."""
    return _flip(image, label, seed, axis=1)


def random_vertical_flip(image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor) -> Example:
    """Mirrors top and bottom, of both pictures, with probability one half."""
    return _flip(image, label, seed, axis=0)


def random_rotation(
    image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor, *, max_angle: float, ignore_label: int = 255
) -> Example:
    """Rotates about the centre by an angle uniform in [-max_angle, max_angle) degrees, keeping the size."""
    angle = _uniform(seed, -max_angle, max_angle) * (math.pi / 180)
    return rotate(image, label, angle, ignore_label=ignore_label)


def rotate(image: tf.Tensor, label: tf.Tensor, angle: tf.Tensor | float, *, ignore_label: int = 255) -> Example:
    """Rotates counter-clockwise by `angle` radians: the image bilinearly, the label by nearest neighbour."""
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    center_y, center_x = (size[0] - 1) / 2, (size[1] - 1) / 2
    cos, sin = tf.cos(angle), tf.sin(angle)
    # Output (x, y) is read at (cos x - sin y + dx, sin x + cos y + dy); y points down.
    shift_x = center_x - (cos * center_x - sin * center_y)
    shift_y = center_y - (sin * center_x + cos * center_y)
    transform = tf.stack([cos, -sin, shift_x, sin, cos, shift_y, 0.0, 0.0])[tf.newaxis]

    def warp(picture: tf.Tensor, interpolation: str, fill: float) -> tf.Tensor:
        warped = tf.raw_ops.ImageProjectiveTransformV3(
            images=picture[tf.newaxis],
            transforms=transform,
            output_shape=tf.shape(picture)[:2],
            fill_value=fill,
            interpolation=interpolation,
            fill_mode='CONSTANT',
        )
        return tf.ensure_shape(warped[0], picture.shape)

    # The operation fills all channels alike, so the padding colour is made the zero of the image.
    color = _padding_color(image)
    image = warp(image - color, 'BILINEAR', 0.0) + color
    return image, warp(label[..., tf.newaxis], 'NEAREST', float(ignore_label))[..., 0]


def random_brightness(image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor, *, max_delta: float) -> Example:
    """Adds one number, uniform in [-max_delta, max_delta) of 0..255, to all channels."""
    return _to_range(image + _uniform(seed, -max_delta, max_delta)), label


def random_contrast(
    image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor, *, min_factor: float, max_factor: float
) -> Example:
    """Scales the distance of each channel to its mean over the picture."""
    # One axis after the other: both at once take five times as long on a CPU.
    mean = tf.reduce_mean(tf.reduce_mean(image, 0), 0)
    return _to_range((image - mean) * _uniform(seed, min_factor, max_factor) + mean), label


def random_saturation(
    image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor, *, min_factor: float, max_factor: float
) -> Example:
    """Scales the saturation (HSV): 0 is grey, 1 leaves the picture as it is."""
    return _to_range(_saturate(image, _uniform(seed, min_factor, max_factor))), label


def random_hue(image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor, *, max_delta: float) -> Example:
    """Turns the hue (HSV) by up to `max_delta` of the full circle, 0..0.5, either way."""
    return _to_range(tf.image.adjust_hue(image, _uniform(seed, -max_delta, max_delta))), label


def random_gamma(image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor, *, min_gamma: float, max_gamma: float) -> Example:
    """255 * (image / 255) ** gamma, log gamma uniform: above 1 darkens the middle tones, below 1 lifts them."""
    gamma = tf.exp(_uniform(seed, math.log(min_gamma), math.log(max_gamma)))
    # Ten times as fast as tf.pow, and as exact as 8 bits need; the logarithm of 0 gives 0 again.
    return _to_range(255 * tf.exp(gamma * tf.math.log(_to_range(image) / 255))), label


def pad_to_at_least(image: tf.Tensor, label: tf.Tensor, *, height: int, width: int, ignore_label: int = 255) -> Example:
    """Pads at the bottom and the right up to height x width, with `PADDING_COLOR` and `ignore_label`."""
    missing = tf.maximum([height, width] - tf.shape(label), 0)

    def padded() -> Example:
        paddings = tf.stack([tf.zeros_like(missing), missing], axis=1)
        return _pad_image(image, missing), tf.pad(label, paddings, constant_values=ignore_label)

    result = tf.cond(tf.reduce_any(missing > 0), padded, lambda: (image, label))
    # One channel is forgotten otherwise.
    return tf.ensure_shape(result[0], [None, None, image.shape[-1]]), tf.ensure_shape(result[1], [None, None])


def _pad_image(image: tf.Tensor, missing: tf.Tensor) -> tf.Tensor:
    """Strips of `PADDING_COLOR`, `missing` int32 [2] pixels high and wide: rows are copied, nothing is computed."""
    color, (height, width) = tf.constant(_padding_color(image)), (tf.shape(image)[i] for i in (0, 1))
    channels = image.shape[-1]
    right = tf.broadcast_to(color, tf.stack([height, missing[1], channels]))
    bottom = tf.broadcast_to(color, tf.stack([missing[0], width + missing[1], channels]))
    return tf.concat([tf.concat([image, right], 1), bottom], 0)


def pad_to(image: tf.Tensor, label: tf.Tensor, *, height: int, width: int, ignore_label: int = 255) -> Example:
    """`pad_to_at_least` of pictures that are no larger, which then have this static size."""
    image, label = pad_to_at_least(image, label, height=height, width=width, ignore_label=ignore_label)
    return _with_size(image, label, height, width)


def _resize(image: tf.Tensor, label: tf.Tensor, size: tf.Tensor, method: str) -> Example:
    if method not in _RESIZERS:
        raise ValueError(f'method: got {method!r}, choose from {sorted(_RESIZERS)}')
    image = _RESIZERS[method](images=image[tf.newaxis], size=size, align_corners=True)[0]
    label = tf.raw_ops.ResizeNearestNeighbor(images=label[tf.newaxis, ..., tf.newaxis], size=size, align_corners=True)
    # A bicubic resize overshoots at edges.
    return (_to_range(image) if method == 'bicubic' else image), label[0, ..., 0]


def _saturate(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """The saturation of HSV times `factor`, 1 at most; hue and value stay.

    With V = max and S = (max - min) / max, a channel c is V - (V - c) S' / S: no HSV is computed.
    """
    channels = tf.unstack(image, axis=-1)
    value = functools.reduce(tf.maximum, channels)
    spread = value - functools.reduce(tf.minimum, channels)
    relative = tf.minimum(factor, value / tf.maximum(spread, 1e-6))
    rest = value * (1 - relative)
    return tf.stack([channel * relative + rest for channel in channels], -1)


def _flip(image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor, *, axis: int) -> Example:
    mirror = _uniform(seed, 0.0, 1.0) < 0.5
    return tuple(tf.cond(mirror, lambda x=x: tf.reverse(x, [axis]), lambda x=x: x) for x in (image, label))


def _largest_share(label: tf.Tensor, ignore_label: int) -> tf.Tensor:
    """Of the labelled pixels of [H, W], the share of the most frequent class; 1 where nothing is labelled."""
    counts = tf.math.bincount(tf.reshape(label, [-1]), minlength=256, maxlength=256)
    counts = tf.tensor_scatter_nd_update(counts, [[ignore_label]], [0])
    total = tf.reduce_sum(counts)
    share = tf.cast(tf.reduce_max(counts) / tf.maximum(total, 1), tf.float32)
    return tf.where(total > 0, share, 1.0)


def _padding_color(image: tf.Tensor) -> tuple[float, ...]:
    channels = image.shape[-1]
    return PADDING_COLOR if channels == 3 else (statistics.mean(PADDING_COLOR),) * channels


def _uniform(seed: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return tf.random.stateless_uniform([], seed, low, high)


def _to_range(image: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(image, 0.0, 255.0)


def _with_size(image: tf.Tensor, label: tf.Tensor, height: int, width: int) -> Example:
    return tf.ensure_shape(image, [height, width, image.shape[-1]]), tf.ensure_shape(label, [height, width])
