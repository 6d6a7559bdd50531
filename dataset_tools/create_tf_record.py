"""Any data set of images and label pictures -> TFRecords."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from core import command_line
from core.errors import UsageError
from dataset_tools import pairs as pair_lists
from inputs.label_map import LabelMap

_IMAGE_ENDINGS = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff')
_DESCRIPTION = """Converts images with label pictures (class ids in one channel, or in a palette) into TFRecord shards.

Pairs come from --images and --labels, folders (searched at all depths) or globs, matched by name once the suffixes are
cut; or from --pairs, a CSV of `image,label` relative to its own folder. The label map says which ids are classes;
--remap changes ids on the way."""
_EXAMPLES = """  python -m dataset_tools.create_tf_record --images streets/images/train --labels streets/labels/train \\
      --label_map streets/label_map.json --name streets_train.record --output_dir data
  python -m dataset_tools.create_tf_record --images 'raw/*_rgb.jpg' --labels 'raw/*_ids.png' --image_suffix _rgb.jpg \\
      --label_suffix _ids.png --num_classes 5 --remap 0:255,1:0,2:1 --name raw.record --output_dir data
  python -m dataset_tools.create_tf_record --pairs pairs.csv --num_classes 3 --name pairs.record --output_dir data
"""


def find_pairs(flags: argparse.Namespace) -> list[pair_lists.Pair]:
    """Pairs by --pairs, or by --images and --labels; without --labels, images alone."""
    if flags.pairs:
        if flags.images or flags.labels:
            raise UsageError('--pairs: give either --pairs, or --images and --labels')
        return pair_lists.read_list(flags.pairs, root=os.path.dirname(os.path.abspath(flags.pairs)), delimiter=',')
    if not flags.images:
        raise UsageError('--images: not set; give --images and --labels, or --pairs')
    images = _files(flags.images, '--images', flags.image_suffix)
    if not flags.labels:
        return [pair_lists.Pair(image, None) for image in images]
    labels = _files(flags.labels, '--labels', flags.label_suffix)
    return pair_lists.match_stems(
        images, labels, image_suffix=flags.image_suffix, label_suffix=flags.label_suffix, roots=_roots(flags)
    )


def read_remap(text: str) -> dict[int, int]:
    """`0:255,1:0` -> {0: 255, 1: 0}."""
    try:
        table = {int(old): int(new) for old, new in (entry.split(':') for entry in text.split(',') if entry)}
    except ValueError:
        raise argparse.ArgumentTypeError(f'got {text!r}, write old:new,old:new, for example 0:255,1:0') from None
    wrong = [i for i in (*table, *table.values()) if not 0 <= i <= 255]
    if wrong:
        raise argparse.ArgumentTypeError(f'ids must be 0..255, got {wrong[0]}')
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Reads the flags and converts."""
    flags = _parser().parse_args(argv)
    arguments = pair_lists.output_arguments(flags)
    if not flags.name or os.path.basename(flags.name) != flags.name:
        raise UsageError(f'--name: got {flags.name!r}, choose a file name such as train.record; see --output_dir')
    if bool(flags.label_map) == bool(flags.num_classes):
        raise UsageError('--label_map: give either a label map file or --num_classes')
    label_map = LabelMap.load(flags.label_map) if flags.label_map else _numbered(flags.num_classes)
    pairs = find_pairs(flags)

    # After the flags are checked: this loads TensorFlow.
    with command_line.quiet_start():
        from dataset_tools.conversion import read_ids, remapped
        from dataset_tools.record_writer import write_records

    manifest = write_records(
        pairs, name=flags.name, label_map=label_map, read_label=remapped(read_ids, flags.remap), **arguments
    )
    print(f'{manifest["num_examples"]} examples in {os.path.join(flags.output_dir, manifest["name"])}-*')
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line.make_parser(_DESCRIPTION, _EXAMPLES)
    parser.add_argument('--images', metavar='DIR|GLOB')
    parser.add_argument('--labels', metavar='DIR|GLOB', help='leave it out to pack images alone, to predict only')
    parser.add_argument('--pairs', metavar='CSV', help='instead of --images and --labels')
    parser.add_argument('--image_suffix', default='', help="what an image's name has after the common part")
    parser.add_argument('--label_suffix', default='', help='the same of labels; default: any file ending')
    parser.add_argument('--label_map', metavar='JSON', help='names, ids and colours of the classes')
    parser.add_argument('--num_classes', type=int, help='instead of --label_map: classes are numbered')
    parser.add_argument('--remap', type=read_remap, default={}, metavar='OLD:NEW,...', help='ids changed on the way')
    parser.add_argument('--name', required=True, help='of the records: streets_train.record')
    pair_lists.add_output_flags(parser, num_shards=4)
    return parser


def _files(place: str, flag: str, suffix: str) -> list[str]:
    """Pictures below a folder, or those that match a glob."""
    paths = pair_lists.find('**/*', flag, folder=place) if os.path.isdir(place) else pair_lists.find(place, flag)
    kept = [path for path in paths if path.endswith(suffix or _IMAGE_ENDINGS)]
    if not kept:
        raise UsageError(f'{flag}: no pictures in {place}' + (f' whose names end in {suffix}' if suffix else ''))
    return kept


def _roots(flags: argparse.Namespace) -> tuple[str, str] | None:
    """The two folders, if both places are folders: then the way below them must agree too."""
    both = (flags.images, flags.labels)
    return both if all(os.path.isdir(place) for place in both) else None


def _numbered(num_classes: int) -> LabelMap:
    if not 1 <= num_classes <= 255:
        raise UsageError(f'--num_classes: got {num_classes}, choose 1..255')
    return LabelMap.default(num_classes)


if __name__ == '__main__':
    command_line.run(main)
