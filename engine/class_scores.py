"""Class probabilities of an image from all its views, in patches, so that an image of any size fits into memory.

A pixel's probabilities are the mean over scales (and over the mirrored view, if asked for) of softmax probabilities,
and where windows overlap their weighted mean. That is the testing of PSPNet (Zhao et al. 2017, arXiv:1612.01105,
section 5.1), whose windows overlap by a third and count alike.

An image is worked off in vertical stripes, each from top to bottom in bands of rows. A stripe remembers the rows that
its last row of windows covers, never more; its width follows from `BUDGET_BYTES`. Windows that lie across the border
of two stripes are computed for both, so a result does not depend on where borders lie.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from core import windows
from engine.views import Views

# Pixels float32 or uint8 [h, w, 3] in 0..255 -> probabilities float32 [h, w, C].
Scores = Callable[[np.ndarray], np.ndarray]

BUDGET_BYTES = 512 << 20
_BAND = 128


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patch:
    """Probabilities float32 [rows, columns, C] of a part of the image."""

    rows: slice
    columns: slice
    probabilities: np.ndarray


def patches(
    image: np.ndarray, views: Views, scores: Scores, *, num_classes: int, budget_bytes: int = BUDGET_BYTES
) -> Iterator[Patch]:
    """The patches of an image [H, W, 3], which cover each pixel once.

    Args:
      scores: the network's answer to one view; it does the flipping, see `flipped`.
      num_classes: C.
      budget_bytes: about the memory for probabilities, where windows make it free to choose. Without windows the
        whole image is one view and the budget has no effect.
    """
    height, width = image.shape[:2]
    scores = flipped(scores) if views.flip else scores
    for columns in _stripes(height, width, views, num_classes, budget_bytes):
        planes = [_Plane(image, scale, views, scores, columns) for scale in views.scales]
        for top in range(0, height, _BAND):
            rows = slice(top, min(top + _BAND, height))
            total = planes[0].sample(rows, columns)
            for plane in planes[1:]:
                total += plane.sample(rows, columns)
            if len(planes) > 1:
                total /= len(planes)
            yield Patch(rows=rows, columns=columns, probabilities=total)


def class_ids(image: np.ndarray, views: Views, scores: Scores, *, num_classes: int) -> np.ndarray:
    """The most probable class of each pixel, uint8 (int32 above 256 classes) [H, W]; the lowest id of equals."""
    ids = np.empty(image.shape[:2], np.uint8 if num_classes <= 256 else np.int32)
    for patch in patches(image, views, scores, num_classes=num_classes):
        ids[patch.rows, patch.columns] = patch.probabilities.argmax(-1)
    return ids


def stitched(image: np.ndarray, views: Views, predict: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Class ids [H, W] where the network answers nothing but class ids: each pixel's are of the window nearest to it.

    Args:
      views: with a window, one scale of 1 and no flip: class ids have no mean.
      predict: pixels [h, w, 3] -> class ids [h, w].
    """
    if views.window is None or views.scales != (1.0,) or views.flip:
        raise ValueError(f'class ids can be stitched, not averaged: {views.describe()}')
    axes = []
    for length, window in zip(image.shape[:2], views.window, strict=True):
        window = min(window, length)
        begins = windows.starts(length, window, views.overlap)
        cells = windows.cells(begins, window, length)
        axes.append([(slice(begin, begin + window), cell) for begin, cell in zip(begins, cells, strict=True)])
    ids: np.ndarray | None = None
    for rows, own_rows in axes[0]:
        for columns, own_columns in axes[1]:
            answer = predict(image[rows, columns])
            ids = np.empty(image.shape[:2], answer.dtype) if ids is None else ids
            ids[own_rows, own_columns] = answer[_within(own_rows, rows), _within(own_columns, columns)]
    assert ids is not None
    return ids


def flipped(scores: Scores) -> Scores:
    """The mean of the answers to a view and to its mirror image."""

    def mean(pixels: np.ndarray) -> np.ndarray:
        return (scores(pixels) + scores(pixels[:, ::-1])[:, ::-1]) * np.float32(0.5)

    return mean


