"""What widths are multiples of."""

from __future__ import annotations

import pytest

from compression import names
from compression.targets import FLOPS, LATENCY_MS, Amount, Target
from core import processor
from engine.compression_plan import Options, divisor_of


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (Options(), None),
        (Options(target=Target(LATENCY_MS, Amount(40.0))), None),
        (Options(divisor=4), 4),
        (Options(scope=names.GLOBAL), 8),
        (Options(scope=names.SENSITIVITY, target=Target(FLOPS, Amount(1e9))), 8),
        (Options(scope=names.GLOBAL, target=Target(LATENCY_MS, Amount(40.0))), 16),
        (Options(scope=names.GLOBAL, target=Target(LATENCY_MS, Amount(40.0)), divisor=8), 8),
    ],
)
def test_a_latency_has_widths_of_whole_vectors(monkeypatch, options, expected):
    monkeypatch.setattr(processor, 'floats_of_a_vector', lambda: 16)
    assert divisor_of(options) == expected
