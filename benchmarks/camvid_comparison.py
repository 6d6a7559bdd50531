"""One recipe, several extractors, several seeds: what an extractor is worth to a short training on CamVid.

Each run is `train.py` and then `eval.py` on the same config, in processes of their own, with the extractor and the seed
set on their command lines. The same command goes on where an earlier one stopped: a finished run is read from its
result.json, an interrupted training resumes from its checkpoint. Runs go seed by seed, so a table of one seed is there
early. Progress goes to stderr; at the end one JSON object is printed, and --output writes the page.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.comparison import page
from benchmarks.comparison.runs import complete, finished, plan
from builders.names import FEATURE_EXTRACTORS, suggestion
from core import command_line
from core.errors import UsageError, UserError

CONFIG = 'configs/fcn_1.0_225x289_mobilenetv1_camvid.config'
_EXTRACTORS = 'mobilenet_v1,mobilenet_v2,resnet_v1_18,inception_v1'
_SEEDS = '1,2,3'
_EXAMPLES = """\
  the page in docs/ (12 runs; records first: see docs/camvid.md):
    python -m benchmarks.camvid_comparison --output_dir runs/camvid_comparison --output docs/camvid_comparison.md
  go on after Ctrl-C: the same command
  the page of what is finished so far, starting nothing:
    python -m benchmarks.camvid_comparison --output_dir runs/camvid_comparison --report_only --output partial.md
  an extractor more; the others are not done again:
    python -m benchmarks.camvid_comparison --output_dir runs/camvid_comparison --extractors mobilenet_v1,resnet_v1_34
  a recipe of your own, in a folder of its own:
    python -m benchmarks.camvid_comparison --output_dir runs/longer --set train_config.num_steps=5000
"""


def make_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    parser.add_argument('--output_dir', required=True, metavar='DIR', help='one folder for each extractor and seed')
    parser.add_argument('--output', metavar='FILE', help='markdown page to write')
    parser.add_argument('--config_path', default=CONFIG, metavar='FILE', help=f'the recipe (default: {CONFIG})')
    parser.add_argument(
        '--set',
        dest='overrides',
        action='append',
        default=[],
        metavar='PATH=VALUE',
        help='change a field of the recipe in every run; repeatable',
    )
    parser.add_argument(
        '--extractors', default=_EXTRACTORS, metavar='A,B', help=f'feature extractors (default: {_EXTRACTORS})'
    )
    parser.add_argument('--seeds', default=_SEEDS, metavar='N,N', help=f'train_config.random_seed (default: {_SEEDS})')
    command_line.add_boolean(parser, 'report_only', default=False, help='start no run; report the finished ones')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    flags = make_parser().parse_args(arguments)
    runs = plan(
        config_path=flags.config_path,
        overrides=flags.overrides,
        extractors=_extractors(flags.extractors),
        seeds=_seeds(flags.seeds),
        output_dir=Path(flags.output_dir),
    )
    results = finished(runs) if flags.report_only else complete(runs)
    if not results:
        raise UserError(f'{flags.output_dir}: no run is finished yet; start it without --report_only')
    report = page.summarise(results, runs)
    if flags.output:
        page.write(Path(flags.output), page.page(report, runs=runs, command=_command(arguments)))
    print(json.dumps({'benchmark': 'camvid_comparison', **report}))
    return 0


def _command(arguments: Sequence[str] | None) -> str:
    """What makes the whole page, also where this call only reported."""
    words = [word for word in (sys.argv[1:] if arguments is None else arguments) if word != '--report_only']
    return shlex.join(['python', '-m', 'benchmarks.camvid_comparison', *words])


def _extractors(text: str) -> list[str]:
    names = text.split(',')
    for name in names:
        if name not in FEATURE_EXTRACTORS:
            raise UsageError(f'--extractors: got {name!r}{suggestion(name, FEATURE_EXTRACTORS)}')
    return _once('--extractors', names)


def _seeds(text: str) -> list[int]:
    try:
        return _once('--seeds', [int(part) for part in text.split(',')])
    except ValueError:
        raise UsageError(f'--seeds: got {text!r}, choose whole numbers such as 1,2,3') from None


def _once(flag: str, values: list) -> list:
    if len(set(values)) < len(values):
        raise UsageError(f'{flag}: got {values}, name each once')
    return values


if __name__ == '__main__':
    command_line.run(main)
