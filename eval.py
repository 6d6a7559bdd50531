"""Scores the checkpoints of a training run: IoU of classes, categories and instances, with intervals; compares two."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from core import command_line
from core.errors import CheckpointError, ConfigError, DamagedCheckpointError, UsageError, UserError

if TYPE_CHECKING:
    from engine.eval_lib import Evaluation, Evaluator
    from engine.saved_predictions import SavedPredictions

_EXAMPLES = """\
  the newest checkpoint, once:
    python eval.py --config_path configs/x.config --train_dir runs/x --eval_dir runs/x/eval
  one checkpoint, wherever it lies:
    python eval.py --config_path configs/x.config --checkpoint export/model.ckpt --eval_dir runs/x/eval
  model.ckpt-2000 and every later one:
    python eval.py --config_path configs/x.config --train_dir runs/x --eval_dir runs/x/eval \\
      --evaluate_all_from_checkpoint model.ckpt-2000
  beside a running training, each new checkpoint until train_config.num_steps:
    python eval.py --config_path configs/x.config --train_dir runs/x --eval_dir runs/x/eval --follow
  the predictions too, as the Cityscapes server takes them:
    python eval.py --config_path configs/x.config --train_dir runs/x --eval_dir runs/x/eval \\
      --save_predictions cityscapes,overlay
  is run B better than run A? from what both evaluations left, on the same images:
    python eval.py --compare runs/a/eval runs/b/eval --eval_dir runs/a_b
  two checkpoints, evaluated first into EVAL_DIR/a and EVAL_DIR/b:
    python eval.py --compare runs/a/model.ckpt-900 runs/b/model.ckpt-900 --config_path configs/x.config \\
      --eval_dir runs/a_b
  one checkpoint under two configs (a sliding window in one of them, for example):
    python eval.py --compare whole.config windows.config --checkpoint runs/a --eval_dir runs/whole_windows

Every example of eval_input_reader is scored exactly once. Results: EVAL_DIR/metrics.json (the last evaluated
checkpoint), metrics-<step>.json and images-<step>.jsonl (each), TensorBoard scalars at the checkpoint's step, a table
on the terminal. --compare writes EVAL_DIR/comparison.json: paired differences with intervals, and a sign test. Of
either, EVAL_DIR/report/index.html is a page to look at.
See docs/evaluation.md.
"""


_KINDS = ('ids', 'label_ids', 'color', 'overlay', 'cityscapes')
_PREDICTION_SIZES = ('original', 'network')


def _parse_kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(part.strip() for part in text.split(',')))
    wrong = [part for part in kinds if part not in _KINDS]
    if wrong:
        raise argparse.ArgumentTypeError(f'got {wrong[0]!r}, choose from {", ".join(_KINDS)}')
    return kinds


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Flags, checked against each other."""
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    command_line.add_config_flags(parser, required=False)
    parser.add_argument('--train_dir', metavar='DIR', help='where the checkpoints are (train.py --logdir)')
    parser.add_argument('--eval_dir', required=True, metavar='DIR', help='where results are written')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--checkpoint', metavar='FILE', help='this checkpoint only; --train_dir is not needed')
    parser.add_argument(
        '--compare',
        nargs=2,
        metavar=('A', 'B'),
        help='two eval_dirs, metrics JSON files, checkpoints (of --config_path) or .config files (of --checkpoint or '
        '--train_dir)',
    )
    which.add_argument(
        '--evaluate_all_from_checkpoint',
        metavar='CKPT',
        help='this checkpoint of --train_dir (name or step) and every later one',
    )
    command_line.add_boolean(parser, 'follow', default=False, help='wait for new checkpoints and score each once')
    parser.add_argument(
        '--follow_timeout_secs',
        type=float,
        default=0.0,
        metavar='SECONDS',
        help='with --follow: end when nothing new came for so long (default: 0, wait for ever)',
    )
    parser.add_argument(
        '--follow_poll_secs',
        type=float,
        default=10.0,
        metavar='SECONDS',
        help='with --follow: time between two looks for new checkpoints (default: 10)',
    )
    _add_prediction_flags(parser)
    command_line.add_boolean(
        parser,
        'image_summaries',
        default=False,
        help='image, label and prediction of the first examples in TensorBoard',
    )
    command_line.add_boolean(
        parser, 'report', default=True, help='write EVAL_DIR/report/index.html, a page of the results with pictures'
    )
    command_line.add_boolean(parser, 'verbose', default=False, help="print each image's accuracy")
    command_line.add_boolean(parser, 'limit_gpu_mem', default=False, help='let GPU memory grow as needed')
    args = parser.parse_args(argv)
    if args.compare:
        _check_comparison(args)
        return args
    _check(args)
    return args


