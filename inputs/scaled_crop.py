"""Augmentation of stored pictures: `random_scale` and `random_crop` at the head of a chain read the crop alone.

Scaling a street scene by 2 makes 100 MB of floats, of which a crop keeps a tenth. What the crop shows is read at the
same places as by resizing everything, up to the rounding of a place's float32 number: labels are equal to it, images to
a tenth of one of 256 values where white is beside black.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from inputs import augmentations as aug
from inputs.pictures import Picture

# (image, label, size of both int32 [2], seed int32 [2]) -> image float32 [H, W, C], label int32 [H, W].
PictureAugmentation = Callable[[Picture, Picture, tf.Tensor, tf.Tensor], aug.Example]

# Below 1 by more than the rounding of four float32 operations: the operation paints black what lies outside.
_LAST = 1 - 2.0**-21


def chain(steps: Sequence[aug.Augmentation]) -> PictureAugmentation:
    """As `augmentations.chain`, of pictures that are not decoded yet."""
    scale, crop = _arguments(steps, 0, aug.random_scale), _arguments(steps, 1, aug.random_crop)
    num_fused = 2
    if scale is None or crop is None:
        scale, crop, num_fused = None, _arguments(steps, 0, aug.random_crop), 1
    whole = aug.chain(steps)
    rest = aug.chain(steps[num_fused:], first_position=num_fused)

    def apply(image: Picture, label: Picture, size: tf.Tensor, seed: tf.Tensor) -> aug.Example:
        if crop is None:
            ids = tf.cast(label.window(tf.zeros([2], tf.int32), size)[..., 0], tf.int32)
            pixels = image.window(tf.zeros([2], tf.int32), size)
            return whole(tf.cast(pixels, tf.float32), ids, seed)
        scaled = size if scale is None else aug.draw_scaled_size(size, aug.seed_of(seed, 0), **scale)
        return rest(*_crop(image, label, size, scaled, aug.seed_of(seed, num_fused - 1), **crop), seed)

    return apply


def _arguments(
    steps: Sequence[aug.Augmentation], position: int, function: Callable[..., Any]
) -> Mapping[str, Any] | None:
    """Keyword arguments of the step at this position if it is a `functools.partial` of the function."""
    step = steps[position] if position < len(steps) else None
    return step.keywords if step is not None and getattr(step, 'func', None) is function else None


def _crop(
    image: Picture,
    label: Picture,
    size: tf.Tensor,
    scaled: tf.Tensor,
    seed: tf.Tensor,
    *,
    height: int,
    width: int,
    max_class_share: float = 1.0,
    ignore_label: int = 255,
) -> aug.Example:
    """`random_crop` of the pictures as they would be at the size `scaled`; they are of the size `size`."""

    def ids(offset: tf.Tensor) -> tf.Tensor:
        count = tf.minimum([height, width], scaled - offset)
        return tf.cast(_nearest(label, size, scaled, offset, count), tf.int32)

    offset = aug.draw_window(
        ids, scaled, seed, height=height, width=width, max_class_share=max_class_share, ignore_label=ignore_label
    )
    count = tf.minimum([height, width], scaled - offset)
    pixels = _bilinear(image, size, scaled, offset, count)
    return aug.pad_to(pixels, ids(offset), height=height, width=width, ignore_label=ignore_label)


def _step(size: tf.Tensor, scaled: tf.Tensor) -> tf.Tensor:
    """float32 [2], pixels of the picture from one pixel of the scaled one to the next; corners are aligned."""
    return tf.cast(size - 1, tf.float32) / tf.cast(tf.maximum(scaled - 1, 1), tf.float32)


def _bilinear(picture: Picture, size: tf.Tensor, scaled: tf.Tensor, offset: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """float32 [*count, C] at `offset` of the picture resized to `scaled`."""
    if scaled is size:
        return tf.cast(picture.window(offset, count), tf.float32)
    step = _step(size, scaled)
    first, last = (tf.cast(place, tf.float32) * step for place in (offset, offset + count - 1))
    low = tf.cast(first, tf.int32)
    high = tf.minimum(tf.cast(last, tf.int32) + 2, size - 1)
    region = picture.window(low, high - low + 1)  # of bytes: the operation reads them as they are
    length = tf.cast(tf.maximum(high - low, 1), tf.float32)
    low = tf.cast(low, tf.float32)
    box = tf.concat([(first - low) / length, tf.minimum((last - low) / length, _LAST)], 0)
    pixels = tf.image.crop_and_resize(region[tf.newaxis], box[tf.newaxis], [0], count)[0]
    return tf.ensure_shape(pixels, [None, None, region.shape[-1]])


def _nearest(picture: Picture, size: tf.Tensor, scaled: tf.Tensor, offset: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """uint8 [*count] at `offset` of the picture of one channel resized to `scaled`."""
    if scaled is size:
        return picture.window(offset, count)[..., 0]
    step = _step(size, scaled)

    def places(axis: int) -> tf.Tensor:
        place = tf.cast(offset[axis] + tf.range(count[axis]), tf.float32) * step[axis]
        below = tf.floor(place)
        # As C rounds; adding a half first would itself be rounded.
        rounded = below + tf.cast(place - below >= 0.5, tf.float32)
        return tf.minimum(tf.cast(rounded, tf.int32), size[axis] - 1)

    rows, columns = places(0), places(1)
    low, high = tf.stack([rows[0], columns[0]]), tf.stack([rows[-1], columns[-1]])
    region = picture.window(low, high - low + 1)[..., 0]
    # Whole rows are gathered, twice: single pixels take five times as long.
    of_rows = tf.transpose(tf.gather(region, rows - low[0]))
    return tf.transpose(tf.gather(of_rows, columns - low[1]))
