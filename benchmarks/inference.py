"""Time, memory and agreement of what export.py writes, beside the plain graph in the runtimes people use.

Prints one JSON object. ICNet-R50 of two widths, one street frame, labels out; every artefact in a
process of its own, one inference of each in turn. The plain graph is the network as it is traced: batch norm
as it was trained, logits enlarged to the image, argmax. Weights are seeded, unless a checkpoint is named.
docs/inference.md says what is compared and why.

    python -m benchmarks.inference --frames ../shared/data/street_frames --output docs/inference_results.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core import command_line
from core.errors import UsageError, UserError
from core.export_forms import COMPUTE_TYPES
from engine.timing import side_by_side
from engine.timing.artefact import Artefact

_ROOT = Path(__file__).resolve().parent.parent
_OTHERS = 4
_CLOSE = 0.998  # equal pixels that float32 terms of accuracy ask for
_EXAMPLES = """\
  everything, about half an hour on two calm cores:
    python -m benchmarks.inference --frames ../shared/data/street_frames
  one net, quickly:
    python -m benchmarks.inference --frames ../shared/data/street_frames --filter_scales 0.5 --rounds 5
  a trained net, which sees the picture at its own size as the seeded ones do:
    python -m benchmarks.inference --frames ../shared/data/street_frames --filter_scales 0.5 --rounds 5 \\
      --config_path configs/icnet_0.5_289x385_resnet50_camvid.config --checkpoint runs/camvid \\
      --set model.icnet.input_scale=1
"""


def make_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    parser.add_argument(
        '--frames',
        required=True,
        metavar='DIR',
        help='street frames, two at least; the first by name is timed, mixed arithmetic is chosen on up to four others',
    )
    parser.add_argument('--filter_scales', default='0.5,1.0', metavar='LIST', help='widths of ICNet (default: 0.5,1.0)')
    parser.add_argument('--config_path', metavar='FILE', help='with --checkpoint: the net that is timed, of one width')
    parser.add_argument(
        '--checkpoint', metavar='PATH', help='trained weights, or a folder of which the newest is taken'
    )
    parser.add_argument(
        '--set', dest='overrides', action='append', default=[], metavar='FIELD=VALUE', help='a field of --config_path'
    )
    parser.add_argument('--size', default='1025,2049', metavar='HEIGHT,WIDTH', help='of the image (default: 1025,2049)')
    parser.add_argument('--rounds', type=int, default=20, metavar='N', help='inferences that count (default: 20)')
    parser.add_argument('--threads', type=int, default=2, metavar='N', help='of each process (default: 2)')
    parser.add_argument(
        '--work_dir',
        default='runs/inference',
        metavar='DIR',
        help='where artefacts are written (default: runs/inference)',
    )
    command_line.add_boolean(
        parser,
        'reuse',
        default=False,
        help='time what an earlier call left in --work_dir, if all is there',
    )
    parser.add_argument(
        '--compute_types',
        type=_parse_types,
        default=COMPUTE_TYPES,
        metavar='LIST',
        help='of our frozen graphs; mixed is chosen by one run for each convolution (default: all)',
    )
    parser.add_argument('--output', metavar='FILE', help='also write the JSON there')
    parser.add_argument('--write', metavar='FILTER_SCALE', help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    flags = make_parser().parse_args(argv)
    picture, *others = _pictures(flags)
    if flags.write:
        _write(flags, picture, others)
        return 0
    if (flags.config_path is None) != (flags.checkpoint is None) or (flags.checkpoint and ',' in flags.filter_scales):
        raise UsageError('--checkpoint: needs --config_path, and --filter_scales with the one width of that config')
    settings = side_by_side.Settings(threads=flags.threads, rounds=flags.rounds)
    result: dict[str, Any] = {
        'benchmark': 'inference',
        'size': list(picture.shape[:2]),
        'threads': flags.threads,
        'rounds': flags.rounds,
        'cpus': os.cpu_count(),
        'weights': 'trained' if flags.checkpoint else 'seeded',
        'set': flags.overrides,
        'nets': {},
    }
    for text in flags.filter_scales.split(','):
        folder = _folder(flags, text)
        if not (flags.reuse and _are_written(folder, flags.compute_types)):
            _say(f'ICNet {text}: writing the artefacts')
            _run_writer(flags, text)
        result['nets'][f'icnet {text}'] = _net(folder, flags.compute_types, picture, settings)
        _say(json.dumps(result['nets'][f'icnet {text}']['bounds']))
        _keep(result, flags.output)
    result['roof_gflops'] = _roofs(flags, settings)
    for net in result['nets'].values():
        net['at_the_roof'] = _at_the_roof(net, result['roof_gflops'])
    _keep(result, flags.output)
    print(json.dumps(result))
    return 0


def _keep(result: dict[str, Any], path: str | None) -> None:
    """Writes what there is so far."""
    if path is not None:
        beside = Path(f'{path}.unfinished')
        beside.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
        os.replace(beside, path)


def _net(
    folder: str, compute_types: Sequence[str], picture: np.ndarray, settings: side_by_side.Settings
) -> dict[str, Any]:
    """Rows of all artefacts of one net, of the two heads, and what the bounds are about."""
    with command_line.quiet_start():
        from benchmarks.deployment import artefacts

    chosen = [_inside(folder, a) for a in (*artefacts.PEERS, *artefacts.ours(compute_types))]
    rows, ids = _measured(chosen, picture[np.newaxis], settings)
    for row, own in zip(rows, ids, strict=True):
        row['equal_pixels'] = round(float((own == ids[0]).mean()), 6)
    heads = {}
    for name, logits in _logits(folder).items():
        chosen = [_inside(folder, a) for a in (artefacts.PLAIN_HEAD, artefacts.OUR_HEAD)]
        head_rows, head_ids = _measured(chosen, logits, settings)
        heads[name] = {
            'rows': head_rows,
            'equal_pixels': float((head_ids[0] == head_ids[1]).mean()),
            'share_of_plain_time': round(head_rows[1]['median_ms'] / head_rows[0]['median_ms'], 3),
        }
    return {'rows': rows, 'heads': heads, 'bounds': _bounds(rows, heads)}


def _logits(folder: str) -> dict[str, np.ndarray]:
    """What heads are timed on: the net's own logits, and noise, whose cells are all mixed."""
    own = np.load(os.path.join(folder, 'logits.npy'))
    return {'of the net': own, 'noise': np.random.default_rng(0).normal(size=own.shape).astype(np.float32)}


