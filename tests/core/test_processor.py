"""What is read of /proc/cpuinfo."""

from __future__ import annotations

import pytest
import tensorflow as tf

from core import processor


@pytest.mark.parametrize(
    ('text', 'bfloat16', 'avx512'),
    [
        ('processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16 sha_ni\n', True, True),
        ('processor\t: 0\nflags\t\t: fpu avx2 avx512f sha_ni\n', False, True),
        ('processor\t: 0\nflags\t\t: fpu amx_bf16 amx_tile\n', True, False),
        ('processor\t: 0\nflags\t\t: fpu avx2 fma\nbugs\t\t: avx512_bf16 avx512f\n', False, False),
        ('processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n', True, True),
        ('processor\t: 0\nFeatures\t: fp asimd ebf16x\n', False, True),
        ('processor\t: 0\n', True, True),
    ],
)
def test_the_list_of_features_tells(tmp_path, text, bfloat16, avx512):
    """Only x86 processors can lack AVX-512; a system that lists nothing is taken at its word."""
    (tmp_path / 'cpuinfo').write_text(text, encoding='utf-8')
    assert processor.has_bfloat16(tmp_path / 'cpuinfo') is bfloat16
    assert processor.has_avx512(tmp_path / 'cpuinfo') is avx512
    listed = 'flags' in text and avx512
    assert processor.floats_of_a_vector(tmp_path / 'cpuinfo') == (16 if listed else 8)


@pytest.mark.parametrize('avx512', [True, False])
def test_batch_norm_is_fused_where_that_is_fast(monkeypatch, avx512):
    monkeypatch.setattr(processor, 'has_avx512', lambda: avx512)
    before = tf.config.optimizer.get_experimental_options().get('remapping', True)
    try:
        tf.config.optimizer.set_experimental_options({'remapping': True})
        processor.avoid_slow_fusions()
        assert tf.config.optimizer.get_experimental_options()['remapping'] is avx512
    finally:
        tf.config.optimizer.set_experimental_options({'remapping': before})


def test_a_system_without_that_file_is_taken_at_its_word(tmp_path):
    assert processor.has_bfloat16(tmp_path / 'cpuinfo')
    assert processor.has_avx512(tmp_path / 'cpuinfo')