class _Plane:
    """Blended probabilities of the image at one scale within one stripe, made from top to bottom as they are needed.

    Args:
      columns: the stripe, in columns of the image at its own size.
    """

    def __init__(self, image: np.ndarray, scale: float, views: Views, scores: Scores, columns: slice):
        self._image, self._scores = image, scores
        self._own_size = (image.shape[0], image.shape[1])
        self._size = scaled_size(*self._own_size, scale)
        window = views.window or self._size
        self._window = (min(window[0], self._size[0]), min(window[1], self._size[1]))
        begins = [windows.starts(n, w, views.overlap) for n, w in zip(self._size, self._window, strict=True)]
        self._weights = [
            windows.weights(b, w, n, views.blend) for b, w, n in zip(begins, self._window, self._size, strict=True)
        ]
        self._tops, self._lefts = begins
        taps = _taps(columns, self._own_size[1], self._size[1])
        self._columns = slice(int(taps[0][0]), int(taps[1][-1]) + 1)
        self._next = 0  # row of windows
        self._first = self._final = 0  # rows of the buffer: the first one, and the end of those that are finished
        self._buffer: np.ndarray | None = None

    def sample(self, rows: slice, columns: slice) -> np.ndarray:
        """Probabilities at rows and columns of the image's own size, a new array; rows must not go back."""
        row_taps = _taps(rows, self._own_size[0], self._size[0])
        column_taps = _taps(columns, self._own_size[1], self._size[1])
        first, end = int(row_taps[0][0]), int(row_taps[1][-1]) + 1
        band = self._rows(first, end)
        if self._size == self._own_size:
            return band.copy()
        return _interpolate(band, _shifted(row_taps, first), _shifted(column_taps, self._columns.start))

    def _rows(self, first: int, end: int) -> np.ndarray:
        """Finished rows of the stripe; those before `first` are forgotten."""
        while self._final < end:
            self._add_row_of_windows(first)
        assert self._buffer is not None
        return self._buffer[first - self._first : end - self._first]

    def _add_row_of_windows(self, first: int) -> None:
        number, top = self._next, self._tops[self._next]
        for left, weight in zip(self._lefts, self._weights[1], strict=True):
            begin, end = max(left, self._columns.start), min(left + self._window[1], self._columns.stop)
            if begin >= end:
                continue
            answer = self._scores(self._pixels(slice(top, top + self._window[0]), slice(left, left + self._window[1])))
            buffer = self._grown(min(first, top), top + self._window[0], answer.shape[-1])
            target = buffer[top - self._first :, begin - self._columns.start : end - self._columns.start]
            part, weight = answer[:, begin - left : end - left], weight[begin - left : end - left]
            target += part * (self._weights[0][number][:, np.newaxis] * weight)[..., np.newaxis]
        self._next += 1
        self._final = self._tops[self._next] if self._next < len(self._tops) else self._size[0]

    def _grown(self, first: int, end: int, num_classes: int) -> np.ndarray:
        """The buffer of rows `first` to `end`, new rows 0."""
        shape = (self._columns.stop - self._columns.start, num_classes)
        if self._buffer is None:
            self._first, self._buffer = first, np.zeros((end - first, *shape), np.float32)
        elif self._first + len(self._buffer) < end:
            kept = self._buffer[max(0, first - self._first) :]
            self._first = max(self._first, first)
            self._buffer = np.zeros((end - self._first, *shape), np.float32)
            self._buffer[: len(kept)] = kept
        return self._buffer

    def _pixels(self, rows: slice, columns: slice) -> np.ndarray:
        """A window of the scaled image, resized from the pixels that it needs."""
        if self._size == self._own_size:
            return self._image[rows, columns]
        taps = [
            _taps(part, scaled, own)
            for part, scaled, own in zip((rows, columns), self._size, self._own_size, strict=True)
        ]
        top, left = int(taps[0][0][0]), int(taps[1][0][0])
        needed = self._image[top : int(taps[0][1][-1]) + 1, left : int(taps[1][1][-1]) + 1]
        return _interpolate(needed.astype(np.float32), _shifted(taps[0], top), _shifted(taps[1], left))


Taps = tuple[np.ndarray, np.ndarray, np.ndarray]


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Sides times `scale`, rounded, at least 1."""
    return max(1, round(height * scale)), max(1, round(width * scale))


def _taps(part: slice, length: int, source_length: int) -> Taps:
    """For pixels `part` of an axis of `length`: the two source pixels around each, and the share of the second.

    Corners are aligned, as everywhere in this project (`core.layers.resize_bilinear`).
    """
    ratio = (source_length - 1) / (length - 1) if length > 1 else 0.0
    places = np.arange(part.start, part.stop) * ratio
    lower = np.minimum(np.floor(places).astype(np.int64), source_length - 1)
    upper = np.minimum(np.ceil(places).astype(np.int64), source_length - 1)
    return lower, upper, (places - lower).astype(np.float32)


def _shifted(taps: Taps, origin: int) -> Taps:
    return taps[0] - origin, taps[1] - origin, taps[2]


def _interpolate(values: np.ndarray, rows: Taps, columns: Taps) -> np.ndarray:
    """Bilinear samples of float32 [h, w, K]: [rows, columns, K]."""
    vertical = _mix(values[rows[0]], values[rows[1]], rows[2][:, np.newaxis, np.newaxis])
    return _mix(vertical[:, columns[0]], vertical[:, columns[1]], columns[2][:, np.newaxis])


def _mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """first + share * (second - first), in the memory of both."""
    second -= first
    second *= share
    first += second
    return first


def _stripes(height: int, width: int, views: Views, num_classes: int, budget_bytes: int) -> list[slice]:
    """Parts of the width, of almost equal length, each narrow enough for the budget but no narrower than a window."""
    if views.window is None:
        return [slice(0, width)]
    kept_rows = sum(scale * (min(views.window[0], height * scale) + _BAND * scale) for scale in views.scales)
    column_bytes = 4 * num_classes * (kept_rows + 3 * _BAND)
    widest = max(budget_bytes // column_bytes, math.ceil(views.window[1] / min(views.scales)), 1)
    count = math.ceil(width / widest)
    borders = [round(i * width / count) for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(borders)]


def _within(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)
