"""Cityscapes -> TFRecords with the 19 train ids; needs no other repository."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence

from core import command_line
from core.errors import DataError, UsageError
from dataset_tools import cityscapes_labels
from dataset_tools import pairs as pair_lists

_IMAGE_SUFFIX = '_leftImg8bit.png'
_SUFFIXES = {
    'label_train_ids': 'labelTrainIds.png',
    'label_ids': 'labelIds.png',
    'polygons': 'polygons.json',
}
_SPLITS = ('train', 'val', 'test', 'train_extra')
_DESCRIPTION = """Converts Cityscapes into TFRecord shards named cityscapes_<split>.record-00000-of-000NN.

Reads <cityscapes_dir>/leftImg8bit/<split>/<city>/*_leftImg8bit.png and the labels beside in gtFine (gtCoarse for
train_extra). Labels may be labelTrainIds or labelIds pictures, or the polygon files; ids become the 19 train ids, all
else the ignore label 255. The test split has no public labels: without label files its images are packed alone."""
_EXAMPLES = """  python -m dataset_tools.create_cityscapes_tf_record --cityscapes_dir cityscapes --split_type train \\
      --output_dir data
  python -m dataset_tools.create_cityscapes_tf_record --cityscapes_dir cityscapes --split_type train_extra \\
      --output_dir data --num_shards 100
  python -m dataset_tools.create_cityscapes_tf_record --split_type val --output_dir data \\
      --input_pattern 'x/*_leftImg8bit.png' --annot_pattern 'y/*_labelIds.png'
"""


def find_pairs(flags: argparse.Namespace) -> tuple[list[pair_lists.Pair], str]:
    """The pairs and the kind of their labels, a key of the table of suffixes."""
    if flags.cityscapes_dir:
        return _from_folders(flags)
    if not (flags.input_pattern and flags.annot_pattern):
        raise UsageError('--cityscapes_dir: not set; give it, or --input_pattern and --annot_pattern')
    images = pair_lists.find(flags.input_pattern, '--input_pattern')
    labels = pair_lists.find(flags.annot_pattern, '--annot_pattern')
    kind = flags.label_type or _kind_of(labels[0])
    if all(path.endswith(_IMAGE_SUFFIX) for path in images):
        for annotation in ('_gtFine_', '_gtCoarse_'):
            if all(path.endswith(annotation + _SUFFIXES[kind]) for path in labels):
                suffix = annotation + _SUFFIXES[kind]
                return pair_lists.match_stems(images, labels, image_suffix=_IMAGE_SUFFIX, label_suffix=suffix), kind
    return pair_lists.match_in_order(images, labels), kind


def main(argv: Sequence[str] | None = None) -> int:
    """Reads the flags and converts one split."""
    flags = _parser().parse_args(argv)
    arguments = pair_lists.output_arguments(flags)
    pairs, kind = find_pairs(flags)

    # After the flags are checked: this loads TensorFlow.
    with command_line.quiet_start():
        from dataset_tools.conversion import read_ids, remapped
        from dataset_tools.record_writer import write_records

    readers = {
        'label_train_ids': read_ids,
        'label_ids': remapped(read_ids, dict(cityscapes_labels.TRAIN_IDS)),
        'polygons': cityscapes_labels.draw_polygons,
    }
    manifest = write_records(
        pairs,
        name=f'cityscapes_{flags.split_type}.record',
        label_map=cityscapes_labels.label_map(),
        read_label=readers[kind],
        instance_path=_instance_path(kind) if flags.instances else None,
        **arguments,
    )
    print(f'{manifest["num_examples"]} examples in {os.path.join(flags.output_dir, manifest["name"])}-*')
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line.make_parser(_DESCRIPTION, _EXAMPLES)
    parser.add_argument('--cityscapes_dir', metavar='DIR', help='the folder with leftImg8bit/ and gtFine/ or gtCoarse/')
    parser.add_argument('--split_type', required=True, choices=_SPLITS)
    parser.add_argument('--input_pattern', metavar='GLOB', help='images, instead of --cityscapes_dir')
    parser.add_argument('--annot_pattern', metavar='GLOB', help='labels of --input_pattern, in the same order')
    parser.add_argument('--annotation', choices=('gtFine', 'gtCoarse'), help='default: gtCoarse for train_extra only')
    parser.add_argument('--label_type', choices=tuple(_SUFFIXES), help='default: the first of these that is there')
    command_line.add_boolean(
        parser,
        'instances',
        default=False,
        help='store *_instanceIds.png too: eval.py then gives the instance-weighted IoU of the benchmark',
    )
    pair_lists.add_output_flags(parser, num_shards=10)
    return parser


def _from_folders(flags: argparse.Namespace) -> tuple[list[pair_lists.Pair], str]:
    root = pair_lists.existing_folder(flags.cityscapes_dir, '--cityscapes_dir')
    image_root = os.path.join(root, 'leftImg8bit', flags.split_type)
    images = pair_lists.find(f'*/*{_IMAGE_SUFFIX}', '--cityscapes_dir', folder=image_root)
    annotation = flags.annotation or ('gtCoarse' if flags.split_type == 'train_extra' else 'gtFine')
    label_root = os.path.join(root, annotation, flags.split_type)
    for kind in [flags.label_type] if flags.label_type else _SUFFIXES:
        suffix = f'_{annotation}_{_SUFFIXES[kind]}'
        try:
            labels = pair_lists.find(f'*/*{suffix}', '--cityscapes_dir', folder=label_root)
        except DataError:
            continue
        roots = (image_root, label_root)
        pairs = pair_lists.match_stems(images, labels, image_suffix=_IMAGE_SUFFIX, label_suffix=suffix, roots=roots)
        return pairs, kind
    if flags.split_type == 'test':
        return [pair_lists.Pair(image, None) for image in images], 'label_ids'
    wanted = _SUFFIXES[flags.label_type] if flags.label_type else ', '.join(_SUFFIXES.values())
    raise DataError(f'--cityscapes_dir: no labels in {label_root}/*/*_{annotation}_ ({wanted})')


def _instance_path(kind: str) -> Callable[[str], str]:
    """The path of a label of this kind -> the *_instanceIds.png beside it."""

    def beside(label_path: str) -> str:
        if not label_path.endswith(_SUFFIXES[kind]):
            raise UsageError(
                f'--instances: {label_path} does not end in {_SUFFIXES[kind]}, so its instances are unknown'
            )
        return f'{label_path.removesuffix(_SUFFIXES[kind])}instanceIds.png'

    return beside


def _kind_of(path: str) -> str:
    """By the end of the name; labelTrainIds, as the public reference implementation expects, where it says nothing."""
    return next((kind for kind, suffix in _SUFFIXES.items() if path.endswith(suffix)), 'label_train_ids')


if __name__ == '__main__':
    command_line.run(main)
