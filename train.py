"""Trains the model of a pipeline config; the same command goes on where an earlier run ended."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from builders import config_loader
from core import command_line
from core.errors import UsageError
from engine import cluster as workers_of

if TYPE_CHECKING:
    from engine.train_lib import TrainOptions
    from protos.pipeline_pb2 import PipelineConfig

_EXAMPLES = """\
  train, with checkpoints, metrics.jsonl, TensorBoard curves and the effective config in /tmp/run:
    python train.py --config_path=configs/my.config --logdir=/tmp/run
  go on after Ctrl-C, a crash, or a larger num_steps: the same command
  a quick look, smaller and shorter:
    python train.py --config_path=my.config --logdir=/tmp/try --set train_config.num_steps=50
  four GPUs, which share train_config.batch_size:
    python train.py --config_path=my.config --logdir=/tmp/run --num_clones=4
  two machines, with TF_CONFIG set on each (docs/distributed.md):
    python train.py --config_path=configs/my.config --logdir=/shared/run
  evaluate every 1000 steps, keep the best checkpoint in /tmp/run/best, end when 5 evaluations bring nothing better:
    python train.py --config_path=my.config --logdir=/tmp/run --eval_interval=1000 --patience=5
  watch: tensorboard --logdir=/tmp/run
"""

# Flags of TensorFlow 1's parameter servers: name, type, default.
_OBSOLETE = (
    ('num_replicas', int, 1),
    ('num_ps_tasks', int, 0),
    ('master', str, ''),
    ('task', int, 0),
    ('startup_delay_steps', int, 15),
)


def make_parser(description: str = __doc__ or '', examples: str = _EXAMPLES) -> argparse.ArgumentParser:
    """The flags of this script, shared with train_mem_saving.py."""
    parser = command_line.make_parser(description, examples)
    command_line.add_config_flags(parser)
    parser.add_argument('--logdir', required=True, metavar='DIR', help='what the run writes, and resumes from')
    parser.add_argument(
        '--save_interval_secs',
        type=float,
        default=600,
        metavar='SECONDS',
        help='time between two checkpoints (default: 600); see also train_config.save_checkpoint_every_n_steps',
    )
    parser.add_argument(
        '--max_checkpoints_to_keep',
        type=int,
        default=15,
        metavar='N',
        help='older ones are removed, but see train_config.keep_checkpoint_every_n_hours; 0 keeps all (default: 15)',
    )
    parser.add_argument(
        '--eval_interval',
        type=int,
        metavar='N',
        help='evaluate on eval_input_reader every N steps and after the last, and keep the best checkpoint in '
        'LOGDIR/best (default: train_config.eval_interval; 0 never)',
    )
    parser.add_argument(
        '--best_metric',
        metavar='NAME',
        help='a number of metrics.json that says which is best, for example class_iou.road '
        '(default: train_config.best_metric, mean_iou)',
    )
    parser.add_argument(
        '--patience',
        type=int,
        metavar='K',
        help='end after K evaluations without a better one (default: train_config.patience; 0 never)',
    )
    command_line.add_boolean(
        parser, 'image_summaries', default=False, help='show image | label | prediction in TensorBoard'
    )
    command_line.add_boolean(
        parser,
        'log_examples',
        default=False,
        help="write the file names of each step's batch into LOGDIR/examples.jsonl, each step once",
    )
    parser.add_argument(
        '--num_clones',
        type=int,
        default=1,
        metavar='N',
        help='devices of this process that share train_config.batch_size, with those of other workers in TF_CONFIG '
        '(default: 1)',
    )
    command_line.add_boolean(parser, 'clone_on_cpu', default=False, help='make the clones on CPUs, to try things out')
    for name, kind, default in _OBSOLETE:
        parser.add_argument(f'--{name}', type=kind, default=default, help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses flags, loads the config, trains; returns the exit code."""
    config, options = prepare(make_parser().parse_args(arguments))
    from engine import train_lib

    train_lib.train(config, options)
    return 0


def prepare(flags: argparse.Namespace) -> tuple[PipelineConfig, TrainOptions]:
    """Checks flags, config and records, and loads TensorFlow: what `train_lib.train` takes.

    Raises UsageError, ConfigError or DataError, before a model is built or the log directory is made.
    """
    check_flags(flags)
    cluster = workers_of.from_environment()
    config = config_loader.load(flags.config_path, overrides(flags), purpose='train')
    speaks = cluster is None or cluster.rank == 0
    message = '%(message)s' if cluster is None else f'worker {cluster.rank}: %(message)s'
    logging.basicConfig(level=logging.INFO if speaks else logging.WARNING, format=message, stream=sys.stderr)

    with command_line.quiet_start():
        from builders import input_builder
        from engine import train_lib

    input_builder.check_reader(config, 'train')
    if config.train_config.eval_interval:
        input_builder.check_reader(config, 'eval')
    return config, train_lib.TrainOptions(
        logdir=flags.logdir,
        save_interval_secs=flags.save_interval_secs,
        max_checkpoints_to_keep=flags.max_checkpoints_to_keep,
        image_summaries=flags.image_summaries,
        log_examples=flags.log_examples,
        num_clones=flags.num_clones,
        clone_on_cpu=flags.clone_on_cpu,
        cluster=cluster,
    )


def overrides(flags: argparse.Namespace) -> list[str]:
    """Of --set, and those that flags with a field of their own stand for."""
    given = {name: getattr(flags, name) for name in ('eval_interval', 'best_metric', 'patience')}
    return flags.overrides + [f'train_config.{name}={value}' for name, value in given.items() if value is not None]


def check_flags(flags: argparse.Namespace) -> None:
    """UsageError for a value out of range; one line on stderr for each flag that TensorFlow 2 made meaningless."""
    if not flags.logdir:
        raise UsageError('--logdir: is empty, give a directory')
    if not flags.save_interval_secs > 0:
        raise UsageError(f'--save_interval_secs: got {flags.save_interval_secs:g}, choose a number above 0')
    for name, least in (('max_checkpoints_to_keep', 0), ('num_clones', 1), ('eval_interval', 0), ('patience', 0)):
        if (getattr(flags, name) if getattr(flags, name) is not None else least) < least:
            raise UsageError(f'--{name}: got {getattr(flags, name)}, choose {least} or more')
    for name, _, default in _OBSOLETE:
        if getattr(flags, name) != default:
            print(
                f'warning: --{name} has no effect (there are no parameter servers any more); '
                'use --num_clones for several GPUs of one machine',
                file=sys.stderr,
            )


if __name__ == '__main__':
    command_line.run(main)
