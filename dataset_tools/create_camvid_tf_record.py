"""CamVid, in the folder form of the SegNet tutorial -> TFRecords."""

from __future__ import annotations

import os
from collections.abc import Sequence

from core import command_line
from core.errors import UsageError
from dataset_tools import pairs as pair_lists
from inputs.label_map import LabelMap

_VOID = 11
_LABEL_MAP = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'configs/label_maps/camvid.json')
_DESCRIPTION = """Converts CamVid (480x360, 11 classes) into TFRecord shards, a manifest and a label map.

Expects <camvid_dir>/<split>.txt with lines `image label`, or else the folders <split>/ and <split>annot/ with
pictures of the same names. Label 11 (void) becomes the ignore label 255."""
_EXAMPLES = """  python -m dataset_tools.create_camvid_tf_record --camvid_dir CamVid --split train --output_dir data
  python -m dataset_tools.create_camvid_tf_record --camvid_dir CamVid --split val --output_dir data --num_shards 2
"""


def find_pairs(camvid_dir: str, split: str) -> list[pair_lists.Pair]:
    """Every image of a split with its label file."""
    listed = os.path.join(camvid_dir, f'{split}.txt')
    if os.path.isfile(listed):
        return _listed_pairs(listed, camvid_dir)
    folder = os.path.join(camvid_dir, split)
    if not os.path.isdir(folder):
        raise UsageError(f'--split: neither {listed} nor the folder {folder} exists')
    return pair_lists.match_stems(
        pair_lists.find('*.png', '--camvid_dir', folder=folder),
        pair_lists.find('*.png', '--camvid_dir', folder=f'{folder}annot'),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Reads the flags and converts one split."""
    parser = command_line.make_parser(_DESCRIPTION, _EXAMPLES)
    parser.add_argument('--camvid_dir', required=True, metavar='DIR', help='the folder with train/ and trainannot/')
    parser.add_argument('--split', default='train', help='train, val or test (default: train)')
    pair_lists.add_output_flags(parser, num_shards=4)
    flags = parser.parse_args(argv)
    arguments = pair_lists.output_arguments(flags)
    pairs = find_pairs(pair_lists.existing_folder(flags.camvid_dir, '--camvid_dir'), flags.split)

    # After the flags are checked: this loads TensorFlow.
    with command_line.quiet_start():
        from dataset_tools.conversion import read_ids, remapped
        from dataset_tools.record_writer import write_records

    label_map = LabelMap.load(_LABEL_MAP)
    manifest = write_records(
        pairs,
        name=f'camvid_{flags.split}.record',
        label_map=label_map,
        read_label=remapped(read_ids, {_VOID: label_map.ignore_label}),
        **arguments,
    )
    print(f'{manifest["num_examples"]} examples in {os.path.join(flags.output_dir, manifest["name"])}-*')
    return 0


def _listed_pairs(listed: str, camvid_dir: str) -> list[pair_lists.Pair]:
    """The lists of the SegNet tutorial start with /SegNet/CamVid/; only the last folder and the name count."""

    def local(path: str | None) -> str:
        return os.path.join(camvid_dir, *(path or '').split('/')[-2:])

    pairs = pair_lists.read_list(listed, root='')
    return [pair_lists.Pair(local(pair.image), local(pair.label)) for pair in pairs]


if __name__ == '__main__':
    command_line.run(main)
