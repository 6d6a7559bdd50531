"""Removes filters from a trained network: a checkpoint and its config -> both with fewer channels, ready to go on."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from compression import names, sensitivity, targets
from core import command_line, shapes
from core.errors import UsageError

_EXAMPLES = """\
  half of every layer's filters, as if filter_scale were half:
    python compress.py --config_path configs/x.config --input_checkpoint runs/x --output_dir runs/x_half
  then train on from it:
    python train.py --config_path runs/x_half/pipeline.config --logdir runs/x_half_trained \\
      --set train_config.fine_tune_checkpoint=runs/x_half --set train_config.fine_tune_checkpoint_type=segmentation

  the largest net within 60 GFLOPs at 1025x2049, filters ranked over all layers, the last two kept whole:
    python compress.py --config_path configs/x.config --input_checkpoint runs/x --output_dir runs/x_60g \
      --scope global --target_flops 60G --latency_size 1025,2049 --skip_layers 'CascadeFeatureFusion*'

  what each layer is worth, then a cut in which all layers cost the same mIoU:
    python compress.py --config_path configs/x.config --input_checkpoint runs/x --output_dir runs/x_worth --sensitivity
    python compress.py --config_path configs/x.config --input_checkpoint runs/x --output_dir runs/x_60g \
      --scope sensitivity --sensitivity_report runs/x_worth --target_flops 60G

  in four small cuts, 500 steps of training after each; the same command again to go on:
    python compress.py --config_path configs/x.config --input_checkpoint runs/x --output_dir runs/x_half \
      --criterion taylor --iterations 4 --retrain_steps 500

