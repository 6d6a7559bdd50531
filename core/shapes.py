"""Image shapes written on the command line; imports no TensorFlow, so mistakes are answered at once."""

from __future__ import annotations

import argparse

InputShape = tuple[int | None, int | None, int | None]
_FREE = ('none', '-1', '?')


def parse_input_shape(text: str) -> InputShape:
    """`height,width,3` or `batch,height,width,3` -> (batch, height, width), None for what is free.

    A free side is written None, -1 or ?. The three-number form leaves the batch free.
    """
    parts = _split(text)
    if len(parts) not in (3, 4) or parts[-1] != '3':
        raise argparse.ArgumentTypeError(
            f'got {text!r}, expected height,width,3 or batch,height,width,3, for example 1024,2048,3 or None,None,3'
        )
    sides = [None if part.lower() in _FREE else _positive(part, text) for part in parts[:-1]]
    batch, height, width = sides if len(sides) == 3 else (None, *sides)
    return batch, height, width


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
