"""The generic converter: how pairs are found, and its flags."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from core.errors import DataError, UsageError
from dataset_tools import create_tf_record
from dataset_tools.pairs import Pair, match_in_order, match_stems


def find(*arguments: str) -> list[Pair]:
    flags = create_tf_record._parser().parse_args(['--name', 'x', '--output_dir', 'o', *arguments])
    return create_tf_record.find_pairs(flags)


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(path)
    return str(path)


def test_folders_are_searched_at_all_depths_and_endings_may_differ(tmp_path):
    image, label = touch(tmp_path / 'i' / 'day' / 'a.jpg'), touch(tmp_path / 'l' / 'day' / 'a.png')
    other = touch(tmp_path / 'i' / 'night' / 'a.jpg'), touch(tmp_path / 'l' / 'night' / 'a.png')
    pairs = find('--images', f'{tmp_path}/i', '--labels', f'{tmp_path}/l')
    assert pairs == [Pair(image, label), Pair(*other)]


def test_globs_and_suffixes(tmp_path):
    image, label = touch(tmp_path / 'a_rgb.jpg'), touch(tmp_path / 'a_ids.png')
    suffixes = ('--image_suffix', '_rgb.jpg', '--label_suffix', '_ids.png')
    assert find('--images', f'{tmp_path}/*_rgb.jpg', '--labels', f'{tmp_path}/*_ids.png', *suffixes) == [
        Pair(image, label)
    ]


def test_brackets_in_the_name_of_a_folder_are_no_pattern(tmp_path):
    image, label = touch(tmp_path / 'set [1]' / 'i' / 'a.jpg'), touch(tmp_path / 'set [1]' / 'l' / 'a.png')
    pairs = find('--images', f'{tmp_path}/set [1]/i', '--labels', f'{tmp_path}/set [1]/l')
    assert pairs == [Pair(image, label)]


def test_a_csv_of_a_spreadsheet(tmp_path):
    (tmp_path / 'pairs.csv').write_bytes(b'\xef\xbb\xbfimage,label\r\na b.jpg,a.png\r\n')
    assert find('--pairs', f'{tmp_path}/pairs.csv') == [Pair(f'{tmp_path}/a b.jpg', f'{tmp_path}/a.png')]
    (tmp_path / 'pairs.csv').write_bytes(b'\xff\xfe')
    with pytest.raises(DataError, match=r'pairs\.csv: not a text file in UTF-8$'):
        find('--pairs', f'{tmp_path}/pairs.csv')


def test_pairs_of_a_csv_are_relative_to_it(tmp_path):
    (tmp_path / 'pairs.csv').write_text('image,label\n# a comment\ni/a.png, l/a.png\n')
    assert find('--pairs', f'{tmp_path}/pairs.csv') == [Pair(f'{tmp_path}/i/a.png', f'{tmp_path}/l/a.png')]
    (tmp_path / 'pairs.csv').write_text('only one\n')
    with pytest.raises(DataError, match=r"pairs.csv:1: expected an image and a label, got 'only one'"):
        find('--pairs', f'{tmp_path}/pairs.csv')


def test_files_of_one_name_and_lists_of_other_lengths_are_refused():
    with pytest.raises(DataError, match=r'y/a.png: has the name of x/a.png: list the pairs in a CSV'):
        match_stems(['x/a.png', 'y/a.png'], ['l/a.png'])
    with pytest.raises(DataError, match='2 images but 1 labels'):
        match_in_order(['a', 'b'], ['c'])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], '--images: not set'),
        (['--pairs', 'x.csv', '--images', 'y'], 'give either --pairs, or --images'),
    ],
)
def test_flags_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        find(*arguments)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--num_classes', '0', '--images', 'x'], '--label_map: give either a label map file or --num_classes'),
        (['--num_classes', '300', '--images', 'x'], '--num_classes: got 300, choose 1..255'),
        (['--num_classes', '3', '--images', 'x', '--num_shards', '0'], '--num_shards: got 0'),
        (['--num_classes', '3', '--images', 'x', '--name', ''], "--name: got '', choose a file name"),
        (['--num_classes', '3', '--images', 'x', '--name', '../x'], "--name: got '../x', choose a file name"),
        (['--num_classes', '3', '--images', '/nowhere/*.png'], '--images: no files match /nowhere'),
    ],
)
def test_wrong_values_are_named(arguments, message):
    with pytest.raises((UsageError, DataError), match=message):
        create_tf_record.main(['--name', 'x', '--output_dir', 'o', *arguments])


@pytest.mark.parametrize('text', ['1', '1:a', '1:256', '-1:2'])
def test_wrong_remaps_are_usage_errors(text, capsys):
    with pytest.raises(SystemExit) as caught:
        find(f'--remap={text}')
    assert caught.value.code == 2 and 'error: argument --remap' in capsys.readouterr().err
