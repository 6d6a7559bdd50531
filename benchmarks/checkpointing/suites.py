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
# What the largest batch is planned with: little enough for five times plain training's, in little time for an image.
_SMALL = '12%'
# Batches that are measured to guess from; with a plan twice as many.
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
    found = {
        request: _largest_batch(runs, request, crop, limit_gib * 1024**3 / 1e6)
        for request in ('plain', _SMALL)
        if only in request
    }
    if len(found) < 2:
        return {'crop': crop, 'limit_gib': limit_gib, 'largest_batch': found}
    plain, planned = found['plain'], found[_SMALL]
    return {
        'crop': crop,
        'limit_gib': limit_gib,
        'largest_batch': found,
        'times_plain': round(planned['batch'] / plain['batch'], 2),
        'time_per_image_of_plain': round(planned['seconds_per_image'] / plain['seconds_per_image'], 3),
        'cpu_time_per_image_of_plain': round(planned['cpu_seconds_per_image'] / plain['cpu_seconds_per_image'], 3),
    }


def _largest_batch(runs: Runs, request: str, crop: int, limit_mb: float) -> dict[str, Any]:
    def step(size: int, steps: int) -> Result:
        case = dataclasses.replace(PSPNET, height=crop, width=crop, batch=size, request=request, steps=steps)
        return runs.result(case)

    def total(result: Result) -> float:
        return result['resident_mb'] + result['peak_mb']

    # Not from one picture on: what a convolution needs beside its tensors is most of what that takes. With a plan it is
    # most of what two pictures take, too.
    few, more = _PROBED if request == 'plain' else [2 * size for size in _PROBED]
    known = {few: total(step(few, 1)), more: total(step(more, 1))}
    size = _next_size(known, limit_mb)
    results = {}
    while size not in results:
        if size < 1:
            raise UserError(f'--limit_gib: not one picture fits with {request}; choose more')
        results[size] = step(size, 2)
        known[size] = total(results[size])
        size = _next_size(known, limit_mb)
    return {
        'batch': size,
        'total_mb': round(known[size]),
        'seconds_per_image': round(min(results[size]['seconds']) / size, 3),
        'cpu_seconds_per_image': round(min(results[size]['cpu_seconds']) / size, 3),
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