def _measured(
    chosen: Sequence[Artefact], given: np.ndarray, settings: side_by_side.Settings
) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    with side_by_side.workers(chosen, given, settings, progress=_say) as started:
        rows = side_by_side.measure(started, settings, progress=_say)
        for row, worker in zip(rows, started, strict=True):
            row |= worker.ask('counts')
        return rows, [side_by_side.predictions(worker) for worker in started]


def _bounds(rows: Sequence[dict[str, Any]], heads: dict[str, Any]) -> dict[str, Any]:
    by_name = {row['name']: row for row in rows}
    plain, openvino = by_name['peer: TensorFlow float32'], by_name['peer: OpenVINO bfloat16']
    peers = [row for row in rows if row['name'].startswith('peer')]
    ours = [row for row in rows if not row['name'].startswith('peer')]
    fastest = min(ours, key=lambda row: row['median_ms'])
    graphs = [row for row in ours if 'graph' in row['name']]
    graph = min(graphs, key=lambda row: row['median_ms'])
    close = min((row for row in graphs if row['equal_pixels'] >= _CLOSE), key=lambda row: row['median_ms'])
    best_peer = min(peers, key=lambda row: row['median_ms'])
    return {
        'fastest': fastest['name'],
        'fastest_over_plain_tensorflow_float32': _ratio(plain, fastest),
        'fastest_over_openvino_bfloat16': _ratio(openvino, fastest),
        'best_peer': best_peer['name'],
        'fastest_over_best_peer': _ratio(best_peer, fastest),
        'best_frozen_graph': graph['name'],
        'best_frozen_graph_over_plain_tensorflow_float32': _ratio(plain, graph),
        'best_frozen_graph_equal_pixels': graph['equal_pixels'],
        'best_close_frozen_graph': close['name'],
        'best_close_frozen_graph_over_plain_tensorflow_float32': _ratio(plain, close),
        'best_close_frozen_graph_equal_pixels': close['equal_pixels'],
        'head_share_of_plain_time': heads['of the net']['share_of_plain_time'],
        'head_equal_pixels': heads['of the net']['equal_pixels'],
        'peak_memory_of_fastest_over_plain': round(fastest['peak_mib'] / plain['peak_mib'], 3),
        'inference_memory_of_fastest_over_plain': round(
            fastest['artefact_and_inference_mib'] / plain['artefact_and_inference_mib'], 3
        ),
        'inference_memory_of_best_frozen_graph_over_plain': round(
            graph['artefact_and_inference_mib'] / plain['artefact_and_inference_mib'], 3
        ),
        'warm_inference_memory_of_fastest_over_plain': _share(fastest, plain, 'artefact_and_warm_inference_mib'),
        'warm_inference_memory_of_best_close_frozen_graph_over_plain': _share(
            close, plain, 'artefact_and_warm_inference_mib'
        ),
        'tensors_of_best_close_frozen_graph_over_plain': _share(close, plain, 'tensors_mib'),
    }


