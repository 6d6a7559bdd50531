"""What a meta-architecture needs of a backbone: image in, named features out."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence

import tensorflow as tf


class FeatureExtractor(abc.ABC):
    """A plain callable that builds slim layers under its own variable scope; the model owns the variables.

    Features are named by the nominal stride of the stage that they end: `c3` 8, `c4` 16, `c5` 32. With dilation the
    later ones keep stride 8, but the names stay, so a head asks for a stage and not for a layer.

    Attributes:
      scope: name of the outermost variable scope, as in slim's checkpoints (`resnet_v1_50`).
      channel_means, channel_scale: `preprocess` computes (image - means) / scale, RGB in 0..255.
    """

    scope: str
    channel_means: Sequence[float]
    channel_scale: float = 1.0

    def __init__(self, *, filter_scale: float = 1.0, halve_after_c3: bool = False):
        """
        Args:
          filter_scale: share of the filters of each layer that is kept, in (0, 1].
          halve_after_c3: halve height and width behind `c3`, as ICNet's half-resolution branch does
            (arXiv:1704.08545, section 3.2).
        """
        if not 0.0 < filter_scale <= 1.0:
            raise ValueError(f'filter_scale must be in (0, 1], got {filter_scale}')
        self.filter_scale = filter_scale
        self.halve_after_c3 = halve_after_c3

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """uint8 or float [B, H, W, 3] in 0..255 -> float32, mean and scale removed."""
        centred = tf.cast(images, tf.float32) - tf.constant(self.channel_means, tf.float32)
        return centred if self.channel_scale == 1.0 else centred / self.channel_scale

    @abc.abstractmethod
    def __call__(self, images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """Preprocessed [B, H, W, 3] -> {'c3', 'c4', 'c5'}, within the caller's `layer_scope`."""
