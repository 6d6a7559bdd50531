"""Removes filters from a trained network: a checkpoint and its config -> both with fewer channels, ready to go on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from core import command_line, shapes
from core.errors import UsageError

_EXAMPLES = """\
  half of every layer's filters, as if filter_scale were half:
    python compress.py --config_path configs/x.config --input_checkpoint runs/x --output_dir runs/x_half
  then train on from it:
    python train.py --config_path runs/x_half/pipeline.config --logdir runs/x_half_trained \\
      --set train_config.fine_tune_checkpoint=runs/x_half --set train_config.fine_tune_checkpoint_type=segmentation

Written: model.ckpt-<step>.*, pipeline.config, compression.json. See docs/compression.md.
"""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    command_line.add_config_flags(parser)
    parser.add_argument(
        '--input_checkpoint',
        required=True,
        metavar='PATH',
        help='checkpoint (model.ckpt-<step>), or a folder of which the newest is taken',
    )
    parser.add_argument('--output_dir', required=True, metavar='DIR', help='where the smaller network is written')
    parser.add_argument(
        '--compression_factor',
        type=float,
        default=0.5,
        metavar='SHARE',
        help='share of filters that stay, above 0, up to 1 (default: 0.5)',
    )
    command_line.add_boolean(
        parser, 'soft_apply', default=False, help='set filters to zero and keep the shape of every variable'
    )
    parser.add_argument(
        '--latency_size',
        type=shapes.parse_size,
        default=(513, 513),
        metavar='HEIGHT,WIDTH',
        help='image that GFLOPs and latency are told for (default: 513,513)',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    if not 0.0 < args.compression_factor <= 1.0:
        raise UsageError(f'--compression_factor: got {args.compression_factor:g}, choose above 0, up to 1')
    from builders import config_loader

    config = config_loader.load(args.config_path, args.overrides)
    with command_line.quiet_start():
        from engine import compress_lib

    report = compress_lib.compress(
        config,
        checkpoint=args.input_checkpoint,
        output_dir=args.output_dir,
        options=compress_lib.Options(
            factor=args.compression_factor, soft_apply=args.soft_apply, size=args.latency_size
        ),
    )
    print(report.table())
    print(f'written to {args.output_dir}')
    return 0


if __name__ == '__main__':
    command_line.run(main)
