"""Each case once, in a process of its own, whatever interrupts the suite."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import runner
from benchmarks.checkpointing.cases import Case
from core.errors import UserError

_ROOT = Path(__file__).resolve().parents[2]
# A result of other code than this is measured again.
_SOURCES = (
    'recompute/*.py',
    'benchmarks/checkpointing/worker.py',
    'benchmarks/checkpointing/networks.py',
    'engine/memory.py',
    'engine/train_step.py',
    'engine/devices.py',
    'core/layers.py',
    'meta_architectures/*.py',
)

# Freed memory leaves the process at once, which costs time; otherwise oneDNN's builds keep every block ever needed.
_RETURNING_MEMORY = {
    'TF_ONEDNN_USE_SYSTEM_ALLOCATOR': '1',
    'GLIBC_TUNABLES': 'glibc.malloc.mmap_threshold=1048576:glibc.malloc.trim_threshold=1048576',
}

Result = dict[str, Any]


class Runs:
    """Results of cases, measured on demand, or read where an earlier call has left them.

    Args:
      work_dir: one JSON file for each finished case.
    """

    def __init__(self, work_dir: Path):
        self._work_dir = work_dir

    def result(self, case: Case) -> Result:
        """What `worker.measure` says of it. Raises UserError if its process fails."""
        path = self._work_dir / f'{case.name}_{case.steps}_steps{"_timeline" * case.timeline}.json'
        source = {'case': dataclasses.asdict(case), 'source': _source_digest()}
        if path.exists():
            stored = json.loads(path.read_text(encoding='utf-8'))
            if {key: stored.get(key) for key in source} == source:
                return stored['result']
        _say(f'{case.name} ...')
        result = _run(case)
        self._work_dir.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix('.tmp')
        beside.write_text(json.dumps({**source, 'result': result}) + '\n', encoding='utf-8')
        os.replace(beside, path)
        _say(f'{case.name}: { ({key: value for key, value in result.items() if key != "timeline"}) }')
        return result

    def against_plain(self, plain: Case, requests: Sequence[str]) -> dict[str, Any]:
        """Each request beside plain training; `N%peak` asks for a budget of that share of plain training's peak."""
        base = self.result(plain)
        found: dict[str, Any] = {'plain': summary(base)}
        for request in requests:
            asked = request
            if request.endswith('%peak'):
                asked = f'{float(request.removesuffix("%peak")) / 100 * base["peak_mb"]:.0f}MB'
            result = self.result(plain.asking(asked))
            found[request] = result if 'refused' in result else {**summary(result), **_ratios(result, base)}
        return found


def summary(result: Result) -> dict[str, Any]:
    """What a reader wants to see of one case."""
    return {
        'peak_mb': round(result['peak_mb']),
        'predicted_of_measured': round(result['predicted_peak_mb'] / result['peak_mb'], 3),
        'seconds': round(statistics.median(result['seconds']), 3),
        'cpu_seconds': round(statistics.median(result['cpu_seconds']), 3),
        'activations_kept': round(result['activations_kept'], 3),
        'extra_forward_work': round(result['extra_work'], 3),
        'planning_seconds': round(result['planning_seconds'], 1),
        'tracing_seconds': round(result['tracing_seconds'], 1),
    }


def _ratios(result: Result, base: Result) -> dict[str, Any]:
    def times(key: str) -> float:
        return round(statistics.median(result[key]) / statistics.median(base[key]), 3)

    return {
        'peak_of_plain': round(result['peak_mb'] / base['peak_mb'], 3),
        'time_of_plain': times('seconds'),
        'cpu_time_of_plain': times('cpu_seconds'),
        'loss_equals_plain': result['loss'] == base['loss'],
    }


def _run(case: Case) -> Result:
    described = json.dumps(dataclasses.asdict(case))
    command = [sys.executable, '-m', 'benchmarks.gradient_checkpointing', '--worker', described]
    environment = {**os.environ, **(_RETURNING_MEMORY if case.timeline else {})}
    with runner.termination_as_interrupt():
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, env=environment)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ['out of memory?'])[-1]
        raise UserError(f'{case.name}: failed with exit code {done.returncode}: {reason}; the same command goes on')
    return json.loads(done.stdout.splitlines()[-1])


@functools.cache
def _source_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _SOURCES for path in _ROOT.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
