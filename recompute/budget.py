"""A memory budget as a user writes it; imports no TensorFlow, so a wrong one is answered at once."""

from __future__ import annotations

import re
from typing import TypedDict

from core.errors import UsageError

_BUDGET = re.compile(r'\s*([0-9.]+)\s*(%|[KMGT]i?B|B)\s*', re.IGNORECASE)
_POWERS = {'': 0, 'K': 1, 'M': 2, 'G': 3, 'T': 4}


class Budget(TypedDict, total=False):
    """One of the two, as `plan.Request` takes them: bytes that a step may need, or a share of plain activations."""

    budget: int
    share: float


def parse_budget(text: str, flag: str) -> Budget:
    """`6GB`, `800 MiB` -> {'budget': bytes}; `25%` -> {'share': 0.25}. Raises UsageError for anything else."""
    match = _BUDGET.fullmatch(text)
    try:
        number = float(match[1]) if match else 0.0
    except ValueError:
        number = 0.0
    if match is None or not 0 < number <= (100 if match[2] == '%' else 1e18):
        raise UsageError(
            f'{flag}: got {text!r}, choose bytes such as 6GB or 800MiB, or a share of the activations that plain '
            'training keeps, such as 25%'
        )
    if match[2] == '%':
        return {'share': number / 100}
    unit = match[2].upper().removesuffix('B')
    base = 1024 if unit.endswith('I') else 1000
    return {'budget': int(number * base ** _POWERS[unit[:1]])}
