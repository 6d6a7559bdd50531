"""A synthetic street-scene data set: rendered pictures with exact labels, in folders."""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from core import command_line
from core.errors import UsageError, UserError
from dataset_tools import street_renderer
from inputs.label_map import LabelMap

_LABEL_MAP = Path(__file__).resolve().parent.parent / 'configs' / 'label_maps' / 'streets.json'
_SPLITS = ('train', 'val')
_DESCRIPTION = """Renders street scenes (sky, road, pavement, building, tree, car, person, pole) with their labels.

Writes <output_dir>/images/{train,val}/NNNNN.png, labels/{train,val}/NNNNN.png (class ids, 255 on borders between
classes) and label_map.json. Each picture depends on the seed, the split and its number alone."""
_EXAMPLES = """  python -m dataset_tools.make_street_scenes --output_dir streets
  python -m dataset_tools.make_street_scenes --output_dir streets --num_train 1000 --num_val 200 --size 512x256
"""


def render_file(task: tuple[str, int], *, output_dir: str, size: tuple[int, int], seed: int) -> None:
    """Renders picture `index` of a split; both files are renamed into place, the label last."""
    split, index = task
    rng = np.random.default_rng([seed, _SPLITS.index(split), index])
    image, class_ids = street_renderer.render(rng, height=size[0], width=size[1])
    for folder, array in (('images', image), ('labels', class_ids)):
        path = Path(output_dir, folder, split, f'{index:05d}.png')
        temporary = path.with_suffix('.tmp')
        Image.fromarray(array).save(temporary, 'PNG', compress_level=3)
        temporary.replace(path)


def make(*, output_dir: str, counts: dict[str, int], size: tuple[int, int], seed: int, num_processes: int) -> None:
    """Renders every split in parallel.

    Args:
      output_dir: made if it is not there; it must not hold pictures of these folders yet.
      counts: {split: number of pictures}.
      size: (height, width).
      seed: 0 or more.
      num_processes: the pictures do not depend on it.
    """
    for folder in ('images', 'labels'):
        for split in counts:
            path = Path(output_dir, folder, split)
            if path.is_dir() and any(path.iterdir()):
                raise UserError(f'--output_dir: {path} is not empty; choose another folder or remove it')
            path.mkdir(parents=True, exist_ok=True)
    tasks = [(split, index) for split, count in counts.items() for index in range(count)]
    work = functools.partial(render_file, output_dir=output_dir, size=size, seed=seed)
    with multiprocessing.get_context('spawn').Pool(num_processes) as pool:
        for _ in tqdm(pool.imap_unordered(work, tasks, chunksize=4), total=len(tasks), unit='image', mininterval=0.5):
            pass
    LabelMap.load(_LABEL_MAP).save(Path(output_dir, 'label_map.json'))


def main(argv: Sequence[str] | None = None) -> int:
    """Reads the flags and renders both splits."""
    parser = command_line.make_parser(_DESCRIPTION, _EXAMPLES)
    parser.add_argument('--output_dir', required=True, metavar='DIR')
    parser.add_argument('--num_train', type=int, default=300, help='default: 300')
    parser.add_argument('--num_val', type=int, default=60, help='default: 60')
    parser.add_argument('--size', type=_size, default=(256, 384), metavar='WxH', help='default: 384x256')
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    parser.add_argument('--num_processes', type=int, default=os.cpu_count() or 1, help='default: one per core')
    flags = parser.parse_args(argv)
    for name in ('num_train', 'num_val', 'seed'):
        if getattr(flags, name) < 0:
            raise UsageError(f'--{name}: got {getattr(flags, name)}, choose 0 or more')
    if flags.num_processes < 1:
        raise UsageError(f'--num_processes: got {flags.num_processes}, choose 1 or more')
    counts = {'train': flags.num_train, 'val': flags.num_val}
    make(
        output_dir=flags.output_dir, counts=counts, size=flags.size, seed=flags.seed, num_processes=flags.num_processes
    )
    print(f'{sum(counts.values())} scenes in {flags.output_dir}')
    return 0


def _size(text: str) -> tuple[int, int]:
    """`384x256`, width first, -> (height, width)."""
    match = re.fullmatch(r'(\d+)x(\d+)', text)
    if not match or min(int(side) for side in match.groups()) < 64:
        raise argparse.ArgumentTypeError(f'got {text!r}, write WIDTHxHEIGHT, 64 or more each')
    return int(match[2]), int(match[1])


if __name__ == '__main__':
    command_line.run(main)
