"""Shared fixtures: where optional real data lies."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from core import tensorflow_environment

tensorflow_environment.set_defaults()  # before any test imports TensorFlow, as in every script

# Graphs are made of many small objects that live long: looking through them for garbage takes a tenth of the time.
_OBJECTS_BETWEEN_COLLECTIONS = 20_000

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope='session')
def shared_dir() -> Path:
    """The folder beside the checkout with reference fixtures and real data; tests that need it skip without it."""
    path = ROOT.parent / 'shared'
    if not path.is_dir():
        pytest.skip('needs ../shared (reference fixtures, real data)')
    return path


# The files that take longest come first, so that no worker waits for another that has just begun one.
_FIRST = ('contracts', 'scripts', 'engine', 'tests', 'page', 'recompute', 'feature_extractors', 'benchmarks')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders in the order of `_FIRST`, then all others as they are."""

    def place(item: pytest.Item) -> int:
        folder = item.path.parent.name
        return _FIRST.index(folder) if folder in _FIRST else len(_FIRST)

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Leaves alone what was imported, and collects garbage less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 10, 10)
