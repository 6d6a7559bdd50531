"""What the network really sees: a picture grid of examples after decoding and augmentation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from builders import config_loader
from core import command_line
from core.errors import UsageError
from core.fields import IMAGE, LABEL
from reports import pictures

_DESCRIPTION = """Draws examples as the network gets them: image | classes | overlay, with a legend.

The train split passes through the config's augmentation steps, in the order and with the seed of a training run; the
eval split is shown as it is stored. Black in the middle column is the ignore label."""
_EXAMPLES = """  python -m dataset_tools.browse_inputs --config_path configs/x.config --output_path grid.png
  python -m dataset_tools.browse_inputs --config_path configs/x.config --output_path grid.png --split eval --num 6
"""
_TITLES = ('image', 'classes', 'overlay')
_PAIRS_PER_ROW = 2


def draw(examples: Sequence[tuple[np.ndarray, np.ndarray]], *, names: Sequence[str], colors: Sequence[Any]):
    """A Pillow picture of pairs (image float32 [H, W, channels] in 0..255, label int [H, W]), two pairs in a row."""
    cells = []
    for image, label in examples:
        shown = pictures.as_rgb(np.rint(image).clip(0, 255).astype(np.uint8))
        cells.append([shown, pictures.colorize(label, colors), pictures.overlay(shown, label, colors)])
    rows = [list(chain.from_iterable(cells[i : i + _PAIRS_PER_ROW])) for i in range(0, len(cells), _PAIRS_PER_ROW)]
    titles = _TITLES * min(_PAIRS_PER_ROW, len(cells))
    return pictures.with_legend(pictures.grid(rows, titles), names, colors)


def main(argv: Sequence[str] | None = None) -> int:
    """Reads the flags, draws, and writes the picture."""
    parser = command_line.make_parser(_DESCRIPTION, _EXAMPLES)
    command_line.add_config_flags(parser)
    parser.add_argument('--output_path', required=True, metavar='PNG')
    parser.add_argument('--num', type=int, default=12, help='examples (default: 12)')
    parser.add_argument('--split', choices=('train', 'eval'), default='train', help='default: train')
    flags = parser.parse_args(argv)
    if flags.num < 1:
        raise UsageError(f'--num: got {flags.num}, choose 1 or more')
    if os.path.isdir(flags.output_path):
        raise UsageError(f'--output_path: {flags.output_path} is a folder, name a .png file')
    if not os.path.isdir(os.path.dirname(os.path.abspath(flags.output_path))):
        raise UsageError(f'--output_path: no such folder: {os.path.dirname(flags.output_path)}')
    config = config_loader.load(flags.config_path, flags.overrides, purpose=flags.split)
    label_map, examples = _examples(config, flags.split, flags.num)
    temporary = f'{flags.output_path}.tmp'
    draw(examples, names=label_map.names, colors=label_map.colors).save(temporary, 'PNG')
    os.replace(temporary, flags.output_path)
    print(f'{len(examples)} examples in {flags.output_path}')
    return 0


def _examples(config: Any, split: str, num: int) -> tuple[Any, list[tuple[np.ndarray, np.ndarray]]]:
    """The label map and up to `num` pairs (image, label)."""
    # After the config is checked: this loads TensorFlow.
    with command_line.quiet_start():
        from builders import input_builder
        from inputs import pipeline

    reader = config.train_input_reader if split == 'train' else config.eval_input_reader
    num_classes = input_builder.num_classes(config)
    label_map = input_builder.build_label_map(reader, num_classes)

    def singles() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        if split == 'eval':
            for example in input_builder.build_eval(config).take(num):
                yield example[IMAGE].numpy(), example[LABEL].numpy()
            return
        for batch in input_builder.build_train(config, batch_size=1).take(num):
            yield batch[IMAGE][0].numpy(), batch[LABEL][0].numpy()

    with pipeline.user_errors():
        return label_map, list(singles())


if __name__ == '__main__':
    command_line.run(main)
