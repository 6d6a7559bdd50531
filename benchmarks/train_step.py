"""Seconds of one training step against its peers', each in processes of their own, in turn.

A step is forward, losses, L2 regulariser, backward and momentum update, on a batch that lies in memory. Peers: the
graph, session and step of the public reference implementation (oandrienko/fast-semantic-segmentation, a checkout of
which is read where it lies), and the same layers in PyTorch (`pip install torch==2.13.0 numpy`, in an environment of
its own). A peer that is not given is left out, and the result says so. Prints one JSON object.

  two precisions of one case:
    python -m benchmarks.train_step --case icnet_0.5_353x481_batch_8 --rounds 3
  all cases against all peers:
    python -m benchmarks.train_step --case all --reference_dir ../reference --torch_python ../torch/bin/python
  the whole loop (reading, augmentation, step, summaries) in images per second; records first: see docs/camvid.md:
    python -m benchmarks.train_step --loop 'data/camvid/camvid_train.record-*' --reference_dir ../reference
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.peers import runs
from benchmarks.peers.cases import CASES
from core import command_line, processor
from core.errors import UserError

# Seconds (of steps) over a peer's: at most. Images per second (of loops) over the reference's: at least.
_STEP_BOUNDS = {
    'float32_over_reference_float32': 0.95,
    'float32_over_torch_float32': 1.0,
    'bfloat16_over_torch_bfloat16': 1.0,
}
_LOOP_BOUNDS = {'bfloat16_over_reference_float32': 1.5}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--case', choices=[*sorted(CASES), 'all'], default='icnet_0.5_353x481_batch_8')
    parser.add_argument('--rounds', type=int, default=3, help='processes of each contestant and case')
    parser.add_argument('--steps', type=int, default=10, help='timed steps of each process, after two that are not')
    parser.add_argument('--reference_dir', default='', help='a checkout of the reference')
    parser.add_argument('--torch_python', default='', help='a Python interpreter that has PyTorch')
    parser.add_argument('--loop', default='', metavar='RECORDS', help='time whole loops on these records instead')
    flags = parser.parse_args(arguments)
    report = _loops(flags) if flags.loop else _steps(flags)
    peers = {'reference': flags.reference_dir, 'torch': flags.torch_python or flags.loop}
    left_out = [name for name, given in peers.items() if not given]
    left_out += [] if processor.has_bfloat16() else ['bfloat16, which this processor would emulate']
    common = {'cpus': os.cpu_count(), 'load_average': round(os.getloadavg()[0], 1), 'rounds': flags.rounds}
    print(json.dumps({'benchmark': 'train_step', **common, 'left_out': left_out, **report}))


def _steps(flags: argparse.Namespace) -> dict[str, Any]:
    contestants = runs.of_steps(flags.reference_dir, flags.torch_python)
    cases = CASES.values() if flags.case == 'all' else [CASES[flags.case]]
    found = {}
    for case in cases:
        results = runs.in_turn(contestants, flags.rounds, '--case', case.to_json(), '--steps', str(flags.steps))
        wall, cpu = (runs.medians(results, clock) for clock in (0, 1))
        found[case.name] = {
            'parameters': _parameters(case.name, results),
            'median_seconds': {name: round(value, 4) for name, value in wall.items()},
            'median_cpu_seconds': {name: round(value, 4) for name, value in cpu.items()},
            'ratios': _ratios(wall, _STEP_BOUNDS),
        }
    return {'steps': flags.steps, 'bounds': _STEP_BOUNDS, 'cases': found}


def _parameters(case: str, results: dict[str, list[dict[str, Any]]]) -> int:
    """What every contestant trained; UserError if one's network is another."""
    counts = {name: processes[0]['parameters'] for name, processes in results.items()}
    if len(set(counts.values())) > 1:
        raise UserError(f'{case}: the networks differ, trained parameters: {counts}')
    return counts['float32']


def _loops(flags: argparse.Namespace) -> dict[str, Any]:
    contestants = runs.of_loops(flags.reference_dir)
    results = runs.in_turn(contestants, flags.rounds, '--records', flags.loop, '--steps', str(flags.steps))
    speeds = {
        name: statistics.median(result['images_per_second'] for result in processes)
        for name, processes in results.items()
    }
    return {
        'steps': flags.steps,
        'bounds': _LOOP_BOUNDS,
        'images_per_second': {name: round(value, 2) for name, value in speeds.items()},
        'ratios': _ratios(speeds, _LOOP_BOUNDS),
    }


def _ratios(values: dict[str, float], bounds: dict[str, float]) -> dict[str, float]:
    """Every ratio that has a bound, as far as its peer was given, and float32 over bfloat16."""
    wanted = {**bounds, 'float32_over_bfloat16': 0.0}
    pairs = {name: name.split('_over_') for name in wanted}
    return {name: round(values[a] / values[b], 3) for name, (a, b) in pairs.items() if a in values and b in values}


if __name__ == '__main__':
    command_line.run(main)
