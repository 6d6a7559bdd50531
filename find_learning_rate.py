"""Finds a learning rate for a config: trains some steps while the rate rises, and reads the loss."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from builders import config_loader
from core import command_line
from core.errors import UsageError

_EXAMPLES = """\
  the loss over the learning rate, as picture and JSON, and a range to choose from:
    python find_learning_rate.py --config_path=configs/my.config --output_dir=/tmp/rates
  for another optimiser, between other rates:
    python find_learning_rate.py --config_path=my.config --output_dir=/tmp/adam --last_learning_rate=0.1 \\
      --set 'train_config.optimizer={adam_optimizer {learning_rate {constant_learning_rate {}}}}'

Everything is as in train.py but the schedule: the rate is multiplied by the same factor at every step. No checkpoint is
written. The sweep ends early when the smoothed loss is above 4 times its lowest value, or not finite.
See docs/training.md.
"""


def make_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    command_line.add_config_flags(parser)
    parser.add_argument('--output_dir', required=True, metavar='DIR', help='where the results are written')
    numbers = (
        ('first_learning_rate', float, 1e-7, 'where the sweep starts'),
        ('last_learning_rate', float, 10.0, 'where it ends'),
        ('num_steps', int, 100, 'steps in between, 10 or more'),
        ('smoothing', float, 0.98, 'share of the average that a new loss leaves as it is, from 0 to below 1'),
        ('num_clones', int, 1, 'devices of this machine that share train_config.batch_size'),
    )
    for name, kind, default, meaning in numbers:
        parser.add_argument(
            f'--{name}', type=kind, default=default, metavar='N', help=f'{meaning} (default: {default:g})'
        )
    command_line.add_boolean(parser, 'clone_on_cpu', default=False, help='make the clones on CPUs, to try things out')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses flags, loads the config, sweeps, prints what was found; returns the exit code."""
    flags = make_parser().parse_args(arguments)
    _check(flags)
    config = config_loader.load(flags.config_path, flags.overrides, purpose='train')
    logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)

    with command_line.quiet_start():
        from builders import input_builder
        from engine import learning_rate_finder as finder
        from engine.train_lib import TrainOptions

    input_builder.check_reader(config, 'train')
    found = finder.find(
        config,
        TrainOptions(logdir=flags.output_dir, num_clones=flags.num_clones, clone_on_cpu=flags.clone_on_cpu),
        finder.Sweep(
            first=flags.first_learning_rate,
            last=flags.last_learning_rate,
            num_steps=flags.num_steps,
            smoothing=flags.smoothing,
        ),
    )
    print(_said(found))
    print(f'wrote {os.path.join(flags.output_dir, finder.JSON_NAME)} and {finder.PICTURE_NAME} beside it')
    return 0


def _check(flags: argparse.Namespace) -> None:
    """UsageError for a value out of range."""
    if not 0 < flags.first_learning_rate < flags.last_learning_rate < float('inf'):
        raise UsageError(
            f'--first_learning_rate, --last_learning_rate: got {flags.first_learning_rate:g} and '
            f'{flags.last_learning_rate:g}, choose numbers above 0 that ascend'
        )
    if flags.num_steps < 10:
        raise UsageError(f'--num_steps: got {flags.num_steps}, choose 10 or more')
    if not 0 <= flags.smoothing < 1:
        raise UsageError(f'--smoothing: got {flags.smoothing:g}, choose from 0 to below 1')
    if flags.num_clones < 1:
        raise UsageError(f'--num_clones: got {flags.num_clones}, choose 1 or more')


def _said(found) -> str:
    """For the terminal."""
    ended = f'{len(found.losses)} steps, up to {found.learning_rates[-1]:.2g}' + (
        ', where the loss exploded' if found.exploded else ''
    )
    if found.suggestion is None:
        return f'{ended}: the loss did not fall; choose other rates, more steps or less smoothing'
    low, high = found.suggestion.range
    return (
        f'{ended}: choose a learning rate between {low:.2g} and {high:.2g} '
        f'(steepest descent at {found.suggestion.steepest:.2g}, minimum at {found.suggestion.minimum:.2g}, '
        f'a tenth of it {found.suggestion.tenth_of_minimum:.2g})'
    )


if __name__ == '__main__':
    command_line.run(main)
