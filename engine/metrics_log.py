"""One JSON object a line, in step order, each step once, across restarts: `metrics.jsonl`, `examples.jsonl`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

METRICS = 'metrics.jsonl'
EXAMPLES = 'examples.jsonl'


def examples_of(rank: int) -> str:
    """The log of the examples that the process `rank` of a training saw: EXAMPLES for the first or only one."""
    return EXAMPLES if rank == 0 else f'examples-worker-{rank}.jsonl'


class MetricsLog:
    """Appends to `<directory>/<filename>`.

    Args:
      directory: made if missing.
      resumed_step: lines of later steps, and a line torn by a crash, are dropped: those steps are done again.
      filename: METRICS or `examples_of` a process.
    """

    def __init__(self, directory: str, *, resumed_step: int, filename: str = METRICS):
        self.path = os.path.join(directory, filename)
        tf.io.gfile.makedirs(directory)
        self._write(_lines_until(self.path, resumed_step))

    def append(self, step: int, values: Mapping[str, Any]) -> None:
        """Adds {"step": step, **values} as one line, on disk when this returns."""
        with tf.io.gfile.GFile(self.path, 'a') as file:
            file.write(json.dumps({'step': step, **values}) + '\n')

    def merge(self, step: int, values: Mapping[str, float]) -> None:
        """Adds `values` to the line of `step` if that is the last one, else appends a line; doing it twice is once."""
        lines = _lines_until(self.path, step)
        last = json.loads(lines.pop()) if lines and _step(lines[-1]) == step else {'step': step}
        self._write([*lines, json.dumps({**last, **values})])

    def _write(self, lines: list[str]) -> None:
        temporary = f'{self.path}.unfinished'
        with tf.io.gfile.GFile(temporary, 'w') as file:
            file.write(''.join(f'{line}\n' for line in lines))
        tf.io.gfile.rename(temporary, self.path, overwrite=True)


def _lines_until(path: str, last_step: int) -> list[str]:
    if not tf.io.gfile.exists(path):
        return []
    with tf.io.gfile.GFile(path) as file:
        return [line for line in file.read().splitlines() if _step(line) <= last_step]


def _step(line: str) -> float:
    try:
        return json.loads(line)['step']
    except (ValueError, KeyError, TypeError):
        return float('inf')
