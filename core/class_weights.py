"""Weights of classes from how often they occur, so that rare ones are learned too.

Each function takes pixel counts int64 [C] of a data set, ignored pixels left out, and returns float64 [C].
"""

from __future__ import annotations

import numpy as np


def inverse_frequency(pixels: np.ndarray) -> np.ndarray:
    """all pixels / (C' * pixels of the class), C' the classes that occur; 0 for a class that does not.

    All classes then have the same sum of weights, and a pixel weighs 1 on average.
    """
    occurs = pixels > 0
    return np.where(occurs, pixels.sum() / np.maximum(occurs.sum() * pixels, 1), 0.0)


def median_frequency(pixels: np.ndarray, pixels_of_images: np.ndarray) -> np.ndarray:
    """median frequency / frequency (Eigen and Fergus, arXiv:1411.4734, section 6.3.2); 0 for a class without pixels.

    The frequency of a class is its share in the images that show it; the median is over the classes that occur.

    Args:
      pixels: of each class.
      pixels_of_images: of any class, in the images that show the class.
    """
    occurs = pixels > 0
    if not occurs.any():
        return np.zeros(len(pixels))
    frequency = pixels / np.maximum(pixels_of_images, 1)
    return np.where(occurs, np.median(frequency[occurs]) / np.where(occurs, frequency, 1.0), 0.0)


def enet(pixels: np.ndarray) -> np.ndarray:
    """1 / ln(1.02 + share of the class): ENet (Paszke et al., arXiv:1606.02147, section 5.2), within [1.4, 50.5]."""
    return 1.0 / np.log(1.02 + pixels / max(pixels.sum(), 1))
