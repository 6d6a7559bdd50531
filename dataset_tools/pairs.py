"""What is common to the converters before TensorFlow is loaded: pairs of files, and flags."""

from __future__ import annotations

import argparse
import csv
import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core import command_line
from core.errors import DataError, UsageError


@dataclass(frozen=True)
class Pair:
    """An image file and the file its labels come from (None: pictures to predict only)."""

    image: str
    label: str | None


@dataclass(frozen=True)
class Encoding:
    """How images are stored in records; the help of `--encoding` says what each is.

    Attributes:
      name: one of `ENCODINGS`.
      jpeg_quality: of `jpeg`, 1..100.
    """

    name: str = 'original'
    jpeg_quality: int = 95

    @property
    def stores_pixels(self) -> bool:
        """Whether a crop is read without decoding the rest; labels are stored in tiles then."""
        return self.name in ('raw', 'tiles')


ENCODINGS = ('original', 'jpeg', 'tiles', 'raw')
ORIGINAL = Encoding()


def match_stems(
    images: Sequence[str],
    labels: Sequence[str],
    *,
    image_suffix: str = '',
    label_suffix: str = '',
    roots: tuple[str, str] | None = None,
) -> list[Pair]:
    """Pairs files whose names are equal once the suffixes are cut, in the order of those names.

    Args:
      images: paths.
      labels: paths; those without an image are left over (labels of images that are not there).
      image_suffix: the part of an image's name that its label's has not: `_leftImg8bit.png`; empty: the file ending.
      label_suffix: the same of the label.
      roots: the folders of images and of labels; given, the folders on the way below them must agree as well.

    Raises DataError that names every image without a label, or two files of one name.
    """
    image_root, label_root = roots or (None, None)
    by_key = _by_key(labels, label_suffix, label_root)
    keyed_images = _by_key(images, image_suffix, image_root)
    missing = [path for key, path in keyed_images.items() if key not in by_key]
    if missing:
        raise DataError('\n'.join(f'{path}: no label *{label_suffix} of this name' for path in missing))
    return [Pair(keyed_images[key], by_key[key]) for key in sorted(keyed_images)]


def match_in_order(images: Sequence[str], labels: Sequence[str]) -> list[Pair]:
    """Pairs two lists by their sorted order, as the public reference implementation pairs its patterns."""
    if len(images) != len(labels):
        raise DataError(f'{len(images)} images but {len(labels)} labels: patterns must match one label for each image')
    return [Pair(image, label) for image, label in zip(sorted(images), sorted(labels), strict=True)]


def read_list(path: str, *, root: str, delimiter: str | None = None) -> list[Pair]:
    """Reads lines of `image label` (delimiter None: white space), paths relative to `root`; `#` starts a comment."""
    pairs = []
    try:
        lines = Path(path).read_text(encoding='utf-8-sig').splitlines()  # spreadsheets write a byte order mark
    except OSError as error:
        raise DataError(f'{path}: cannot read the list of pairs: {error.strerror}') from error
    except ValueError as error:
        raise DataError(f'{path}: not a text file in UTF-8') from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith('#'):
            continue
        columns = line.split() if delimiter is None else next(csv.reader([line], delimiter=delimiter))
        if number == 1 and [c.strip() for c in columns] == ['image', 'label']:
            continue
        if len(columns) != 2:
            raise DataError(f'{path}:{number}: expected an image and a label, got {line!r}')
        pairs.append(Pair(*(os.path.join(root, column.strip()) for column in columns)))
    if not pairs:
        raise DataError(f'{path}: no pairs in it')
    return pairs


def find(pattern: str, flag: str, *, folder: str = '') -> list[str]:
    """The files that match a glob pattern (`**` too), sorted; DataError names flag and pattern if there are none.

    Args:
      folder: where the pattern begins; its own name is no pattern, whatever brackets and stars are in it.
    """
    pattern = os.path.join(glob.escape(folder), pattern)
    paths = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
    if not paths:
        raise DataError(f'{flag}: no files match {pattern}')
    return paths


def existing_folder(path: str, flag: str) -> str:
    """`path`, or UsageError that names the flag."""
    if not os.path.isdir(path):
        raise UsageError(f'{flag}: no such folder: {path}')
    return path


def add_output_flags(parser: argparse.ArgumentParser, *, num_shards: int) -> None:
    """Adds the flags that every converter has; `output_arguments` hands them to `record_writer.write_records`."""
    parser.add_argument('--output_dir', required=True, metavar='DIR', help='where records and label_map.json go')
    parser.add_argument('--num_shards', type=int, default=num_shards, help=f'record files (default: {num_shards})')
    parser.add_argument('--num_threads', type=int, default=0, help='default: one per core')
    parser.add_argument(
        '--shuffle_seed', type=int, default=0, help='pairs are shuffled with this seed before they are cut into shards'
    )
    parser.add_argument(
        '--encoding',
        choices=ENCODINGS,
        default=ORIGINAL.name,
        help='original (default): PNG and JPEG files bit for bit, others as PNG; tiles: exact pixels in compressed '
        'tiles, of which training decodes those under the crop; raw: exact pixels, uncompressed; jpeg: PNG too becomes '
        'JPEG, which loses a little. docs/datasets.md compares them',
    )
    parser.add_argument(
        '--jpeg_quality', type=int, default=ORIGINAL.jpeg_quality, help='of --encoding jpeg, 1..100 (default: 95)'
    )
    command_line.add_boolean(parser, 'skip_bad', default=False, help='leave bad pairs out instead of failing')
    command_line.add_boolean(parser, 'overwrite', default=False, help='replace records made from other inputs')


def output_arguments(flags: argparse.Namespace) -> dict:
    """Keyword arguments of `record_writer.write_records` from the flags, checked."""
    if flags.num_shards < 1:
        raise UsageError(f'--num_shards: got {flags.num_shards}, choose 1 or more')
    if not 1 <= flags.jpeg_quality <= 100:
        raise UsageError(f'--jpeg_quality: got {flags.jpeg_quality}, choose 1..100')
    if flags.encoding != 'jpeg' and flags.jpeg_quality != ORIGINAL.jpeg_quality:
        raise UsageError(f'--jpeg_quality: of --encoding jpeg alone, got --encoding {flags.encoding}')
    names = ('output_dir', 'num_shards', 'num_threads', 'shuffle_seed', 'skip_bad', 'overwrite')
    encoding = Encoding(flags.encoding, flags.jpeg_quality)
    return {'encoding': encoding, **{name: getattr(flags, name) for name in names}}


def _by_key(paths: Sequence[str], suffix: str, root: str | None) -> dict[str, str]:
    keyed: dict[str, str] = {}
    for path in paths:
        name = os.path.relpath(path, root) if root else os.path.basename(path)
        if not name.endswith(suffix):
            raise DataError(f'{path}: the name does not end in {suffix!r}')
        key = name[: -len(suffix)] if suffix else os.path.splitext(name)[0]
        if key in keyed:
            raise DataError(f'{path}: has the name of {keyed[key]}: list the pairs in a CSV')
        keyed[key] = path
    return keyed
