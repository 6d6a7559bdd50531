"""Image shapes written on the command line; imports no TensorFlow, so mistakes are answered at once."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from core.errors import UsageError

InputShape = tuple[int | None, int | None, int | None]
_FREE = ('none', '-1', '?')


@dataclass(frozen=True)
class WrittenShape:
    """What `--input_shape` says: (batch, height, width), None for what is free, and the channels."""

    sides: InputShape = (None, None, None)
    channels: int | None = None

    def for_channels(self, channels: int) -> InputShape:
        """`sides`; UsageError if the model's images have another number of channels than was written."""
        if self.channels not in (None, channels):
            raise UsageError(
                f'--input_shape: ends with {self.channels} channels, but the config has input_channels: {channels}; '
                f'write height,width,{channels}'
            )
        return self.sides


def parse_input_shape(text: str) -> WrittenShape:
    """`height,width,channels` or `batch,height,width,channels`.

    A free side is written None, -1 or ?. The three-number form leaves the batch free.
    """
    parts = _split(text)
    if len(parts) not in (3, 4) or parts[-1].lower() in _FREE:
        raise argparse.ArgumentTypeError(
            f'got {text!r}, expected height,width,3 or batch,height,width,3, for example 1024,2048,3 or None,None,3'
        )
    sides = [None if part.lower() in _FREE else _positive(part, text) for part in parts[:-1]]
    batch, height, width = sides if len(sides) == 3 else (None, *sides)
    return WrittenShape((batch, height, width), _positive(parts[-1], text))


def parse_size(text: str) -> tuple[int, int]:
    """`height,width` -> the two as integers."""
    parts = _split(text)
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f'got {text!r}, expected height,width, for example 1025,2049')
    return _positive(parts[0], text), _positive(parts[1], text)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.strip().strip('[]()').split(',')]


def _positive(part: str, text: str) -> int:
    if not part.isdecimal() or int(part) < 1:
        raise argparse.ArgumentTypeError(f'got {text!r}: {part!r} is not a whole number of 1 or more')
    return int(part)
