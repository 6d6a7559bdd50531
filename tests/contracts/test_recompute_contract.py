"""A planned training step of every supported pair comes to the same bits as a plain one.

The deeper ResNets are the code of resnet_v1_18 and 50 with more units; their pairs are marked slow.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from builders import pairs
from builders.names import FEATURE_EXTRACTORS
from tests.conftest import ROOT

_SLOW = ('resnet_v1_34', 'resnet_v1_101', 'resnet_v1_152')
_PAIRS = [
    (architecture, extractor)
    for architecture in ('pspnet', 'icnet', 'fcn')
    for extractor in FEATURE_EXTRACTORS
    if (architecture, extractor) not in pairs.UNSUPPORTED
]
_QUICK = [pair for pair in _PAIRS if pair[1] not in _SLOW]
_REFERENCE = [('icnet', 'dilated_resnet50'), ('pspnet', 'dilated_resnet50')]


def _compare(cases: list[tuple[str, str]], *flags: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What `recompute_steps` says about each case, all in one process."""
    command = [sys.executable, '-m', 'tests.contracts.recompute_steps', *map(':'.join, cases), *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(cases, map(json.loads, done.stdout.splitlines()), strict=True))


def _check(result: dict[str, Any]) -> None:
    """Same losses, gradients (momentum's slots), variables and averages; each has moved, and work was done again."""
    assert result['unequal'] == {}
    assert result['unmoved'] == []
    assert result['extra_work'] > 0.05 and result['kept'] < result['plain']


@pytest.fixture(scope='module')
def quick() -> dict[tuple[str, str], dict[str, Any]]:
    return _compare(_QUICK)


@pytest.mark.parametrize('pair', _QUICK, ids='-'.join)
def test_every_pair(quick: dict[tuple[str, str], dict[str, Any]], pair: tuple[str, str]):
    _check(quick[pair])


@pytest.mark.slow
@pytest.mark.parametrize('pair', [pair for pair in _PAIRS if pair[1] in _SLOW], ids='-'.join)
def test_the_deeper_resnets(pair: tuple[str, str]):
    _check(_compare([pair])[pair])


def test_two_replicas():
    for result in _compare(_REFERENCE, '--replicas=2').values():
        _check(result)


def test_bfloat16():
    for result in _compare(_REFERENCE, '--bfloat16').values():
        _check(result)
