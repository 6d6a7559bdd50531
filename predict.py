"""Segments images and videos: class ids, colour pictures and overlays, from a checkpoint or an exported graph."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from core import command_line, shapes
from core.errors import UsageError
from engine import video_files, views

_OUTPUTS = ('ids', 'color', 'overlay')
_EXAMPLES = """\
  a folder of images, from a training run:
    python predict.py --config_path configs/x.config --trained_checkpoint runs/x --input_path images --output_dir out
  single images, from an export, overlays only:
    python predict.py --exported export/x --input_path a.jpg --input_path 'b/*.png' --output_dir out --outputs overlay
  a picture of any size, through windows of the training crop, mirrored too:
    python predict.py --config_path configs/x.config --trained_checkpoint runs/x --input_path city.tif \\
      --output_dir out --window 769,769 --flip
  a video; the first camera, until Ctrl-C:
    python predict.py --exported export/x --input_path drive.mp4 --output_dir out
    python predict.py --exported export/x --camera 0 --output_dir out

Written for a.jpg: a_ids.png (class ids), a_color.png, a_overlay.png; for a.mp4: a_overlay.mp4. What cannot be used is
named and the rest goes on; the exit code is 1 then. See docs/export.md.
"""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Flags, checked against each other."""
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    command_line.add_config_flags(parser, required=False)
    parser.add_argument(
        '--trained_checkpoint',
        metavar='PATH',
        help='checkpoint (model.ckpt-<step>), or a folder of which the newest is taken; needs --config_path',
    )
    parser.add_argument(
        '--exported',
        '--frozen_graph',
        dest='exported',
        metavar='PATH',
        help='instead: a folder written by export.py, or one form in it: .pb, saved_model, .tflite, .onnx, '
        'openvino_model, .stablehlo',
    )
    parser.add_argument(
        '--input_path',
        default=[],
        action='append',
        metavar='PATH',
        help='image, folder of images (searched with its subfolders), video (by its extension: '
        f'{", ".join(video_files.EXTENSIONS)}) or glob pattern; repeatable',
    )
    parser.add_argument(
        '--camera',
        type=_parse_camera,
        metavar='INDEX',
        help='segment what a camera shows, 0 the first, until Ctrl-C; needs OpenCV, as videos do',
    )
    parser.add_argument('--output_dir', default='.', metavar='DIR', help='where results are written (default: .)')
    parser.add_argument(
        '--outputs',
        type=_parse_outputs,
        default=_OUTPUTS,
        metavar='LIST',
        help='comma-separated choice of ids, color, overlay (default: all); of a video the overlay',
    )
    command_line.add_boolean(
        parser,
        'label_ids',
        default=False,
        help="write the data set's own label ids (label_id in the label map) in place of class ids",
    )
    parser.add_argument(
        '--input_shape',
        type=shapes.parse_input_shape,
        default=shapes.WrittenShape(),
        metavar='SHAPE',
        help='height,width,3: refuse images of another size (default: any size)',
    )
    parser.add_argument(
        '--pad_to_shape',
        type=shapes.parse_size,
        metavar='HEIGHT,WIDTH',
        help='pad smaller images to this size inside; results have the size of the image all the same',
    )
    views.add_flags(parser)
    args = parser.parse_args(argv)
    _check(args)
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    config, input_shape = None, args.input_shape.sides
    if args.config_path:
        from builders import config_loader

        config = config_loader.load(args.config_path, args.overrides, 'predict')
        input_shape = args.input_shape.for_channels(config_loader.input_channels(config))
    looks = views.Views.from_flags(args, config.eval_config.inference if config else None)
    looks.check_padding(args.pad_to_shape)

    named, pictures = video_files.split(args.input_path)
    videos = video_files.find(named, args.camera, output_dir=args.output_dir)
    if videos and 'overlay' not in args.outputs:
        raise UsageError('--outputs: of videos and cameras the overlay is written; add overlay')
    with command_line.quiet_start():
        from engine import image_files, output_folder, painting, predict_lib, predict_video

    images = image_files.find(pictures, output_dir=args.output_dir)
    output_folder.make(args.output_dir, '--output_dir')
    if args.exported:
        predictor = predict_lib.from_export(args.exported, config, views=looks)
    else:
        predictor = predict_lib.from_checkpoint(
            config,
            args.trained_checkpoint,
            input_shape=input_shape,
            pad_to_shape=args.pad_to_shape,
            views=looks,
        )
    id_table = painting.label_id_table(predictor.label_map) if args.label_ids else None
    failures = predict_lib.run(predictor, images, args.output_dir, outputs=args.outputs, id_table=id_table)
    if images:
        print(f'{len(images) - len(failures)} of {len(images)} images written to {args.output_dir}')
    failed, interrupted = predict_video.run(predictor, videos)
    if interrupted and args.camera is None:
        return command_line.INTERRUPTED
    return 1 if failures or failed else 0


def _parse_outputs(text: str) -> tuple[str, ...]:
    outputs = tuple(dict.fromkeys(part.strip() for part in text.split(',')))
    wrong = [part for part in outputs if part not in _OUTPUTS]
    if wrong:
        raise argparse.ArgumentTypeError(f'got {wrong[0]!r}, choose from {", ".join(_OUTPUTS)}')
    return outputs


def _parse_camera(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'got {text!r}, expected the index of a camera: 0 for the first')
    return int(text)


def _check(args: argparse.Namespace) -> None:
    if bool(args.input_path) == (args.camera is not None):
        raise UsageError('give either --input_path or --camera')
    if bool(args.exported) == bool(args.trained_checkpoint):
        raise UsageError('give either --trained_checkpoint with its --config_path, or --exported')
    if args.trained_checkpoint and not args.config_path:
        raise UsageError('--trained_checkpoint needs the --config_path of its model')
    if args.exported and (args.input_shape != shapes.WrittenShape() or args.pad_to_shape):
        raise UsageError('--input_shape and --pad_to_shape are fixed in an export; give them to export.py')
    if args.overrides and not args.config_path:
        raise UsageError('--set changes a config: give --config_path')


if __name__ == '__main__':
    command_line.run(main)
