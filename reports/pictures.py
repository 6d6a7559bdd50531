"""Class ids as colours, overlays, legends and grids; NumPy and Pillow only.

Colours come as one RGB triple per class, position = class id, each channel in 0..255.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """One evaluated example: image uint8 [H, W, 3], label and prediction integers [H, W]."""

    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray


_GAP = 4
_SWATCH = 14
_BAND = 512
_PAPER = (255, 255, 255)
_INK = (30, 30, 30)


def colorize(class_ids: np.ndarray, colors: Sequence[Color], *, other: Color = (0, 0, 0)) -> np.ndarray:
    """Class ids, any integer kind [H, W] -> uint8 [H, W, 3]; ids without a colour (the ignore label) become `other`."""
    if class_ids.ndim != 2:
        raise ValueError(f'class_ids must be [H, W], got shape {class_ids.shape}')
    table = np.array([*colors, other], np.uint8)
    painted = np.empty((*class_ids.shape, 3), np.uint8)
    for rows in _bands(len(class_ids)):
        known = (class_ids[rows] >= 0) & (class_ids[rows] < len(colors))
        painted[rows] = table[np.where(known, class_ids[rows], len(colors))]
    return painted


def as_rgb(image: np.ndarray) -> np.ndarray:
    """What is shown of an image [H, W, C]: its first three channels; of fewer, the first as grey."""
    return image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)


def overlay(image: np.ndarray, class_ids: np.ndarray, colors: Sequence[Color], *, alpha: float = 0.5) -> np.ndarray:
    """The class colours laid over an image uint8 [H, W, 3]; `alpha` 1 hides it. Ids without a colour let it through."""
    if image.shape[:2] != class_ids.shape:
        raise ValueError(f'the image is {image.shape[:2]}, the class ids are {class_ids.shape}')
    blended = np.empty(image.shape, np.uint8)
    for rows in _bands(len(image)):
        painted = image[rows] * (1 - alpha) + colorize(class_ids[rows], colors) * alpha
        known = (class_ids[rows] >= 0) & (class_ids[rows] < len(colors))
        blended[rows] = np.where(known[..., np.newaxis], np.rint(painted), image[rows])
    return blended


def with_legend(picture: np.ndarray | Image.Image, names: Sequence[str], colors: Sequence[Color]) -> Image.Image:
    """The picture with a strip of colour swatches and class names below, wrapped to its width."""
    drawing = _as_image(picture)
    font = _font()
    places, height = _legend_places(names, drawing.width, font)
    result = Image.new('RGB', (drawing.width, drawing.height + height), _PAPER)
    result.paste(drawing, (0, 0))
    draw = ImageDraw.Draw(result)
    for (x, y), name, color in zip(places, names, colors, strict=True):
        y += drawing.height
        draw.rectangle([x, y, x + _SWATCH - 1, y + _SWATCH - 1], fill=tuple(color), outline=_INK)
        draw.text((x + _SWATCH + _GAP, y + _SWATCH // 2), name, fill=_INK, font=font, anchor='lm')
    return result


def grid(rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str] = ()) -> Image.Image:
    """Pictures uint8 [H, W, 3] in rows and columns, with titles above the columns."""
    if not rows or not any(len(row) for row in rows):
        raise ValueError('a grid needs at least one picture')
    num_columns = max(len(row) for row in rows)
    if len(titles) > num_columns:
        raise ValueError(f'{len(titles)} titles for {num_columns} columns')
    widths = [max(row[c].shape[1] for row in rows if len(row) > c) for c in range(num_columns)]
    heights = [max((picture.shape[0] for picture in row), default=0) for row in rows]
    top = _SWATCH + 2 * _GAP if titles else _GAP
    canvas = Image.new('RGB', (sum(widths) + _GAP * (num_columns + 1), top + sum(heights) + _GAP * len(rows)), _PAPER)
    lefts = [_GAP + sum(widths[:c]) + _GAP * c for c in range(num_columns)]
    for left, title in zip(lefts, titles, strict=False):
        ImageDraw.Draw(canvas).text((left, top // 2), title, fill=_INK, font=_font(), anchor='lm')
    for index, row in enumerate(rows):
        for left, picture in zip(lefts, row, strict=False):
            canvas.paste(_as_image(picture), (left, top + sum(heights[:index]) + _GAP * index))
    return canvas


def _bands(height: int) -> Iterator[slice]:
    """Rows in parts, so that what is computed on the way stays small beside a large picture."""
    return (slice(top, top + _BAND) for top in range(0, height, _BAND))


def _legend_places(
    names: Sequence[str], width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> tuple[list[tuple[int, int]], int]:
    """Top left corner of each entry within the strip, and the height of the strip."""
    places, x, y = [], _GAP, _GAP
    for name in names:
        entry = _SWATCH + 3 * _GAP + round(font.getlength(name))
        if x > _GAP and x + entry > width:
            x, y = _GAP, y + _SWATCH + _GAP
        places.append((x, y))
        x += entry
    return places, y + _SWATCH + _GAP


def _as_image(picture: np.ndarray | Image.Image) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture.convert('RGB')
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
        raise ValueError(f'a picture must be uint8 [H, W, 3], got {picture.dtype} {list(picture.shape)}')
    return Image.fromarray(picture)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(11)