def _add_prediction_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--save_predictions',
        type=_parse_kinds,
        default=(),
        metavar='LIST',
        help='write pictures of every prediction to EVAL_DIR/predictions-<step>: comma-separated choice of ids (class '
        "ids, which are the training ids), label_ids (the data set's own), color, overlay, and cityscapes (label ids, "
        "named as the benchmark's server wants)",
    )
    parser.add_argument(
        '--prediction_size',
        choices=_PREDICTION_SIZES,
        default=_PREDICTION_SIZES[0],
        help='of saved predictions: that of the image in the records, or that of what the network sees, cut or padded '
        'as eval_input_type says (default: original)',
    )


def _check(args: argparse.Namespace) -> None:
    if not args.config_path:
        raise UsageError('--config_path is missing; give the pipeline .config')
    if not args.checkpoint and not args.train_dir:
        raise UsageError('--train_dir is missing; give it, or one checkpoint by --checkpoint')
    if args.checkpoint and args.follow:
        raise UsageError('--follow needs a --train_dir to follow, not --checkpoint')
    if not args.follow_timeout_secs >= 0:
        raise UsageError(f'--follow_timeout_secs: got {args.follow_timeout_secs:g}, choose 0 or more')
    if not args.follow_poll_secs > 0:
        raise UsageError(f'--follow_poll_secs: got {args.follow_poll_secs:g}, choose a number above 0')


def _check_comparison(args: argparse.Namespace) -> None:
    if args.follow or args.evaluate_all_from_checkpoint:
        raise UsageError('--compare: of two evaluations; remove --follow and --evaluate_all_from_checkpoint')
    if args.save_predictions:
        raise UsageError('--compare: saves no predictions; remove --save_predictions')
    configs = [place for place in args.compare if place.endswith('.config')]
    if configs and not args.checkpoint and not args.train_dir:
        raise UsageError(f'--compare: {configs[0]} needs the checkpoint to evaluate: --checkpoint or --train_dir')


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    if args.compare:
        return _compare(args)
    from builders import config_loader

    config = config_loader.load(args.config_path, args.overrides, 'eval')

    with command_line.quiet_start():
        import tensorflow as tf

        from engine import eval_results, output_folder
        from engine.eval_lib import Evaluator

    if args.limit_gpu_mem:
        for device in tf.config.list_physical_devices('GPU'):
            tf.config.experimental.set_memory_growth(device, True)
    paths = _checkpoints(args, config.train_config.num_steps)
    output_folder.make(args.eval_dir, '--eval_dir')
    eval_results.remove_unfinished(args.eval_dir)
    evaluator = Evaluator(config)
    predictions = _predictions(args, evaluator) if args.save_predictions else None
    config_loader.save(config, os.path.join(args.eval_dir, 'pipeline.config'))
    num_scored = 0
    for path in paths:
        evaluation = _evaluate(path, args, evaluator, predictions)
        if evaluation is None:
            continue
        num_scored += 1
        _write(evaluation, args, evaluator, predictions)
    if not num_scored and not args.follow:
        raise CheckpointError(f'{args.train_dir}: every checkpoint was damaged, or removed before it could be scored')
    if predictions and predictions.problem:
        raise UserError(predictions.problem)
    return 0


def _evaluate(
    path: str, args: argparse.Namespace, evaluator: Evaluator, predictions: SavedPredictions | None
) -> Evaluation | None:
    """None, with a note, for one of several checkpoints that is damaged, or was removed before its turn."""
    import tensorflow as tf

    try:
        return evaluator.evaluate(
            path,
            eval_dir=args.eval_dir,
            report=args.report,
            predictions=predictions,
            keep_pictures=args.image_summaries,
            verbose=args.verbose,
        )
    except CheckpointError as error:
        several = args.follow or args.evaluate_all_from_checkpoint
        damaged = isinstance(error, DamagedCheckpointError) and tf.io.gfile.exists(f'{path}.index')
        if not several or (tf.io.gfile.exists(f'{path}.index') and not damaged):
            raise
        why = 'cannot be scored' if damaged else 'removed before it was scored'
        print(f'note: {path}: {why} ({str(error).splitlines()[0]}); going on', flush=True)
        return None