def _at_the_roof(net: dict[str, Any], roofs: dict[str, float]) -> dict[str, float]:
    """What could be had if nothing but products took time, at the rate of plain 3x3 convolutions of each type.

    `ours_over_float32_roof` is how far our fastest of float32 arithmetic is above that; the peer's is the most that any
    graph of these products could gain on it.
    """
    by_name = {row['name']: row for row in net['rows']}
    plain, optimised = (by_name[name]['gflops'] for name in ('peer: TensorFlow float32', 'frozen graph float32'))
    least = {dtype: 1e3 * optimised / roofs[f'3x3 convolution {dtype}'] for dtype in ('float32', 'bfloat16')}
    ours = min(by_name[name]['median_ms'] for name in ('frozen graph float32', 'OpenVINO float32'))
    best_peer = by_name[net['bounds']['best_peer']]['median_ms']
    return {
        'gflops_plain': plain,
        'gflops_optimised': optimised,
        'optimised_float32_ms': round(least['float32'], 1),
        'ours_over_float32_roof': round(ours / least['float32'], 3),
        'optimised_bfloat16_ms': round(least['bfloat16'], 1),
        'best_peer_over_that': round(best_peer / least['bfloat16'], 3),
        'best_peer_over_float32_roof': round(best_peer / least['float32'], 3),
    }


def _ratio(slow: dict[str, Any], fast: dict[str, Any]) -> float:
    return round(slow['median_ms'] / fast['median_ms'], 3)


def _share(ours: dict[str, Any], plain: dict[str, Any], key: str) -> float | None:
    """None where one of the runtimes does not tell."""
    return round(ours[key] / plain[key], 3) if ours[key] is not None and plain[key] else None


def _roofs(flags: argparse.Namespace, settings: side_by_side.Settings) -> dict[str, float]:
    with command_line.quiet_start():
        from benchmarks.deployment import artefacts

    folder = _folder(flags, 'roofs')
    os.makedirs(folder, exist_ok=True)
    artefacts.write_roofs(folder)
    chosen = [_inside(folder, a) for a in artefacts.ROOFS]
    rows, _ = _measured(chosen, np.load(os.path.join(folder, 'roof.npy')), settings)
    return {row['name']: round(1e3 * artefacts.ROOF_GFLOP / row['median_ms'], 1) for row in rows}


def _run_writer(flags: argparse.Namespace, filter_scale: str) -> None:
    """Writes artefacts in a process of its own, whose memory is free again afterwards."""
    command = [sys.executable, '-m', 'benchmarks.inference', '--frames', flags.frames, '--write', filter_scale]
    command += ['--size', flags.size, '--work_dir', flags.work_dir, '--compute_types', ','.join(flags.compute_types)]
    if flags.checkpoint:
        command += ['--config_path', flags.config_path, '--checkpoint', flags.checkpoint]
        command += [word for override in flags.overrides for word in ('--set', override)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ['out of memory?'])[-1]
        raise UserError(f'ICNet {filter_scale}: writing failed with exit code {done.returncode}: {reason}')


def _write(flags: argparse.Namespace, picture: np.ndarray, others: Sequence[np.ndarray]) -> None:
    with command_line.quiet_start():
        from benchmarks.deployment import artefacts, nets
    folder = _folder(flags, flags.write)
    os.makedirs(folder, exist_ok=True)
    if flags.checkpoint:
        model = nets.trained(flags.config_path, flags.overrides, flags.checkpoint, picture)
    else:
        model = nets.icnet(float(flags.write), picture)
    artefacts.write(model, picture, others, folder, flags.compute_types)


def _parse_types(text: str) -> tuple[str, ...]:
    wanted = tuple(part.strip() for part in text.split(','))
    if 'float32' not in wanted or not set(wanted) <= set(COMPUTE_TYPES):
        raise argparse.ArgumentTypeError(f'got {text!r}, choose float32 and others of {", ".join(COMPUTE_TYPES)}')
    return wanted


def _pictures(flags: argparse.Namespace) -> list[np.ndarray]:
    """uint8 [H, W, 3] each: the one that is timed, and others."""
    try:
        height, width = (int(text) for text in flags.size.split(','))
    except ValueError:
        raise UsageError(f'--size: got {flags.size!r}, two numbers such as 1025,2049 are needed') from None
    paths = sorted(Path(flags.frames).glob('*.png')) + sorted(Path(flags.frames).glob('*.jpg'))
    if len(paths) < 2:
        raise UsageError(f'--frames: {len(paths)} .png or .jpg in {flags.frames}, at least two are needed')
    images = (Image.open(path).convert('RGB') for path in paths[: 1 + _OTHERS])
    return [np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)) for image in images]


def _are_written(folder: str, compute_types: Sequence[str]) -> bool:
    with command_line.quiet_start():
        from benchmarks.deployment import artefacts
    every = (*artefacts.PEERS, *artefacts.ours(compute_types), artefacts.PLAIN_HEAD, artefacts.OUR_HEAD)
    return all(os.path.exists(_inside(folder, artefact).path) for artefact in every)


def _folder(flags: argparse.Namespace, name: str) -> str:
    return os.path.abspath(os.path.join(flags.work_dir, name))


def _inside(folder: str, artefact: Artefact) -> Artefact:
    return dataclasses.replace(artefact, path=os.path.join(folder, artefact.path))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
    command_line.run(main)
