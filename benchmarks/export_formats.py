"""What each form of an export costs in accuracy: export.py for one form after another, as a user would call it.

Prints one JSON object and, on standard error, a table. Every form is compared with the live model on the evaluation
records by export.py itself; a form that it refuses is a row with the reason. Forms that an earlier call has exported
into --work_dir are not exported again.

    python -m benchmarks.export_formats --config_path configs/icnet_0.5_289x385_resnet50_camvid.config \\
      --checkpoint runs/camvid --input_shape 1,360,480,3 --examples 101
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core import command_line
from core.errors import UsageError
from core.export_forms import FORMS

_ROOT = Path(__file__).resolve().parent.parent
_VARIANTS = {
    'frozen_graph': ['--formats', 'frozen_graph'],
    'frozen_graph, mixed': ['--formats', 'frozen_graph', '--compute', 'mixed'],
    'frozen_graph, bfloat16': ['--formats', 'frozen_graph', '--compute', 'bfloat16'],
    'frozen_graph, weights int8': ['--formats', 'frozen_graph', '--weights', 'int8'],
    **{name: ['--formats', name] for name in FORMS if name != 'frozen_graph'},
}
_COLUMNS = (
    'form',
    'MiB',
    'class ids equal',
    'largest logit difference',
    'mean IoU',
    'less the model',
    'seconds to export',
)


def make_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = command_line.make_parser(__doc__ or '')
    command_line.add_config_flags(parser)
    parser.add_argument('--checkpoint', required=True, metavar='PATH', help='trained weights, as export.py takes them')
    parser.add_argument('--input_shape', default='1,360,480,3', metavar='SHAPE', help='(default: 1,360,480,3)')
    parser.add_argument('--examples', type=int, default=101, metavar='N', help='compared on (default: 101)')
    parser.add_argument('--only', metavar='NAMES', help='variants, separated by semicolons (default: all)')
    parser.add_argument(
        '--work_dir', default='runs/export_formats', metavar='DIR', help='exports (default: runs/export_formats)'
    )
    parser.add_argument('--output', metavar='FILE', help='also write the JSON there')
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    flags = make_parser().parse_args(argv)
    wanted = [name.strip() for name in flags.only.split(';')] if flags.only else list(_VARIANTS)
    if unknown := [name for name in wanted if name not in _VARIANTS]:
        raise UsageError(f'--only: got {unknown[0]!r}, choose from {"; ".join(_VARIANTS)}')
    rows = []
    for name in wanted:
        rows.append(_row(name, flags))
        print(_line(rows[-1]), file=sys.stderr, flush=True)
    result = {
        'benchmark': 'export_formats',
        'config': flags.config_path,
        'set': flags.overrides,
        'input_shape': flags.input_shape,
        'examples': flags.examples,
        'rows': rows,
    }
    if flags.output:
        beside = Path(f'{flags.output}.unfinished')
        beside.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
        os.replace(beside, flags.output)
    print(table(rows), file=sys.stderr)
    print(json.dumps(result))
    return 0


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in markdown."""
    return '\n'.join([f'| {" | ".join(_COLUMNS)} |', '|---' * len(_COLUMNS) + '|', *map(_line, rows)])


def _row(name: str, flags: argparse.Namespace) -> dict[str, Any]:
    folder = Path(flags.work_dir) / ''.join(c if c.isalnum() else '_' for c in name)
    if not (folder / 'manifest.json').exists():
        command = [sys.executable, 'export.py', '--config_path', flags.config_path, *_VARIANTS[name]]
        command += ['--trained_checkpoint', flags.checkpoint, '--output_dir', str(folder.absolute())]
        command += ['--input_shape', flags.input_shape, '--verify_examples', str(flags.examples)]
        command += [word for override in flags.overrides for word in ('--set', override)]
        start = time.monotonic()
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f'exit code {done.returncode}'])[-1]
            return {'form': name, 'refused': said.removeprefix('error: ')}
        (folder / 'seconds.json').write_text(json.dumps(round(time.monotonic() - start, 1)), encoding='utf-8')
    about = json.loads((folder / 'manifest.json').read_text(encoding='utf-8'))
    (form,) = about['forms'].values()
    seconds = json.loads((folder / 'seconds.json').read_text(encoding='utf-8'))
    return {'form': name, 'bytes': form['bytes'], 'seconds': seconds, **form['agreement']}


def _line(row: dict[str, Any]) -> str:
    if 'refused' in row:
        return f'| {row["form"]} | {row["refused"]} |' + ' |' * (len(_COLUMNS) - 2)
    logits, own, difference = row['largest_logit_difference'], row['mean_iou'], row['mean_iou_difference']
    cells = [
        row['form'],
        f'{row["bytes"] / 2**20:.1f}',
        f'{100 * row["equal_pixels"]:.3f} %',
        '' if logits is None else f'{logits:.2g}',
        '' if own is None else f'{100 * own:.2f}',
        '' if difference is None else f'{100 * difference:+.3f}',
        f'{row["seconds"]:.0f}',
    ]
    return f'| {" | ".join(cells)} |'


if __name__ == '__main__':
    command_line.run(main)
