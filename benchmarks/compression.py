"""What compression costs and saves on CamVid: the table of docs/compression.md, from training to exported graphs.

A net is trained, cut to half of its filters, and retrained for a third of the steps, at twice the learning rate: by L1
norms as they are; by L1 norms, by chance and by Taylor's criterion with kernels refitted; by the last taught by the
whole net, or in four cuts; and not uniformly, to the latency of the uniform cut. Beside them the whole net is trained
as much further, and the small net from scratch for all of those steps, at the net's own rate.

Each piece is train.py, compress.py, eval.py or export.py in a process of its own, and is done once: the same
command goes on where an earlier one stopped, a folder in which train.py has already come to the last step is taken as
it is. Progress goes to stderr; at the end one JSON object is printed, and --output writes the table.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import runner
from benchmarks.pruning import latency, recipe, table
from builders.names import suggestion
from core import command_line
from core.errors import UsageError, UserError

CONFIG = 'configs/icnet_0.5_289x385_resnet50_camvid.config'
_EXAMPLES = """\
  the table in docs/ (records first: see docs/camvid.md); at most 4 hours on two cores:
    python -m benchmarks.compression --output_dir runs/compression --output docs/compression.md
  go on after Ctrl-C: the same command
  only the first trainings:
    python -m benchmarks.compression --output_dir runs/compression --only base,taylor_refitted
  the table of what is finished so far, starting no training:
    python -m benchmarks.compression --output_dir runs/compression --report_only --output docs/compression.md
  three seeds:
    python -m benchmarks.compression --output_dir runs/compression --seeds 1,2,3 --output docs/compression.md
  a narrower net, on a processor without bfloat16:
    python -m benchmarks.compression --output_dir runs/narrow --steps 1000 --set model.icnet.filter_scale=0.25 \\
      --set model.icnet.input_scale=1 --set train_config.mixed_precision=FLOAT32
"""


def make_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    parser.add_argument('--output_dir', required=True, metavar='DIR', help='one folder for each net')
    parser.add_argument('--output', metavar='FILE', help='markdown page whose table is replaced')
    parser.add_argument('--config_path', default=CONFIG, metavar='FILE', help=f'the net (default: {CONFIG})')
    parser.add_argument(
        '--set',
        dest='overrides',
        action='append',
        default=[],
        metavar='PATH=VALUE',
        help='change a field of the config in every training; repeatable',
    )
    parser.add_argument('--steps', type=int, default=2000, metavar='S', help='of the net to compress (default: 2000)')
    parser.add_argument('--seeds', default='1', metavar='N,N', help='train_config.random_seed (default: 1)')
    parser.add_argument(
        '--only', metavar='A,B', help=f'these nets, and what they are made from; of {", ".join(recipe.ROWS)}'
    )
    parser.add_argument('--images', type=int, default=50, metavar='N', help='pictures timed (default: 50)')
    command_line.add_boolean(parser, 'report_only', default=False, help='start no training; report the finished ones')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    flags = make_parser().parse_args(arguments)
    recipes = _recipes(flags)
    wanted = _wanted(flags.only)
    pieces = {each.seed: [piece for piece in each.pieces() if _needed(piece, wanted)] for each in recipes}
    if not flags.report_only:
        runner.complete([piece for own in pieces.values() for piece in own])
    by_seed = {each.seed: dict(recipe.results(each.pieces())) for each in recipes}
    if not any(recipe.BASE in found for found in by_seed.values()):
        raise UserError(f'{flags.output_dir}: no run is finished yet; start it without --report_only')
    first = recipes[0]
    nets = {row: first.output_dir / row for row in recipe.ROWS if row in by_seed[first.seed]}
    costs = latency.measure_exports(nets, output_dir=first.output_dir, size=first.size, num_images=flags.images)
    rows = table.summarise(by_seed, costs)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    if flags.output:
        made_by = _command(arguments)
        table.write(Path(flags.output), table.section(rows, made_by=made_by, explained=first, cpus=cpus))
    print(json.dumps({'benchmark': 'compression', 'config': flags.config_path, 'num_steps': flags.steps, 'nets': rows}))
    return 0


def _recipes(flags: argparse.Namespace) -> list[recipe.Recipe]:
    try:
        seeds = [int(part) for part in flags.seeds.split(',')]
    except ValueError:
        raise UsageError(f'--seeds: got {flags.seeds!r}, choose whole numbers such as 1,2,3') from None
    if len(set(seeds)) < len(seeds):
        raise UsageError(f'--seeds: got {flags.seeds!r}, name each once')
    if flags.steps < 3:
        raise UsageError(f'--steps: got {flags.steps}, choose 3 or more')
    folder = Path(flags.output_dir)
    return [
        recipe.Recipe(
            config_path=flags.config_path,
            overrides=flags.overrides,
            num_steps=flags.steps,
            seed=seed,
            output_dir=folder if seed == seeds[0] else folder / f'seed_{seed}',
        )
        for seed in seeds
    ]


def _wanted(only: str | None) -> Sequence[str]:
    names: Sequence[str] = only.split(',') if only else recipe.ROWS
    for name in names:
        if name not in recipe.ROWS:
            raise UsageError(f'--only: got {name!r}{suggestion(name, recipe.ROWS)}')
    return names


def _needed(piece: runner.Piece, wanted: Sequence[str]) -> bool:
    """The nets themselves, the one that they are made from, and the cuts on the way."""
    net = piece.folder.name
    if piece.folder.parent.name != 'cuts':
        return net == recipe.BASE or net in wanted
    return any(f'cuts/{net}' in table.cuts_of(name) for name in wanted)


def _command(arguments: Sequence[str] | None) -> str:
    """What makes the whole table, also where this call only reported."""
    words = [word for word in (sys.argv[1:] if arguments is None else arguments) if word != '--report_only']
    return shlex.join(['python', '-m', 'benchmarks.compression', *words])


if __name__ == '__main__':
    command_line.run(main)
