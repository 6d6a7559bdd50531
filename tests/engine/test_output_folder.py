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
