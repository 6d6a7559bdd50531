"""What each suite measures, and the figures it comes to."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.checkpointing.cases import ICNET, PSPNET, Case
from benchmarks.checkpointing.runs import Result, Runs, summary
from core import processor
from core.errors import UserError

_DEPTHS = (16, 32, 64, 128, 256)
_CHAIN = Case(model='chain', height=64, width=64, batch=8, steps=4)
LIMIT_GIB = 16
_NUM_CHAINS = 1000
_PREDICTED = (
    Case(model='pspnet', height=257, width=257, batch=2, steps=2),
    Case(model='pspnet', height=385, width=385, batch=4, steps=2, filter_scale=0.5),
    Case(model='pspnet', height=449, width=449, batch=2, steps=2),
    Case(model='icnet', height=513, width=513, batch=2, steps=2),
    Case(model='icnet', height=353, width=481, batch=8, steps=2, filter_scale=0.5),
    Case(model='icnet', height=769, width=769, batch=2, steps=2),
    Case(model='pspnet', height=321, width=321, batch=4, steps=2),
    Case(model='pspnet', height=257, width=257, batch=8, steps=2, filter_scale=0.5),
    Case(model='icnet', height=289, width=385, batch=6, steps=2, filter_scale=0.5),
    Case(model='icnet', height=513, width=513, batch=4, steps=2),
    Case(model='icnet', height=1025, width=1025, batch=2, steps=2, filter_scale=0.5),
    Case(model='pspnet', height=385, width=385, batch=2, steps=2, bfloat16=True),
)
# What a plan for the largest batch may take of the limit; the rest is the process and what predictions are off by.
_PLANNED_SHARE = 0.735
# The most forward work done again for it, of what there is: time for an image is to stay below 1.35 of plain's.
_MOST_EXTRA = 0.85
# Batches that plain training is measured with, to guess from.
_PROBED = (2, 4)
_WITHIN = 0.15
_TIMELINE = ('plain', 'auto', 'memory')


def models(runs: Runs, only: str) -> dict[str, Any]:
    """Both real networks: what each request keeps and costs."""
    asked = ((PSPNET, '30%peak'), (ICNET, '40%peak'))
    return {
        'models': {
            plain.network: runs.against_plain(plain, ('auto', 'memory', '25%', '10%', budget, 'speed'))
            for plain, budget in asked
            if only in plain.network
        }
    }


def depth(runs: Runs, only: str) -> dict[str, Any]:
    """How the peak grows with the number of blocks, and what it costs."""
    rows = []
    for blocks in _DEPTHS:
        plain = dataclasses.replace(_CHAIN, model=f'chain{blocks}')
        if only in plain.network:
            rows.append({'blocks': blocks, **runs.against_plain(plain, ('memory',))})
    if len(rows) < 2:
        return {'depth': rows}
    blocks = [row['blocks'] for row in rows]
    return {
        'depth': rows,
        'exponent_of_peak': _exponent(blocks, [row['memory']['peak_mb'] for row in rows]),
        'exponent_of_peak_plain': _exponent(blocks, [row['plain']['peak_mb'] for row in rows]),
        'largest_time_of_plain': max(row['memory']['cpu_time_of_plain'] for row in rows),
    }


def _exponent(blocks: list[int], peaks: list[float]) -> float:
    """The e of peak = c * blocks^e, fitted to the logarithms."""
    return round(float(np.polyfit(np.log(blocks), np.log(peaks), 1)[0]), 3)


def batch(runs: Runs, only: str, crop: int = PSPNET.height, limit_gib: float = LIMIT_GIB) -> dict[str, Any]:
    """The largest batch of PSPNet whose measured peak, with the process itself, is within so many GiB."""
    from engine import memory

    available = memory.available_bytes()
    if available and available < limit_gib * 1024**3:
        raise UserError(f'--suite batch: needs {limit_gib:g} GiB of free memory, there are {available / 1024**3:.1f}')
    limit_mb = limit_gib * 1024**3 / 1e6
    plain = _largest_plain(runs, crop, limit_mb)
    planned = _largest_planned(runs, crop, limit_mb, plain['batch'])
    return {
        'crop': crop,
        'limit_gib': limit_gib,
        'plain': plain,
        'planned': planned,
        'times_plain': round(planned['batch'] / plain['batch'], 2),
        'time_per_image_of_plain': round(planned['seconds_per_image'] / plain['seconds_per_image'], 3),
        'cpu_time_per_image_of_plain': round(planned['cpu_seconds_per_image'] / plain['cpu_seconds_per_image'], 3),
    }


def _case(crop: int, size: int, *, request: str, steps: int) -> Case:
    return dataclasses.replace(PSPNET, height=crop, width=crop, batch=size, request=request, steps=steps)


def _total(result: Result) -> float:
    return result['resident_mb'] + result['peak_mb']


def _largest_plain(runs: Runs, crop: int, limit_mb: float) -> dict[str, Any]:
    def step(size: int, steps: int) -> Result:
        return runs.result(_case(crop, size, request='plain', steps=steps))

    # Not from one picture on: what a convolution needs beside its tensors is most of what that takes.
    known = {size: _total(step(size, 1)) for size in _PROBED}
    size = _next_size(known, limit_mb)
    results: dict[int, Result] = {}
    while size not in results:
        if size < 1:
            raise UserError('--limit_gib: not one picture fits into plain training; choose more')
        results[size] = step(size, 2)
        known[size] = _total(results[size])
        size = _next_size(known, limit_mb)
    return _batch_row(size, results[size])


def _largest_planned(runs: Runs, crop: int, limit_mb: float, fits_plain: int) -> dict[str, Any]:
    """The largest batch that a plan within its share of the limit takes, by planning alone; then measured."""
    budget = f'{_PLANNED_SHARE * limit_mb:.0f}MB'

    def can_be_planned(size: int) -> bool:
        result = runs.result(_case(crop, size, request=budget, steps=0))
        return 'refused' not in result and result['extra_work'] <= _MOST_EXTRA

    fits, too_large = fits_plain, 2 * fits_plain
    while can_be_planned(too_large):
        fits, too_large = too_large, 2 * too_large
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        fits, too_large = (middle, too_large) if can_be_planned(middle) else (fits, middle)
    while _total(result := runs.result(_case(crop, fits, request=budget, steps=2))) > limit_mb:
        fits -= max(1, math.ceil(fits * (1 - limit_mb / _total(result))))
        if fits < 1:
            raise UserError('--limit_gib: not one picture fits; choose more')
    return {'memory_budget': budget, 'extra_forward_work': round(result['extra_work'], 3), **_batch_row(fits, result)}


def _batch_row(size: int, result: Result) -> dict[str, Any]:
    return {
        'batch': size,
        'total_mb': round(_total(result)),
        'seconds_per_image': round(min(result['seconds']) / size, 3),
        'cpu_seconds_per_image': round(min(result['cpu_seconds']) / size, 3),
    }


def _next_size(known: dict[int, float], limit: float) -> int:
    """The largest size within `limit` by the line through the two known totals that are nearest to it.

    It lies between those known to fit and those known not to. A known size is the answer; 0: not one fits.
    """
    too_large = min((size for size, total in known.items() if total > limit), default=sys.maxsize)
    fits = max((size for size, total in known.items() if total <= limit and size < too_large), default=0)
    first, second = sorted(known, key=lambda size: abs(known[size] - limit))[:2]
    each = (known[second] - known[first]) / (second - first)
    by_line = first + math.floor((limit - known[first]) / each) if each > 0 else fits + 1
    return max(fits, min(by_line, too_large - 1))


def predicted(runs: Runs, only: str) -> dict[str, Any]:
    """Predicted against measured peaks, plain and `auto`; bfloat16 where the processor has it."""
    rows = []
    for plain in _PREDICTED:
        for request in ('plain', 'auto'):
            case = plain.asking(request)
            if only in case.name and (processor.has_bfloat16() or not case.bfloat16):
                rows.append({'case': case.name, **summary(runs.result(case))})
    errors = [abs(row['predicted_of_measured'] - 1) for row in rows]
    return {
        'predicted': rows,
        'largest_error': round(max(errors, default=0.0), 3),
        f'within_{_WITHIN}': sum(error <= _WITHIN for error in errors),
        'runs': len(rows),
        'cases': len({row['case'].rpartition('_')[0] for row in rows}),
    }


def timeline(runs: Runs, only: str) -> dict[str, Any]:
    """Memory through one step of PSPNet, plain and planned, on a smaller crop."""
    case = Case(model='pspnet', height=449, width=449, batch=2, steps=3, timeline=True)
    return {'timeline': {request: runs.result(case.asking(request)) for request in _TIMELINE if only in request}}


def planner(runs: Runs, only: str) -> dict[str, Any]:
    """The planner's own figures; runs no step, and is not kept."""
    from benchmarks.checkpointing import against_rules

    rng = np.random.default_rng(0)
    return {
        'chains': _NUM_CHAINS,
        'equal_to_brute_force': sum(against_rules.equals_brute_force(rng) for _ in range(_NUM_CHAINS)),
        'square_root_rule': [against_rules.square_root_rule(case) for case in (PSPNET, ICNET) if only in case.network],
    }


SUITES: dict[str, Callable[..., dict[str, Any]]] = {
    'models': models,
    'depth': depth,
    'batch': batch,
    'predicted': predicted,
    'timeline': timeline,
    'planner': planner,
}
