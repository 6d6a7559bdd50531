"""Trains as train.py does, bit for bit, in less memory: activations are dropped and computed again, by a plan."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import train
from core import command_line
from core.errors import UsageError
from recompute.budget import parse_budget

_EXAMPLES = """\
  least memory for at most a third of a forward pass more work:
    python train_mem_saving.py --config_path=configs/my.config --logdir=/tmp/run
  least extra work within 6 GB for a step:
    python train_mem_saving.py --config_path=my.config --logdir=/tmp/run --memory_budget=6GB
  see the plan, train nothing:
    python train_mem_saving.py --config_path=my.config --logdir=/tmp/run --plan_only
  keep what you name, compute the rest again:
    python train_mem_saving.py --config_path=my.config --logdir=/tmp/run \\
      --checkpoint_nodes=SharedFeatureExtractor/resnet_v1_50/block2,SharedFeatureExtractor/resnet_v1_50/block3

A run of train.py can be continued by this script and the other way round. See docs/gradient_checkpointing.md.
"""

_MODES = ('auto', 'speed', 'memory')


def make_parser() -> argparse.ArgumentParser:
    """train.py's flags and those of the plan."""
    parser = train.make_parser(__doc__ or '', _EXAMPLES)
    plan = parser.add_argument_group('plan')
    plan.add_argument(
        '--mode',
        choices=_MODES,
        help='auto: least memory for at most a third of a forward pass; speed: least memory without running a '
        'convolution twice; memory: close to the least for at most 0.94 of a forward pass (default: what the config '
        'says, else auto)',
    )
    plan.add_argument(
        '--memory_budget',
        metavar='SIZE',
        help='least extra work within this: what a step may need, as 6GB or 800MiB, or a share of the activations '
        'that plain training keeps, as 25%%',
    )
    plan.add_argument(
        '--checkpoint_nodes', metavar='A,B,C', help='operations, tensors or scopes to keep; the rest is computed again'
    )
    command_line.add_boolean(
        plan, 'plan_only', default=False, help='print the plan as one JSON object and stop; nothing is trained'
    )
    command_line.add_boolean(
        plan, 'log_memory', default=False, help='add the peak memory so far to each line of metrics.jsonl'
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses flags, plans, and trains unless only the plan is wanted; returns the exit code."""
    args = make_parser().parse_args(arguments)
    asked = _asked(args)
    config, options = train.prepare(args)
    from engine import recompute_plan, train_lib
    from recompute.plan import Mode, Request

    if asked:
        request = Request(**asked)
    elif args.mode:
        request = Request(mode=Mode(args.mode))
    else:
        request = recompute_plan.request_from_config(config.train_config.gradient_checkpointing)
    options = dataclasses.replace(options, recompute=request, log_memory=args.log_memory)
    if args.plan_only:
        print(json.dumps(train_lib.plan(config, options), indent=2))
    else:
        train_lib.train(config, options)
    return 0


def _asked(args: argparse.Namespace) -> Mapping[str, Any]:
    """The budget or the nodes of a `Request`; nothing if no flag says them. Loads no TensorFlow."""
    given = [f'--{name}' for name in ('mode', 'memory_budget', 'checkpoint_nodes') if getattr(args, name) is not None]
    if len(given) > 1:
        raise UsageError(f'{" and ".join(given)}: choose one of them')
    if args.memory_budget is not None:
        return {**parse_budget(args.memory_budget, '--memory_budget'), 'said_as': '--memory_budget'}
    if args.checkpoint_nodes is None:
        return {}
    names = [name.strip() for name in args.checkpoint_nodes.split(',') if name.strip()]
    if not names:
        raise UsageError(
            f'--checkpoint_nodes: got {args.checkpoint_nodes!r}, choose names of operations, tensors or scopes: a,b,c'
        )
    return {'nodes': names, 'said_as': '--checkpoint_nodes'}


if __name__ == '__main__':
    command_line.run(main)
