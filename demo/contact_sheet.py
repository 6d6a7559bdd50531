"""Image, label and prediction side by side, one scene a row, with the names of the colours below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from core import command_line
from core.errors import DataError
from inputs.label_map import LabelMap
from reports import pictures

_EXAMPLES = """  python -m demo.contact_sheet --images scenes/images/val --labels scenes/labels/val \\
    --predictions runs/x/predictions --label_map configs/label_maps/streets.json --output sheet.png
"""


def read_row(image: Path, label: Path, prediction: Path, label_map: LabelMap) -> list[np.ndarray]:
    """[image, label over the image, prediction over the image], each uint8 [H, W, 3]."""
    for path in (label, prediction):
        if not path.is_file():
            raise DataError(f'{path}: not found; it should belong to {image}')
    photo = np.asarray(Image.open(image).convert('RGB'))
    layers = [np.asarray(Image.open(path)) for path in (label, prediction)]
    for path, layer in zip((label, prediction), layers, strict=True):
        if layer.shape != photo.shape[:2]:
            raise DataError(f'{path}: its size is {layer.shape}, that of {image} is {photo.shape[:2]}')
    return [photo, *(pictures.overlay(photo, layer, label_map.colors, alpha=0.65) for layer in layers)]


def make_sheet(images: Path, labels: Path, predictions: Path, *, label_map: LabelMap, num_rows: int) -> Image.Image:
    """The sheet of `num_rows` images, spread evenly over the folder.

    Args:
      images: folder of pictures.
      labels: folder of class-id PNGs of the same names.
      predictions: folder of `<name>_ids.png`, as `predict.py` writes them.
      label_map: names and colours.
      num_rows: how many scenes, 1 or more.

    Raises DataError if there is no image, or one lacks its label or prediction, or sizes differ.
    """
    found = sorted(path for path in images.glob('*') if path.suffix in ('.png', '.jpg'))
    if not found:
        raise DataError(f'{images}: no .png or .jpg in it')
    chosen = found[:: max(len(found) // num_rows, 1)][:num_rows]
    rows = [read_row(p, labels / f'{p.stem}.png', predictions / f'{p.stem}_ids.png', label_map) for p in chosen]
    sheet = pictures.grid(rows, titles=('image', 'label', 'prediction'))
    return pictures.with_legend(sheet, label_map.names, label_map.colors)


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    for name, what in (('images', 'pictures'), ('labels', 'class-id PNGs'), ('predictions', 'class-id PNGs')):
        parser.add_argument(f'--{name}', type=Path, required=True, metavar='DIR', help=what)
    parser.add_argument('--label_map', required=True, metavar='FILE', help='names and colours, JSON')
    parser.add_argument('--output', type=Path, required=True, metavar='FILE', help='the PNG to write')
    parser.add_argument('--num_rows', type=int, default=4, metavar='N', help='scenes to show (default: 4)')
    flags = parser.parse_args(argv)
    label_map = LabelMap.load(flags.label_map)
    sheet = make_sheet(
        flags.images, flags.labels, flags.predictions, label_map=label_map, num_rows=max(flags.num_rows, 1)
    )
    temporary = flags.output.with_name(f'{flags.output.name}.tmp')
    sheet.save(temporary, format='PNG')
    temporary.replace(flags.output)
    return 0


if __name__ == '__main__':
    command_line.run(main)
