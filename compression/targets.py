"""How small the network shall be, as it is written on the command line; imports no TensorFlow."""

from __future__ import annotations

import argparse
import dataclasses
import math
import re

FLOPS, PARAMETERS, LATENCY_MS = 'target_flops', 'target_parameters', 'target_latency_ms'
_UNITS = {FLOPS: 'FLOPs', PARAMETERS: 'parameters', LATENCY_MS: 'ms'}
_PREFIXES = {'': 1.0, 'k': 1e3, 'm': 1e6, 'g': 1e9, 't': 1e12}
_AMOUNT = re.compile(r'(\d+(?:\.\d*)?|\.\d+)([kmgt]?)', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Amount:
    """A number above 0, or, where `is_share`, a share in (0, 1] of what the whole network has."""

    value: float
    is_share: bool = False

    def of(self, whole: float) -> float:
        """The number meant, for a network that has `whole`."""
        return self.value * whole if self.is_share else self.value


@dataclasses.dataclass(frozen=True)
class Target:
    """`kind` is FLOPS, PARAMETERS or LATENCY_MS, and the name of its flag."""

    kind: str
    amount: Amount


def written(value: float, kind: str) -> str:
    """As the flag takes it: `2k FLOPs`, `25.51M FLOPs`, `12.4 ms`; four digits, rounded up, so that it is enough."""
    if value > 0:
        last = 10.0 ** (math.floor(math.log10(value)) - 3)
        value = math.ceil(round(value / last, 6)) * last
    fitting = [(letter, factor) for letter, factor in _PREFIXES.items() if factor <= value and kind != LATENCY_MS]
    letter, factor = fitting[-1] if fitting else ('', 1.0)
    return f'{value / factor:.4g}{letter if letter == "k" else letter.upper()} {_UNITS[kind]}'


def parse_amount(text: str) -> Amount:
    """`60G`, `6.7M`, `900k`: a number; `0.27` without a letter and at most 1: a share of the whole network's."""
    match = _AMOUNT.fullmatch(text.strip())
    value = float(match[1]) * _PREFIXES[match[2].lower()] if match else 0.0
    if value <= 0:
        raise argparse.ArgumentTypeError(f'got {text!r}, expected a number such as 60G or 6.7M, or a share, 0.27')
    return Amount(value, is_share=bool(match and not match[2] and value <= 1))
