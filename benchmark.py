"""Times exported artefacts side by side: latency, throughput, memory, layers, GFLOPs and parameters."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from core import command_line, shapes
from core.errors import UsageError

_EXAMPLES = """\
  everything that an export wrote, on one picture:
    python benchmark.py --artefact export/x --image street.png --output_dir export/x/benchmark
  a frozen graph as it is, with TensorFlow's own bfloat16, and in OpenVINO:
    python benchmark.py --artefact a.pb --artefact a.pb:bfloat16 --artefact export/x/openvino_model:bfloat16 \\
      --size 1025,2049 --output_dir benchmark

Each artefact runs in a process of its own, one inference of each in turn. Written: benchmark.json and benchmark.md.
See docs/inference.md.
"""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    parser.add_argument(
        '--artefact',
        action='append',
        required=True,
        metavar='PATH[:PRECISION]',
        help='a .pb, .tflite, .onnx or .xml file, a SavedModel, or a folder of these; :bfloat16 asks the runtime for '
        'that (TensorFlow, OpenVINO); may be given several times',
    )
    parser.add_argument('--image', metavar='FILE', help='picture to run on, resized to the size (default: noise)')
    parser.add_argument(
        '--size',
        type=shapes.parse_size,
        metavar='HEIGHT,WIDTH',
        help='of the image, where an artefact leaves it free (default: that of --image, else 1025,2049)',
    )
    parser.add_argument('--threads', type=int, default=os.cpu_count() or 1, metavar='N', help='of each process')
    parser.add_argument('--warm_up', type=int, default=3, metavar='N', help='inferences that do not count (default: 3)')
    parser.add_argument('--rounds', type=int, default=20, metavar='N', help='inferences that count (default: 20)')
    parser.add_argument('--layers', type=int, default=15, metavar='N', help='slowest operations shown (default: 15)')
    parser.add_argument('--output_dir', metavar='DIR', help='where benchmark.json and benchmark.md are written')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    for name in ('threads', 'rounds'):
        if getattr(args, name) < 1:
            raise UsageError(f'--{name}: got {getattr(args, name)}, choose 1 or more')
    for name in ('warm_up', 'layers'):
        if getattr(args, name) < 0:
            raise UsageError(f'--{name}: got {getattr(args, name)}, choose 0 or more')
    from engine.timing import artefact

    artefacts = artefact.told_apart([found for text in args.artefact for found in artefact.parse(text)])
    with command_line.quiet_start():
        from engine.timing import report, side_by_side
    image = report.picture(args.image, args.size)
    settings = side_by_side.Settings(threads=args.threads, warm_up=args.warm_up, rounds=args.rounds)
    result: dict[str, Any] = report.run(artefacts, image, settings, progress=_say)
    print(report.table(result['artefacts']))
    if args.output_dir:
        for path in report.write(result, args.output_dir, layers=args.layers):
            print(path)
    else:
        print(json.dumps({key: value for key, value in result.items() if key != 'layers'}))
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
    command_line.run(main)