def _write(
    evaluation: Evaluation, args: argparse.Namespace, evaluator: Evaluator, predictions: SavedPredictions | None
) -> None:
    """Files of one evaluation, and what is told about it."""
    from engine import eval_results

    written = eval_results.write(evaluation, args.eval_dir, label_map=evaluator.label_map, config_path=args.config_path)
    print(eval_results.describe(evaluation.metrics))
    _note_num_examples(evaluator.config, evaluation.metrics['num_examples'])
    print(f'wrote {written}', flush=True)
    if args.report:
        print(f'look at {os.path.join(args.eval_dir, "report", "index.html")}')
    if predictions:
        print(predictions.problem or predictions.describe(), flush=True)


def _predictions(args: argparse.Namespace, evaluator: Evaluator) -> SavedPredictions:
    from engine.saved_predictions import SavedPredictions

    return SavedPredictions(
        args.eval_dir,
        label_map=evaluator.label_map,
        kinds=args.save_predictions,
        size=args.prediction_size,
        padded_size=evaluator.padded_size,
    )


def _compare(args: argparse.Namespace) -> int:
    with command_line.quiet_start():
        from engine import compare_lib, output_folder

    compare_lib.check_places(args.compare, has_config=bool(args.config_path))
    output_folder.make(args.eval_dir, '--eval_dir')
    a, b = (
        compare_lib.load(place if compare_lib.is_finished(place) else _evaluate_first(args, place, side))
        for side, place in zip('ab', args.compare, strict=True)
    )
    result = compare_lib.compare(a, b)
    written = compare_lib.write(result, args.eval_dir)
    print(compare_lib.describe(result))
    print(f'wrote {written}')
    if args.report:
        from reports.page import render

        print(f'look at {render.write(args.eval_dir)}')
    return 0


def _evaluate_first(args: argparse.Namespace, place: str, side: str) -> str:
    """Evaluates a config or a checkpoint into a folder of --eval_dir; returns the folder."""
    from builders import config_loader
    from engine import checkpoint_queue, eval_results
    from engine.eval_lib import Evaluator

    is_config = place.endswith('.config')
    config_path = place if is_config else args.config_path
    if not config_path:
        raise ConfigError(f'--config_path is missing, to evaluate {place}')
    config = config_loader.load(config_path, args.overrides, 'eval')
    checkpoint = (args.checkpoint or checkpoint_queue.newest(args.train_dir)) if is_config else place
    eval_dir = os.path.join(args.eval_dir, side)
    evaluator = Evaluator(config)
    config_loader.save(config, os.path.join(eval_dir, 'pipeline.config'))
    evaluation = evaluator.evaluate(checkpoint, eval_dir=eval_dir, report=args.report, verbose=args.verbose)
    eval_results.write(evaluation, eval_dir, label_map=evaluator.label_map, config_path=config_path)
    return eval_dir


def _checkpoints(args: argparse.Namespace, num_steps: int) -> Iterable[str]:
    from engine import checkpoint_queue

    if args.checkpoint:
        from engine import checkpoints

        return [checkpoints.read(args.checkpoint).path]
    first = args.evaluate_all_from_checkpoint
    if args.follow:
        return checkpoint_queue.follow_on(
            args.train_dir,
            args.eval_dir,
            first_checkpoint=first,
            last_step=num_steps,
            poll_seconds=args.follow_poll_secs,
            timeout_seconds=args.follow_timeout_secs,
        )
    return checkpoint_queue.starting_at(args.train_dir, first) if first else [checkpoint_queue.newest(args.train_dir)]


def _note_num_examples(config, num_examples: int) -> None:
    for field, message in (('eval_config', config.eval_config), ('eval_input_reader', config.eval_input_reader)):
        if message.HasField('num_examples') and message.num_examples != num_examples:
            print(f'note: {field}.num_examples is {message.num_examples}; all {num_examples} records were scored')


if __name__ == '__main__':
    command_line.run(main)
