"""Exports a checkpoint in the forms you name, each reloaded and compared with the model before it appears."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from core import command_line
from engine import export_options

_EXAMPLES = """\
  the newest checkpoint of a run, images of any size:
    python export.py --config_path configs/x.config --trained_checkpoint runs/x --output_dir export/x
  one checkpoint, one image of 1024 x 2048, padded to 1025 x 2049 inside:
    python export.py --config_path configs/x.config --trained_checkpoint runs/x/model.ckpt-9000 \\
      --output_dir export/x --input_shape 1,1024,2048,3 --pad_to_shape 1025,2049

  for a phone, ONNX Runtime and OpenVINO:
    python export.py --config_path configs/x.config --trained_checkpoint runs/x --output_dir export/x \\
      --formats tflite,tflite_int8,onnx,openvino --input_shape 1,1025,2049,3

Each form takes inputs, uint8 [N, H, W, 3], and answers predictions, [N, H, W, 1]. Beside them: manifest.json,
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
    export_options.add_flags(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    from builders import config_loader

    config = config_loader.load(args.config_path, args.overrides, 'export')
    channels = config_loader.input_channels(config)
    options = export_options.ExportOptions.from_flags(args, config.export_config, channels=channels)
    options.check(has_records=config.HasField('eval_input_reader'))

    with command_line.quiet_start():
        from engine import export_lib

    report = export_lib.export(config, checkpoint=args.trained_checkpoint, output_dir=args.output_dir, options=options)
    print(f'{report.checkpoint} (step {report.step}) exported to')
    for path in report.files:
        print(f'  {path}')
    print(f'compared with the model after reloading, on {report.verified_on}:')
    for form, agreement in report.agreement.items():
        print(f'  {form}: {_said(agreement)}')
    return 0


def _said(agreement: Any) -> str:
    parts = [f'{100 * agreement.equal_pixels:.3f} % of the class ids equal']
    if agreement.largest_logit_difference is not None:
        parts.append(f'largest difference of a logit {agreement.largest_logit_difference:.2g}')
    if agreement.mean_iou_difference is not None:
        parts.append(f'mean IoU {100 * agreement.mean_iou_difference:+.2f} points')
    return ', '.join(parts)


if __name__ == '__main__':
    command_line.run(main)
