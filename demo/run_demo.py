"""The whole road on synthetic street scenes: data, records, training, evaluation, export, prediction."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from core import command_line
from core.errors import UsageError, UserError
from demo.journal import Journal
from demo.steps import CONFIG, DEFAULT_STEPS, Places, Step, steps

ROOT = Path(__file__).resolve().parent.parent
_EXAMPLES = """  make demo
  make demo DEMO_FLAGS='--steps 50 --num_train 40 --num_val 8'    a quick look; accuracy will be low
  make demo DEMO_FLAGS='--output_dir runs/demo2'
"""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Flags, checked."""
    parser = command_line.make_parser(
        f'{__doc__}\n\nA finished step is not run again; start it again to go on.', _EXAMPLES
    )
    parser.add_argument('--output_dir', default='runs/demo', metavar='DIR', help='default: runs/demo')
    for name, default, what in (
        ('steps', DEFAULT_STEPS, 'training steps'),
        ('num_train', 240, 'scenes to train on'),
        ('num_val', 40, 'scenes to evaluate on'),
    ):
        parser.add_argument(f'--{name}', type=int, default=default, metavar='N', help=f'{what} (default: {default})')
    flags = parser.parse_args(argv)
    for name in ('steps', 'num_train', 'num_val'):
        if getattr(flags, name) < 1:
            raise UsageError(f'--{name}: got {getattr(flags, name)}, choose 1 or more')
    return flags


def run_steps(todo: Sequence[Step], journal: Journal) -> None:
    """Runs each step that is not done yet, showing its command; UserError if one fails."""
    for number, step in enumerate(todo, 1):
        print(f'\n[{number}/{len(todo)}] {step.title}', flush=True)
        if journal.is_done(step):
            print('    done before', flush=True)
            continue
        print(f'    $ {shlex.join(["python", *step.arguments])}', flush=True)
        journal.forget_from(step)
        start = time.monotonic()
        code = subprocess.run([sys.executable, *step.arguments], cwd=ROOT, check=False).returncode
        if code:
            raise UserError(
                f'step {step.name} failed with exit code {code}, see above; run the demo again to go on from there'
            )
        journal.record(step)
        print(f'    {time.monotonic() - start:.0f} s', flush=True)


def summary(places: Places) -> str:
    """Where everything is, and how good it became."""
    metrics = json.loads((ROOT / places.metrics).read_text(encoding='utf-8'))
    rows = [
        ('mean IoU', f'{metrics["mean_iou"]:.3f} on {metrics["num_examples"]} scenes it has not seen'),
        ('picture', places.sheet),
        ('page', f'{places.eval}/report/index.html: open it in a browser'),
        ('TensorBoard', f'{os.path.relpath(sys.executable)} -m tensorboard.main --logdir {places.train}'),
        ('exported graph', f'{places.export}/frozen_inference_graph.pb'),
        ('exported model', f'{places.export}/saved_model'),
        ('config', f'{CONFIG}: edit it, or try --set; your own data: README.md'),
    ]
    return '\n'.join(f'{name:<15} {value}' for name, value in rows)


def main(argv: Sequence[str] | None = None) -> int:
    flags = parse_args(argv)
    start = time.monotonic()
    places = Places(flags.output_dir)
    todo = steps(places, num_steps=flags.steps, num_train=flags.num_train, num_val=flags.num_val)
    run_steps(todo, Journal(ROOT / flags.output_dir / 'steps.json', ROOT, todo))
    print(f'\n{summary(places)}\n\nDone in {time.monotonic() - start:.0f} s.')
    return 0


if __name__ == '__main__':
    command_line.run(main)
