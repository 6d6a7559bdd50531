"""Is a pixel that is predicted with confidence 0.8 right four times of five?"""

from __future__ import annotations

import numpy as np

NUM_BINS = 15


class CalibrationCounter:
    """The reliability curve and the expected calibration error of Guo et al. 2017, arXiv:1706.04599, equation 3.

    Confidence is the largest softmax probability. ECE = sum over bins of (pixels in it / all pixels) *
    |accuracy of the bin - its mean confidence|, 15 bins of equal width, as there.

    Attributes:
      pixels, right: int64 [bins].
      confidence: float64 [bins], sums.

    Args:
      ignore_label: pixels that do not count.
    """

    def __init__(self, *, ignore_label: int):
        self._ignore_label = ignore_label
        self.pixels, self.right = np.zeros(NUM_BINS, np.int64), np.zeros(NUM_BINS, np.int64)
        self.confidence = np.zeros(NUM_BINS)

    def add(self, labels: np.ndarray, predictions: np.ndarray, confidence: np.ndarray) -> None:
        """Adds one image.

        Args:
          labels: integers [H, W].
          predictions: integers [H, W].
          confidence: float32 [H, W] in 0..1.
        """
        # Bin i holds (i / 15, (i + 1) / 15]; ignored pixels go to a bin behind the last.
        bins = np.ceil(confidence * np.float32(NUM_BINS)).astype(np.uint8)
        np.clip(bins, 1, NUM_BINS, out=bins)
        bins -= 1
        codes = (bins << 1) | (labels == predictions).view(np.uint8)
        codes[labels == self._ignore_label] = 2 * NUM_BINS
        codes = codes.ravel().astype(np.intp)
        counts = np.bincount(codes, minlength=2 * NUM_BINS + 1)[:-1].reshape(NUM_BINS, 2)
        sums = np.bincount(codes, weights=confidence.ravel(), minlength=2 * NUM_BINS + 1)[:-1]
        self.pixels += counts.sum(1)
        self.right += counts[:, 1]
        self.confidence += sums.reshape(NUM_BINS, 2).sum(1)

    def summary(self) -> dict | None:
        """`calibration` of metrics.json; None if no pixel was counted. An empty bin has no confidence, no accuracy."""
        total = int(self.pixels.sum())
        if not total:
            return None
        bins = [
            {
                'range': [i / NUM_BINS, (i + 1) / NUM_BINS],
                'confidence': float(self.confidence[i]) / n if n else None,
                'accuracy': int(self.right[i]) / n if n else None,
                'share': n / total,
            }
            for i, n in enumerate(self.pixels.tolist())
        ]
        gaps = np.abs(self.right - self.confidence).sum()
        return {'ece': float(gaps / total), 'bins': bins}
