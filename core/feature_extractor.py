"""What a meta-architecture needs of a backbone: image in, named features of known strides out."""

from __future__ import annotations

import abc
import statistics
from collections.abc import Mapping, Sequence

import tensorflow as tf

from core import layers

_NOMINAL_STRIDES = {'c1': 2, 'c2': 4, 'c3': 8, 'c4': 16, 'c5': 32}


class FeatureExtractor(abc.ABC):
    """A plain callable that builds slim layers under its own variable scope; the model owns the variables.

    Features are named by the nominal stride of the stage that they end: `c1` 2, `c2` 4, `c3` 8, `c4` 16, `c5` 32. The
    names stay when dilation keeps the later ones at a smaller stride; `strides` says the real ones, so a head asks for
    a stage or a stride and never for a layer. `c3`, `c4` and `c5` are always there.

    Attributes:
      scope: name of the outermost variable scope, as in slim's checkpoints (`resnet_v1_50`).
      channel_means, channel_scale: `preprocess` computes (image - means) / scale, channels in 0..255.
      input_channels: of the image; 3 is RGB.
    """

    scope: str
    channel_means: Sequence[float]
    channel_scale: float = 1.0

    def __init__(
        self,
        *,
        filter_scale: float = 1.0,
        output_stride: int = 8,
        halve_at_stride: int | None = None,
        input_channels: int = 3,
        channel_means: Sequence[float] = (),
        channel_scale: float | None = None,
    ):
        """
        Args:
          filter_scale: share of the filters of each layer that is kept, in (0, 1].
          output_stride: 8, 16 or 32; strides beyond it become dilation (Chen et al., arXiv:1606.00915, section 3.1).
          halve_at_stride: halve height and width behind the stage that first ends at this stride, as ICNet's
            half-resolution branch does behind stride 8 (arXiv:1704.08545, section 3.2); None never.
          input_channels: of the image, 1 or more.
          channel_means, channel_scale: instead of the family's own; for weights trained with other preprocessing, or
            for channels that are no colours. The family's own means are three; an image of another number of channels
            has their mean in each.
        """
        if not 0.0 < filter_scale <= 1.0:
            raise ValueError(f'filter_scale must be in (0, 1], got {filter_scale}')
        if output_stride not in (8, 16, 32):
            raise ValueError(f'output_stride must be 8, 16 or 32, got {output_stride}')
        if halve_at_stride not in (None, 8, 16) or (halve_at_stride or 0) > output_stride:
            raise ValueError(f'halve_at_stride must be 8 or 16 and at most output_stride, got {halve_at_stride}')
        if input_channels < 1:
            raise ValueError(f'input_channels must be 1 or more, got {input_channels}')
        if channel_means and len(channel_means) != input_channels:
            raise ValueError(f'channel_means must be {input_channels} numbers, got {list(channel_means)}')
        if channel_scale is not None and channel_scale <= 0:
            raise ValueError(f'channel_scale must be above 0, got {channel_scale}')
        self.filter_scale = filter_scale
        self.output_stride = output_stride
        self.halve_at_stride = halve_at_stride
        self.input_channels = input_channels
        if channel_means:
            self.channel_means = tuple(channel_means)
        elif input_channels != len(self.channel_means):
            self.channel_means = (statistics.mean(self.channel_means),) * input_channels
        if channel_scale is not None:
            self.channel_scale = channel_scale

    @property
    def strides(self) -> dict[str, int]:
        """{feature name: pixels of the image per pixel of the feature}, after dilation and halving."""
        strides = {}
        for name, nominal in _NOMINAL_STRIDES.items():
            stride = min(nominal, self.output_stride)
            halved = self.halve_at_stride is not None and nominal > self.halve_at_stride
            strides[name] = 2 * stride if halved else stride
        return strides

    def deepest(self, stride: int) -> str:
        """The name of the last feature of this stride. Raises ValueError if there is none."""
        names = [name for name, known in self.strides.items() if known == stride]
        if not names:
            raise ValueError(f'no feature of stride {stride}; there are {self.strides}')
        return names[-1]

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """uint8 or float [B, H, W, input_channels] in 0..255 -> float32, mean and scale removed."""
        centred = tf.cast(images, tf.float32) - tf.constant(self.channel_means, tf.float32)
        return centred if self.channel_scale == 1.0 else centred / self.channel_scale

    def _end_stage(self, features: dict[str, tf.Tensor], name: str, net: tf.Tensor) -> tf.Tensor:
        """Records `net` as feature `name`; what the next stage starts from, halved if it is time."""
        features[name] = net
        return layers.halve(net) if _NOMINAL_STRIDES[name] == self.halve_at_stride else net

    @abc.abstractmethod
    def __call__(self, images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """Preprocessed [B, H, W, input_channels] -> {'c3', 'c4', 'c5', ...}, within the caller's `layer_scope`."""


class StrideBudget:
    """Turns the strides of a network past `output_stride` into dilation of what follows.

    `spend(stride)` is called once per strided or plain layer, in order, and gives the stride and the dilation rate to
    build it with. A layer that lost its stride keeps the rate of its inputs; the ones behind it are spread by it.
    """

    def __init__(self, output_stride: int):
        self._output_stride = output_stride
        self._stride = 1
        self.rate = 1

    def spend(self, stride: int) -> tuple[int, int]:
        """(stride, rate) of the next layer, whose nominal stride is `stride`."""
        if stride == 1:
            return 1, self.rate
        if self._stride < self._output_stride:
            self._stride *= stride
            return stride, self.rate
        rate = self.rate
        self.rate *= stride
        return 1, rate
