"""How the network looks at an image: whole or through windows, at which scales, mirrored too or not."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from core import command_line, shapes, windows
from core.errors import UsageError

DEFAULT_OVERLAP = 1 / 3
MAX_SCALE = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Views:
    """What is shown to the network for one image; the softmax probabilities of all views are averaged.

    Attributes:
      window: (height, width) in pixels of a window that slides over the image, at every scale; None shows it whole.
      overlap: least share of a window that its neighbours see as well, 0 to below 1.
      blend: a key of `core.windows.BLENDS`.
      scales: the image's sides are multiplied by each; the network's answers come back at its own size.
      flip: each view also mirrored left to right.
    """

    window: tuple[int, int] | None = None
    overlap: float = DEFAULT_OVERLAP
    blend: str = 'gaussian'
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def __post_init__(self):
        if self.window is not None and min(self.window) < 1:
            raise ValueError(f'window must be 1 x 1 or more, got {self.window}')
        if not 0 <= self.overlap < 1:
            raise ValueError(f'overlap must be from 0 to below 1, got {self.overlap}')
        if self.blend not in windows.BLENDS:
            raise ValueError(f'blend: got {self.blend!r}, choose from {sorted(windows.BLENDS)}')
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f'scales must be above 0, got {self.scales}')

    @classmethod
    def from_config(cls, inference: Any) -> Views:
        """Of `eval_config.inference`, validated."""
        sliding = inference.sliding_window
        return cls(
            window=(sliding.height, sliding.width) if inference.HasField('sliding_window') else None,
            overlap=sliding.overlap,
            blend=sliding.Blend.Name(sliding.blend).lower(),
            scales=tuple(inference.scale) or (1.0,),
            flip=inference.flip,
        )

    @classmethod
    def from_flags(cls, args: argparse.Namespace, inference: Any = None) -> Views:
        """Of `add_flags`; what no flag says is as in `eval_config.inference`, if there is one."""
        given = {name: value for name, value in vars(args).items() if name in _FLAGS and value is not None}
        views = cls() if inference is None else cls.from_config(inference)
        if ('overlap' in given or 'blend' in given) and views.window is None and 'window' not in given:
            raise UsageError('--overlap and --blend are about windows: give their size by --window')
        return dataclasses.replace(views, **given)

    def shows_whole(self, height: int, width: int) -> bool:
        """Whether an image of this size is seen once, whole, as it is: then no probabilities have to be averaged."""
        one_window = self.window is None or (self.window[0] >= height and self.window[1] >= width)
        return one_window and self.scales == (1.0,) and not self.flip

    def describe(self) -> str:
        """For `metrics.json`: `whole image`, or the windows, scales and flip in words."""
        parts = ['whole image']
        if self.window:
            parts = [f'windows of {self.window[0]} x {self.window[1]}, overlap {self.overlap:.3g}, {self.blend}']
        if self.scales != (1.0,):
            parts.append(f'scales {", ".join(f"{scale:.4g}" for scale in self.scales)}')
        return ', '.join([*parts, 'flipped too'] if self.flip else parts)

    def check_padding(self, pad_to_shape: tuple[int, int] | None) -> None:
        """UsageError if images are also padded to one size: each window would be."""
        if self.window and pad_to_shape:
            raise UsageError(
                '--pad_to_shape: pads every window too; leave it out, or the sliding window (--window, '
                'eval_config.inference.sliding_window)'
            )


WHOLE_IMAGE = Views()

_FLAGS = tuple(field.name for field in dataclasses.fields(Views))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """`--window`, `--overlap`, `--blend`, `--scales` and `--flip`, each None where it is not given."""
    group = parser.add_argument_group('how the network looks at an image (default: as eval_config.inference says)')
    group.add_argument(
        '--window',
        type=shapes.parse_size,
        metavar='HEIGHT,WIDTH',
        help='show the image through sliding windows of this size, in bounded memory (default: the whole image)',
    )
    group.add_argument(
        '--overlap',
        type=_overlap,
        metavar='SHARE',
        help='least share of a window that its neighbour sees as well, from 0 to below 1 (default: a third)',
    )
    group.add_argument(
        '--blend',
        choices=sorted(windows.BLENDS),
        help='how the weight of a window falls from its middle to its border (default: gaussian)',
    )
    group.add_argument(
        '--scales',
        type=_scales,
        metavar='LIST',
        help='average over the image at these scales, for example 0.75,1,1.25 (default: 1)',
    )
    command_line.add_boolean(group, 'flip', default=None, help='average over the image and its mirror image')


def _overlap(text: str) -> float:
    value = _number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f'got {text!r}, choose from 0 to below 1')
    return value


def _scales(text: str) -> tuple[float, ...]:
    values = tuple(_number(part) for part in text.strip().strip('[]').split(','))
    if not all(0 < value <= MAX_SCALE for value in values):
        raise argparse.ArgumentTypeError(f'got {text!r}, choose numbers above 0, up to {MAX_SCALE}')
    return values


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'got {text!r}, expected a number') from None
