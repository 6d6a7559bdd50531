"""What is read of /proc/cpuinfo."""

from __future__ import annotations

import pytest

from core import processor


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16 sha_ni\n', True),
        ('processor\t: 0\nflags\t\t: fpu amx_bf16 amx_tile\n', True),
        ('processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n', True),
        ('processor\t: 0\nflags\t\t: fpu avx2 fma\nbugs\t\t: avx512_bf16\n', False),
        ('processor\t: 0\nFeatures\t: fp asimd ebf16x\n', False),
        ('processor\t: 0\n', True),
    ],
)
def test_bfloat16_is_told_by_the_list_of_features(tmp_path, text, expected):
    (tmp_path / 'cpuinfo').write_text(text, encoding='utf-8')
    assert processor.has_bfloat16(tmp_path / 'cpuinfo') is expected


def test_a_system_without_that_file_is_taken_at_its_word(tmp_path):
    assert processor.has_bfloat16(tmp_path / 'cpuinfo')
