"""What a memory budget may look like."""

from __future__ import annotations

import subprocess
import sys

import pytest

from core.errors import UsageError
from recompute.budget import parse_budget
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('6GB', {'budget': 6_000_000_000}),
        ('800MiB', {'budget': 838_860_800}),
        (' 1.5 gib ', {'budget': 1_610_612_736}),
        ('2TB', {'budget': 2_000_000_000_000}),
        ('3kb', {'budget': 3_000}),
        ('3KiB', {'budget': 3_072}),
        ('4096B', {'budget': 4_096}),
        ('25%', {'share': 0.25}),
        ('100 %', {'share': 1.0}),
        ('0.5%', {'share': 0.005}),
    ],
)
def test_a_budget(text, expected):
    assert parse_budget(text, '--flag') == expected


@pytest.mark.parametrize(
    'text',
    ['', 'lots', '-1GB', '0GB', '0%', '120%', '100.1%', '6', '6G', 'GB', '1.2.3GB', '.GB', 'nan%', f'{"9" * 400}GB'],
)
def test_anything_else_is_refused_in_one_line(text):
    with pytest.raises(UsageError) as refused:
        parse_budget(text, '--memory_budget')
    assert str(refused.value) == (
        f'--memory_budget: got {text!r}, choose bytes such as 6GB or 800MiB, or a share of the activations that plain '
        'training keeps, such as 25%'
    )


def test_tensorflow_is_not_loaded():
    code = 'import sys, recompute.budget; assert "tensorflow" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, timeout=60)
