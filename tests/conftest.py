"""Shared fixtures: where optional real data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core import command_line

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
command_line.use_onednn()  # as every script does

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope='session')
def shared_dir() -> Path:
    """The folder beside the checkout with reference fixtures and real data; tests that need it skip without it."""
    path = ROOT.parent / 'shared'
    if not path.is_dir():
        pytest.skip('needs ../shared (reference fixtures, real data)')
    return path
