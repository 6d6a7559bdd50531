"""How often each class occurs in the records of a config, and the class weights that follow; counted once and kept."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

from builders import config_loader
from core import command_line

_EXAMPLES = """  python -m dataset_tools.class_histogram --config_path configs/x.config
  python -m dataset_tools.class_histogram --config_path configs/x.config --split eval --json

The counts are those of the labels as they are stored, before any augmentation. They are kept beside the records as
class_histogram-<hash>.json, where training finds them if the config has a class_weighting. See docs/losses.md.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Reads the flags, counts, prints a table or one JSON object."""
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    command_line.add_config_flags(parser)
    parser.add_argument('--split', choices=('train', 'eval'), default='train', help='default: train')
    command_line.add_boolean(parser, 'json', default=False, help='one JSON object instead of the table')
    flags = parser.parse_args(argv)
    config = config_loader.load(flags.config_path, flags.overrides, purpose=flags.split)
    logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)
    content = _content(config, flags.split)
    print(json.dumps(content, indent=1) if flags.json else _table(content))
    return 0


def _content(config: Any, split: str) -> dict[str, Any]:
    """`num_examples`, `ignored_pixels`, and of each class by name its counts and weights."""
    # After the config is checked: this loads TensorFlow.
    with command_line.quiet_start():
        from builders import input_builder, losses_builder
        from inputs import class_histogram
        from protos.losses_pb2 import SoftmaxClassificationLoss

    reader = config.train_input_reader if split == 'train' else config.eval_input_reader
    num_classes = input_builder.num_classes(config)
    names = input_builder.build_label_map(reader, num_classes).names
    histogram = class_histogram.of_records(
        reader.tf_record_input_reader.input_path,
        num_classes=num_classes,
        ignore_label=getattr(config.model, config.model.WhichOneof('model')).loss.ignore_label,
    )
    weights = {
        SoftmaxClassificationLoss.ClassWeighting.Name(number): weigh(histogram).tolist()
        for number, weigh in losses_builder.WEIGHTINGS.items()
    }
    total = max(sum(histogram.pixels), 1)
    classes = {
        name: {
            'images': histogram.images[i],
            'pixels': histogram.pixels[i],
            'share': histogram.pixels[i] / total,
            **{scheme: values[i] for scheme, values in weights.items()},
        }
        for i, name in enumerate(names)
    }
    return {
        'num_examples': histogram.num_examples,
        'ignored_pixels': histogram.ignored_pixels,
        'classes': classes,
    }


def _table(content: dict[str, Any]) -> str:
    width = max(len('class'), *map(len, content['classes']))
    schemes = list(next(iter(content['classes'].values())))[3:]
    lines = [f'{"class":{width}} {"images":>8} {"pixels":>14} {"share":>8}' + ''.join(f' {s:>17}' for s in schemes)]
    for name, row in content['classes'].items():
        counts = f'{name:{width}} {row["images"]:>8} {row["pixels"]:>14} {row["share"]:>8.3%}'
        lines.append(counts + ''.join(f' {row[scheme]:>17.4g}' for scheme in schemes))
    return '\n'.join([*lines, f'{content["num_examples"]} labels, {content["ignored_pixels"]} pixels ignored'])


if __name__ == '__main__':
    command_line.run(main)
