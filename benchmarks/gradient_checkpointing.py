"""Memory and time of training steps with and without a recompute plan.

Prints one JSON object. Each case runs in a process of its own, and its result is kept in --work_dir: the same command
goes on where it was stopped. Peaks are resident memory above the process's size before its first step; times are
medians of the steps after the first, as wall time and as CPU time, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.checkpointing.cases import Case
from benchmarks.checkpointing.runs import Runs
from core import command_line
from core.errors import UsageError

_EXAMPLES = """\
  PSPNet 713x713 x2 and ICNet 1025x1025 x4, plain and planned; an hour or two:
    python -m benchmarks.gradient_checkpointing --suite models
  on one core, so that times can be compared on a machine with other work:
    taskset -c 1 python -m benchmarks.gradient_checkpointing --suite models --only pspnet
  a residual chain of 16 to 256 blocks:
    python -m benchmarks.gradient_checkpointing --suite depth
  the largest batch within 16 GiB, which have to be free, and something smaller, in half an hour:
    python -m benchmarks.gradient_checkpointing --suite batch
    python -m benchmarks.gradient_checkpointing --suite batch --crop 449 --limit_gib 8
  predicted against measured peaks:
    python -m benchmarks.gradient_checkpointing --suite predicted
  against brute force and the square-root rule; runs no step:
    python -m benchmarks.gradient_checkpointing --suite planner
  the picture of the document:
    python -m benchmarks.gradient_checkpointing --suite timeline --picture docs/images/memory_timeline.png
"""
_SUITES = ('batch', 'depth', 'models', 'planner', 'predicted', 'timeline')


def make_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    parser.add_argument('--suite', choices=_SUITES, default='models', help='what to measure (default: models)')
    parser.add_argument('--only', default='', metavar='TEXT', help='cases whose name contains this')
    parser.add_argument('--crop', type=int, metavar='N', help='batch: side of the pictures (default: 713)')
    parser.add_argument('--limit_gib', type=float, metavar='G', help='batch: memory of the process (default: 16)')
    parser.add_argument('--picture', metavar='FILE', help='timeline: PNG to write')
    parser.add_argument(
        '--work_dir',
        default='runs/gradient_checkpointing',
        metavar='DIR',
        help='a result for each finished case, which is not measured again (default: runs/gradient_checkpointing)',
    )
    parser.add_argument('--worker', metavar='CASE', help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    flags = make_parser().parse_args(arguments)
    if flags.picture and flags.suite != 'timeline':
        raise UsageError(f'--picture: is drawn by --suite timeline, not {flags.suite}')
    more = {key: value for key in ('crop', 'limit_gib') if (value := getattr(flags, key)) is not None}
    for key, value in more.items():
        if not value > 0:
            raise UsageError(f'--{key}: got {value:g}, choose above 0')
    if more and flags.suite != 'batch':
        raise UsageError(f'--{next(iter(more))}: is of --suite batch, not {flags.suite}')
    if flags.only and flags.suite == 'batch':
        raise UsageError('--only: --suite batch has no cases to choose from, plain and planned are compared')
    if flags.worker:
        print(json.dumps(_measured(Case(**json.loads(flags.worker)))))
        return 0
    from benchmarks.checkpointing import picture, suites

    found = suites.SUITES[flags.suite](Runs(Path(flags.work_dir)), flags.only, **more)
    if flags.picture:
        picture.draw(found['timeline'], flags.picture)
    cores = len(os.sched_getaffinity(0))
    print(json.dumps({'benchmark': 'gradient_checkpointing', 'suite': flags.suite, 'cpus': cores, **found}))
    return 0


def _measured(case: Case) -> dict:
    with command_line.quiet_start():
        from benchmarks.checkpointing import worker
    return worker.measure(case)


if __name__ == '__main__':
    command_line.run(main)
