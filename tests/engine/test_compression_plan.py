"""What widths are multiples of, and that a latency is measured twice."""

from __future__ import annotations

import pytest

from compression import names
from compression.targets import FLOPS, LATENCY_MS, Amount, Target
from core import processor
from engine.compression_plan import Options, confirmed, divisor_of


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


def test_a_latency_that_was_met_by_chance_is_not_taken():
    measured: list[float] = []

    def slow(share: float) -> float:
        measured.append(share)
        return 100 * share

    assert confirmed(0.5, slow, 50.0, step=0.125) == 0.5 and measured == [0.5]
    assert confirmed(0.5, slow, 26.0, step=0.125) == 0.25 and measured[1:] == [0.5, 0.375, 0.25]
    assert confirmed(0.25, slow, 1.0, step=0.125) == 0.125  # the fewest filters were within the target once