Written: model.ckpt-<step>.*, pipeline.config, compression.json. See docs/compression.md.
"""
_LEAST = {
    **{'min_filters': 1, 'divisor': 1, 'num_batches': 1},
    **{'latency_images': 0, 'seed': 0, 'recalibrate_batches': 0, 'refit_batches': 0},
    **{'iterations': 1, 'retrain_steps': 1, 'sensitivity_examples': 1},
}
_REFIT_BATCHES, _RECALIBRATE_BATCHES = 6, 50  # where the training records are there
_WITHOUT_EFFECT = ('input_binary',)  # of the reference, whose graphs are files


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
    _add_size_flags(parser)
    _add_choice_flags(parser)
    _add_sensitivity_flags(parser)
    _add_iteration_flags(parser)
    _add_output_flags(parser)
    for name in _WITHOUT_EFFECT:
        parser.add_argument(f'--{name}', nargs='?', const=True, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _add_size_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('how small; the first four exclude each other')
    size = group.add_mutually_exclusive_group()
    size.add_argument(
        '--compression_factor',
        type=_number('above 0, up to 1, such as 0.5'),
        metavar='SHARE',
        help='share of filters that stay, above 0, up to 1 (default: that of --prune_config, or else 0.5)',
    )
    for kind, what in (
        (targets.FLOPS, 'multiplications and additions of one image of --latency_size, such as 60G'),
        (targets.PARAMETERS, 'trainable parameters that inference reads, such as 6.7M'),
    ):
        size.add_argument(
            f'--{kind}',
            type=targets.parse_amount,
            metavar='NUMBER',
            help=f'the largest network of at most so many {what}; or a share of what it has now, such as 0.27',
        )
    size.add_argument(
        f'--{targets.LATENCY_MS}',
        type=_number('above 0, such as 40'),
        metavar='MS',
        help='the largest network that labels one image of --latency_size in so many milliseconds, measured here',
    )
    group.add_argument(
        '--latency_size',
        type=shapes.parse_size,
        default=(513, 513),
        metavar='HEIGHT,WIDTH',
        help='image that FLOPs and latency are told for (default: 513,513)',
    )
    group.add_argument(
        '--latency_images', type=int, default=5, metavar='N', help='images timed; 0 measures no latency (default: 5)'
    )


def _add_choice_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('what goes')
    group.add_argument(
        '--criterion',
        choices=names.CRITERIA,
        default=names.L1,
        help='what makes a filter worth keeping (default: l1); taylor reads training data of the config',
    )
    group.add_argument(
        '--aggregate',
        choices=names.AGGREGATES,
        default=names.MEAN,
        help='what counts where several layers share channels, as in residual stages: the shortcut alone (the first of '
        'the layers), the mean or the maximum of all (default: mean)',
    )
    group.add_argument(
        '--scope',
        choices=names.SCOPES,
        default=names.UNIFORM,
        help='uniform: the share of each layer; global: of all filters together, ranked relative to the mean of their '
        'layer; sensitivity: so that all layers cost the same mIoU, by --sensitivity_report (default: uniform)',
    )
    group.add_argument(
        '--prune_config',
        metavar='FILE',
        help='a .prune_config of the reference: its share, skipped nodes, and sources that choose for coupled layers',
    )
    group.add_argument(
        '--skip_layers',
        type=_names,
        default=[],
        metavar='A,B,C',
        help="layers that keep their filters: scopes, beginnings of scopes, or patterns such as '*/conv3'",
    )
    group.add_argument('--skippable_nodes', type=_names, default=[], metavar='A,B,C', help='the same')
    group.add_argument(
        '--min_filters', type=int, default=1, metavar='N', help='the fewest filters that a layer keeps (default: 1)'
    )
    group.add_argument(
        '--divisor',
        type=int,
        metavar='N',
        help='layers keep multiples of N filters (default: as filter_scale rounds for --scope uniform; else 8, and 16 '
        'for --target_latency_ms on processors with AVX-512, whose vectors hold 16)',
    )
    group.add_argument(
        '--num_batches', type=int, default=16, metavar='N', help='training batches that taylor sees (default: 16)'
    )
    group.add_argument('--seed', type=int, default=0, metavar='N', help='of random, and of the data (default: 0)')


def _add_sensitivity_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('how much mIoU each layer is worth')
    command_line.add_boolean(
        group,
        'sensitivity',
        default=False,
        help='cut nothing: measure mIoU without some filters of one layer at a time, as table and picture',
    )
    group.add_argument(
        '--sensitivity_shares',
        type=_shares,
        default=(0.125, 0.25, 0.5, 0.75),
        metavar='A,B,C',
        help='shares of filters that are set to zero (default: 0.125,0.25,0.5,0.75)',
    )
    group.add_argument(
        '--sensitivity_examples',
        type=int,
        default=20,
        metavar='N',
        help='the first N evaluation examples score each (default: 20)',
    )
    group.add_argument(
        '--sensitivity_report', metavar='PATH', help='what --sensitivity wrote, or its folder, for --scope sensitivity'
    )


def _add_iteration_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('training between several cuts')
    group.add_argument(
        '--iterations', type=int, metavar='N', help='cut N times, a little each, and train after each of them'
    )
    group.add_argument(
        '--retrain_steps',
        type=int,
        metavar='M',
        help="steps of training after each cut; the config's schedule is stretched to those of all cuts",
    )
    command_line.add_boolean(group, 'distill', default=False, help='the network of --input_checkpoint teaches')


def _add_output_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('what is written')
    command_line.add_boolean(
        group, 'soft_apply', default=False, help='set filters to zero and keep the shape of every variable'
    )
    group.add_argument(
        '--recalibrate_batches',
        type=int,
        metavar='N',
        help='measure the averages of batch norm again on N training batches of the config; 0 keeps those of the whole '
        'network (default: 50 if the training records are there and nothing is refitted, else 0)',
    )
    group.add_argument(
        '--refit_batches',
        type=int,
        metavar='N',
        help='solve for the kernels that are left, by least squares on N training batches, so that each layer makes '
        'what it made in the whole network; 0 leaves them (default: 6 if the training records are there, else 0)',
    )
    command_line.add_boolean(
        group, 'interactive', default=False, help='also a picture of the ranked filters of each layer, with the cut'
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(',') if name.strip()]


def _number(allowed: str) -> Callable[[str], float]:
    """Of a flag: a float; what is none is answered with what is allowed."""

    def parse(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'got {text!r}, choose a number {allowed}') from None

    return parse


def _shares(text: str) -> tuple[float, ...]:
    try:
        shares = tuple(float(part) for part in text.split(','))
    except ValueError:
        shares = ()
    if not sensitivity.check_shares(shares):
        raise argparse.ArgumentTypeError(f'got {text!r}, choose rising numbers above 0 and below 1, such as 0.25,0.5')
    return shares


def _target(args: argparse.Namespace) -> targets.Target | None:
    for kind in (targets.FLOPS, targets.PARAMETERS):
        if getattr(args, kind) is not None:
            return targets.Target(kind, getattr(args, kind))
    latency_ms = getattr(args, targets.LATENCY_MS)
    return None if latency_ms is None else targets.Target(targets.LATENCY_MS, targets.Amount(latency_ms))


def _check(args: argparse.Namespace) -> None:
    """Ranges that need nothing but the flags."""
    if args.compression_factor is not None and not 0.0 < args.compression_factor <= 1.0:
        raise UsageError(f'--compression_factor: got {args.compression_factor:g}, choose above 0, up to 1')
    if args.target_latency_ms is not None and not 0.0 < args.target_latency_ms < float('inf'):
        raise UsageError(f'--target_latency_ms: got {args.target_latency_ms:g}, choose above 0')
    for name, least in _LEAST.items():
        value = getattr(args, name)
        if value is not None and value < least:
            raise UsageError(f'--{name}: got {value}, choose {least} or more')
    if bool(args.iterations) != bool(args.retrain_steps):
        raise UsageError('--iterations and --retrain_steps go together: so many cuts, so many steps after each')
    if args.distill and not args.iterations:
        raise UsageError('--distill: is for the training of --iterations; train.py takes train_config.distillation')
    if args.iterations and args.soft_apply:
        raise UsageError('--soft_apply: zeros do not last in training; leave it out, or --iterations')
    if args.refit_batches and args.soft_apply:
        raise UsageError('--soft_apply: its network has inputs that --refit_batches cannot use; leave one of them out')
    if bool(args.sensitivity_report) != (args.scope == names.SENSITIVITY):
        raise UsageError('--scope sensitivity and --sensitivity_report go together: the second is what the first needs')
    if args.sensitivity and args.iterations:
        raise UsageError('--sensitivity cuts nothing; leave out --iterations')
    for name in _WITHOUT_EFFECT:
        if getattr(args, name) is not None:
            print(f'warning: --{name} has no effect', file=sys.stderr)


def _data_batches(args: argparse.Namespace, config: Any) -> dict[str, int]:
    """How many training batches kernels are solved for on, and batch norm is measured on; see the help of the flags."""
    from engine import batch_norm_statistics

    there = batch_norm_statistics.has_records(config)
    refit, recalibrate = args.refit_batches, args.recalibrate_batches
    if refit is None:
        refit = _REFIT_BATCHES if there and not args.soft_apply else 0
    if recalibrate is None:
        recalibrate = _RECALIBRATE_BATCHES if there and not refit else 0
    return {'refit_batches': refit, 'recalibrate_batches': recalibrate}


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    _check(args)
    from builders import compressor_builder, config_loader

    config = config_loader.load(args.config_path, args.overrides)
    rules = compressor_builder.build(config_loader.load_compression(args.prune_config)) if args.prune_config else None
    factor = args.compression_factor or (rules.factor if rules else 0.5)
    options = _options(args, config, factor, rules)
    logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)
    if args.sensitivity:
        return _measure_sensitivity(args, config, options)
    with command_line.quiet_start():
        from engine import compress_lib, iterative_compression, output_folder

    write = compress_lib.compress
    if args.iterations:
        iterations = iterative_compression.Iterations(
            number=args.iterations, retrain_steps=args.retrain_steps, distill=args.distill
        )
        write = functools.partial(iterative_compression.compress, iterations=iterations)
    with output_folder.removed_if_unused(args.output_dir):
        report = write(
            config,
            checkpoint=args.input_checkpoint,
            output_dir=args.output_dir,
            options=options,
            pictures=args.interactive,
            named=rules.named if rules else (),
        )
    print(report.table())
    if warning := _latency_warning(args.target_latency_ms, report.after.latency_ms):
        print(warning, file=sys.stderr)
    print(f'written to {args.output_dir}')
    return 0


def _latency_warning(wanted_ms: float | None, measured_ms: float | None) -> str | None:
    """The search went by measurements of candidates; the last one, of both networks in turn, may say otherwise."""
    if wanted_ms is None or measured_ms is None or measured_ms <= wanted_ms:
        return None
    return (
        f'warning: --target_latency_ms: {measured_ms:.1f} ms in the end, above {wanted_ms:g}: times vary here; '
        'try again when the machine is quiet, with more --latency_images, or ask for less'
    )


def _options(args: argparse.Namespace, config: Any, factor: float, rules: Any) -> Any:
    with command_line.quiet_start():
        from engine.compression_plan import Options, divisor_of

    options = Options(
        factor=factor,
        target=_target(args),
        criterion=args.criterion,
        aggregate=args.aggregate,
        scope=args.scope,
        sources=rules.sources if rules else (),
        skip_layers=(*args.skip_layers, *args.skippable_nodes, *(rules.skipped if rules else ())),
        min_filters=args.min_filters,
        divisor=args.divisor,
        soft_apply=args.soft_apply,
        size=args.latency_size,
        num_images=args.latency_images,
        seed=args.seed,
        num_batches=args.num_batches,
        **_data_batches(args, config),
        sensitivity_report=args.sensitivity_report or '',
    )
    return dataclasses.replace(options, divisor=divisor_of(options))  # so that the report says it


def _measure_sensitivity(args: argparse.Namespace, config: Any, options: Any) -> int:
    from builders import config_loader
    from engine import output_folder
    from engine import sensitivity as measured

    config_loader.validate(config, 'eval')
    request = measured.Request(args.sensitivity_shares, args.sensitivity_examples)
    with output_folder.removed_if_unused(args.output_dir):
        path = measured.measure(
            config, checkpoint=args.input_checkpoint, output_dir=args.output_dir, options=options, request=request
        )
    print(f'written to {path}')
    return 0


if __name__ == '__main__':
    command_line.run(main)
