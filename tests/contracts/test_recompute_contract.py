"""A planned training step of every supported pair comes to the same bits as a plain one.

Four light pairs run always, the others are marked slow: planning and tracing each takes most of ten seconds.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from builders import pairs
from builders.names import FEATURE_EXTRACTORS
from tests import forked
from tests.contracts import recompute_steps

_PAIRS = [
    (architecture, extractor)
    for architecture in ('pspnet', 'icnet', 'fcn')
    for extractor in FEATURE_EXTRACTORS
    if (architecture, extractor) not in pairs.UNSUPPORTED
]
_QUICK = [('pspnet', 'resnet_v1_18'), ('icnet', 'resnet_v1_18'), ('fcn', 'mobilenet_v1'), ('fcn', 'inception_v1')]
_REFERENCE = [('icnet', 'dilated_resnet50'), ('pspnet', 'dilated_resnet50')]


def _compare(cases: list[tuple[str, str]], *flags: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What `recompute_steps` says about each case, all in one process."""
    said = forked.run(recompute_steps.main, [*map(':'.join, cases), *flags], patience_seconds=1800)
    return dict(zip(cases, map(json.loads, said.splitlines()), strict=True))


def _check(result: dict[str, Any]) -> None:
    """Same losses, gradients (momentum's slots), variables and averages; each has moved, and work was done again."""
    assert result['unequal'] == {}
    assert result['unmoved'] == []
    assert result['extra_work'] > 0.02 and result['kept'] < result['plain']


@pytest.fixture(scope='module')
def quick() -> dict[tuple[str, str], dict[str, Any]]:
    return _compare(_QUICK)


@pytest.mark.parametrize('pair', _QUICK, ids='-'.join)
def test_light_pairs(quick: dict[tuple[str, str], dict[str, Any]], pair: tuple[str, str]):
    _check(quick[pair])


def test_bfloat16_of_a_light_pair():
    """A head's convolution has a bias, which oneDNN adds in the same operation in both graphs or in neither."""
    for result in _compare([('pspnet', 'resnet_v1_18')], '--nested', '--bfloat16').values():
        _check(result)


@pytest.mark.slow
@pytest.mark.parametrize('pair', [pair for pair in _PAIRS if pair not in _QUICK], ids='-'.join)
def test_every_other_pair(pair: tuple[str, str]):
    _check(_compare([pair])[pair])


@pytest.mark.slow
@pytest.mark.parametrize('flags', [[], ['--bfloat16'], ['--replicas=2']], ids=['float32', 'bfloat16', 'replicas'])
def test_plans_inside_plans(flags: list[str]):
    for result in _compare([*_QUICK, *_REFERENCE], '--nested', *flags).values():
        _check(result)


@pytest.mark.slow
def test_two_replicas():
    for result in _compare(_REFERENCE, '--replicas=2').values():
        _check(result)


@pytest.mark.slow
def test_bfloat16():
    for result in _compare(_REFERENCE, '--bfloat16').values():
        _check(result)
