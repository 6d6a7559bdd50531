"""Exports a checkpoint as a frozen graph, a SavedModel and an inference checkpoint, each verified by reloading."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from core import command_line, shapes

_EXAMPLES = """\
  the newest checkpoint of a run, images of any size:
    python export.py --config_path configs/x.config --trained_checkpoint runs/x --output_dir export/x
  one checkpoint, one image of 1024 x 2048, padded to 1025 x 2049 inside:
    python export.py --config_path configs/x.config --trained_checkpoint runs/x/model.ckpt-9000 \\
      --output_dir export/x --input_shape 1,1024,2048,3 --pad_to_shape 1025,2049

Written: frozen_inference_graph.pb (inputs:0 uint8 [N, H, W, 3] -> predictions:0 [N, H, W, 1]), saved_model/,
model.ckpt.*, pipeline.config, label_map.json. An earlier export in the folder is replaced, other files stay.
See docs/export.md.
"""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    command_line.add_config_flags(parser)
    parser.add_argument(
        '--trained_checkpoint',
        required=True,
        metavar='PATH',
        help='checkpoint (model.ckpt-<step>), or a folder of which the newest is taken',
    )
    parser.add_argument('--output_dir', required=True, metavar='DIR', help='where the export is written')
    parser.add_argument(
        '--input_shape',
        type=shapes.parse_input_shape,
        default=shapes.WrittenShape(),
        metavar='SHAPE',
        help='height,width,3 or batch,height,width,3 (or other input_channels); None or -1 for what stays free '
        '(default: all free)',
    )
    parser.add_argument(
        '--pad_to_shape',
        type=shapes.parse_size,
        metavar='HEIGHT,WIDTH',
        help='pad smaller images to this size inside the graph; the output has the size of the input all the same',
    )
    command_line.add_boolean(
        parser, 'output_colours', default=False, help='add the output colours:0, uint8 [N, H, W, 3]'
    )
    command_line.add_boolean(
        parser,
        'output_probabilities',
        default=False,
        help='add the output probabilities:0, float32 [N, H, W, classes], which predict.py --scales and --flip need',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    from builders import config_loader

    config = config_loader.load(args.config_path, args.overrides, 'export')
    input_shape = args.input_shape.for_channels(config_loader.input_channels(config))

    with command_line.quiet_start():
        from engine import export_lib

    report = export_lib.export(
        config,
        checkpoint=args.trained_checkpoint,
        output_dir=args.output_dir,
        input_shape=input_shape,
        pad_to_shape=args.pad_to_shape,
        output_colours=args.output_colours,
        output_probabilities=args.output_probabilities,
    )
    print(f'{report.checkpoint} (step {report.step}) exported to')
    for path in report.files:
        print(f'  {path}')
    for form, share in report.agreement.items():
        print(f'{form}: {100 * share:.2f} % of the class ids equal the model, reloaded, on a random image')
    return 0


if __name__ == '__main__':
    command_line.run(main)
