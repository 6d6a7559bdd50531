"""How long one image takes, side by side, so that a busy machine is busy for all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from core.model import SegmentationModel
from core.servable import PREDICTIONS, Servable


def measure(models: Sequence[SegmentationModel], *, size: tuple[int, int], num_images: int) -> list[float]:
    """Median milliseconds of each model from one uint8 image of `size` to class ids, on this machine as it is set up.

    The models take turns, image by image; the first image of each is not counted.
    """
    traced = [Servable(model=model, num_classes=model.num_classes).trace((1, *size)) for model in models]
    rng = np.random.default_rng(0)
    images = [tf.constant(rng.integers(0, 256, (1, *size, model.input_channels)), tf.uint8) for model in models]
    seconds: list[list[float]] = [[] for _ in models]
    for _ in range(num_images + 1):
        for infer, image, taken in zip(traced, images, seconds, strict=True):
            started = time.perf_counter()
            infer(image)[PREDICTIONS].numpy()
            taken.append(time.perf_counter() - started)
    return [round(1000 * statistics.median(taken[1:]), 2) for taken in seconds]
