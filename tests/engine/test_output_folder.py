"""Output folders: made with their parents, or one line that names the flag."""

from __future__ import annotations

import pytest

from core.errors import UserError
from engine import output_folder


def test_makes_parents_and_accepts_what_is_there(tmp_path):
    for _ in range(2):
        output_folder.make(str(tmp_path / 'a' / 'b c ü'), '--logdir')
    assert (tmp_path / 'a' / 'b c ü').is_dir()


@pytest.mark.parametrize('below', ['file', 'file/x'])
def test_a_file_in_the_way_is_named_with_the_flag(tmp_path, below):
    (tmp_path / 'file').write_text('x')
    with pytest.raises(UserError, match=f'^--logdir: cannot make the folder {tmp_path}/{below} ') as caught:
        output_folder.make(f'{tmp_path}/{below}', '--logdir')
    assert '\n' not in str(caught.value) and (tmp_path / 'file').read_text() == 'x'


@pytest.mark.parametrize('content', [None, 'something'])
@pytest.mark.parametrize('was_there', [False, True])
def test_a_new_folder_that_stayed_empty_is_taken_away_after_a_failure(tmp_path, content, was_there):
    folder = tmp_path / 'a' / 'out'
    if was_there:
        folder.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt), output_folder.removed_if_unused(str(folder)):
        output_folder.make(str(folder), '--output_dir')
        if content:
            (folder / 'file').write_text(content)
        raise KeyboardInterrupt
    assert folder.exists() == (was_there or content is not None)


def test_what_succeeds_keeps_its_folder(tmp_path):
    with output_folder.removed_if_unused(str(tmp_path / 'out')):
        output_folder.make(str(tmp_path / 'out'), '--output_dir')
    assert (tmp_path / 'out').is_dir()
