"""Processes that time steps or loops, one per contestant, each handing back one JSON object."""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core import processor
from core.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Contestant:
    """Whoever takes the same steps.

    Attributes:
      name: in the result.
      command: of its process, without what all are told.
    """

    name: str
    command: tuple[str, ...]

    def run(self, *arguments: str) -> dict[str, Any]:
        """The JSON object that its process prints last. Raises SystemExit with what it said if it fails."""
        done = subprocess.run([*self.command, *arguments], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f'{self.name}: {done.stderr}')
        return json.loads(done.stdout.splitlines()[-1])


def of_steps(reference_dir: str, torch_python: str) -> list[Contestant]:
    """This project in both precisions, and the peers that are given; UsageError for one that is not there."""
    own, torch = _module('own_step'), _module('torch_step', torch_python)
    found = _both(own)
    if reference_dir:
        found.append(Contestant('reference_float32', (*_module('reference_step'), *_checkout(reference_dir))))
    if torch_python:
        found += _both(torch, 'torch_')
    return found


def of_loops(reference_dir: str) -> list[Contestant]:
    """As `of_steps`, for whole loops; PyTorch has none that could be compared."""
    own = _module('own_loop')
    found = _both(own)
    if reference_dir:
        found.append(Contestant('reference_float32', (*_module('reference_loop'), *_checkout(reference_dir))))
    return found


def _both(command: tuple[str, ...], prefix: str = '') -> list[Contestant]:
    """The command in float32 and, where the processor has it, in bfloat16."""
    narrow = [Contestant(f'{prefix}bfloat16', (*command, '--bfloat16'))] if processor.has_bfloat16() else []
    return [Contestant(f'{prefix}float32', command), *narrow]


def _module(name: str, python: str = '') -> tuple[str, ...]:
    return python or sys.executable, '-m', f'benchmarks.peers.{name}'


def _checkout(reference_dir: str) -> tuple[str, str]:
    if not (Path(reference_dir) / 'libs' / 'trainer.py').is_file():
        raise UsageError(f'--reference_dir: {reference_dir} is no checkout of fast-semantic-segmentation')
    return '--reference_dir', str(Path(reference_dir).resolve())


def in_turn(contestants: Sequence[Contestant], rounds: int, *arguments: str) -> dict[str, list[dict[str, Any]]]:
    """What every contestant's processes say, one process of each in every round."""
    found: dict[str, list[dict[str, Any]]] = {contestant.name: [] for contestant in contestants}
    for _ in range(rounds):
        for contestant in contestants:
            found[contestant.name].append(contestant.run(*arguments))
    return found


def medians(results: dict[str, list[dict[str, Any]]], clock: int) -> dict[str, float]:
    """Median seconds of a step by contestant, all its processes together; clock 0 is the wall's, 1 the CPU's."""
    return {
        name: statistics.median(step[clock] for result in processes for step in result['seconds'])
        for name, processes in results.items()
    }
