"""Parameters, arithmetic and activations of every pair of architecture and extractor, beside published figures.

Prints one JSON object; `--output docs/model_zoo.md` also writes the page. Nothing is trained or restored: parameters
are counted, and operations read from the traced inference graph, image in, class ids out.

Each case runs in a process of its own, and its result is kept: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builders import pairs
from builders.names import FEATURE_EXTRACTORS
from core import command_line
from core.errors import UsageError, UserError

_ROOT = Path(__file__).resolve().parent.parent
_EXAMPLES = """\
  the page, some minutes:
    python -m benchmarks.model_zoo --output docs/model_zoo.md
  and the time of one image, on a calm machine; about half an hour on two cores:
    python -m benchmarks.model_zoo --output docs/model_zoo.md --latency
  some rows of it:
    python -m benchmarks.model_zoo --only icnet --latency
  all measured anew:
    python -m benchmarks.model_zoo --latency --work_dir runs/model_zoo_2
"""
_ARCHITECTURES = ('pspnet', 'icnet', 'fcn')
_POOLING = {'pspnet': 'pooling_factors: [1, 2, 3, 6]', 'icnet': 'pooling_factors: [1, 2, 3, 4]', 'fcn': ''}
# Height, width and classes of the paper's main experiment: Cityscapes whole images, PASCAL VOC's largest.
_SETTING = {'pspnet': (1025, 2049, 19), 'icnet': (1025, 2049, 19), 'fcn': (500, 500, 21)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One row: the pair, its filter scale, and what goes into the architecture's block beyond them."""

    architecture: str
    extractor: str
    filter_scale: float = 1.0
    extra: str = ''

    @property
    def name(self) -> str:
        scale = '' if self.filter_scale == 1 else f' x{self.filter_scale}'
        stride = f'-{self.extra.split("stride: ")[1]}s' if 'stride: ' in self.extra else ''
        return f'{self.architecture}{stride} {self.extractor}{scale}'


# Case -> (million parameters, GFLOPs or None, where they are from).
_REFERENCE = 'reference implementation, measured'
_PUBLISHED = {
    'pspnet dilated_resnet50': (46.59, 2942.7, _REFERENCE),
    'icnet dilated_resnet50': (26.87, 247.0, _REFERENCE),
    'icnet dilated_resnet50 x0.5': (6.74, 63.2, _REFERENCE),
    'pspnet dilated_mobilenet': (13.39, 848.5, _REFERENCE),
    'fcn-32s vgg16_fc': (134.0, None, 'arXiv:1605.06211, table 1'),
    'fcn-32s inception_v1': (6.0, None, 'arXiv:1605.06211, table 1'),
}
_HEAD = """# Model zoo

Made by `python -m benchmarks.model_zoo --output docs/model_zoo.md`; change it there.

Each row is one image through the exported graph, uint8 in, class ids of the same size out, at the resolution of the
architecture's paper: {settings}.

- **M parameters** are the variables that inference reads and a step would train.
- **GFLOPs** are those of convolutions, transposed convolutions and matrix products, a multiplication and an addition
  counted apart.
- **Activations** are the float32 outputs of those operations, of normalisations, poolings, concatenations and
  resizings, all held at once: an upper bound for inference, and about what training holds per image.
{latency}"""
_LATENCY = """\
- **Latency** is the median of {images} images, one at a time, on {threads} CPU threads: TensorFlow, float32, the
  traced graph as it is. **Peak** is the most memory that the process of a row held, TensorFlow's own included.
"""
_TAIL = """
## Why figures differ from published ones

- FCN on VGG-16: the paper rounds to 134 M, and so do the rows here. Convolutions are padded here; the paper pads the
  image by 100 pixels and crops: more operations, the same parameters.
- Papers often count a multiplication and addition as one operation: halve the column to compare.
- The `dilated_` extractors have the reference's dilation (4 and 16 in the last two stages of ResNet-50), the others the
  papers' (2 and 4).
- A dilated convolution is one operation here. In the reference it runs on space-to-batch tiles, whose padding to a
  multiple of the rate its count contains: 3 % of PSPNet50, 12 % of ICNet. On tiles the two counts agree within 0.1 %.
- FCN on Inception V1: the paper rounds to a million.
- ICNet on `dilated_mobilenet` is the reference's, which ends one block early; on `mobilenet_v2` it is the whole one.
"""


def make_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    parser.add_argument('--output', metavar='FILE', help='markdown page to write')
    parser.add_argument('--latency', action='store_true', help='also time one image; needs a calm machine')
    parser.add_argument('--only', default='', metavar='TEXT', help='cases whose name contains this')
    parser.add_argument(
        '--threads', type=int, default=2, metavar='N', help='of --latency, whatever the machine has (default: 2)'
    )
    parser.add_argument(
        '--images', type=int, default=5, metavar='N', help='timed per case; the median counts (default: 5)'
    )
    parser.add_argument(
        '--work_dir',
        default='runs/model_zoo',
        metavar='DIR',
        help='a result for each finished case, which is not measured again (default: runs/model_zoo)',
    )
    parser.add_argument('--worker', metavar='CASE', help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    flags = make_parser().parse_args(arguments)
    for name in ('threads', 'images'):
        if getattr(flags, name) < 1:
            raise UsageError(f'--{name}: got {getattr(flags, name)}, choose 1 or more')
    if flags.worker:
        print(json.dumps(measure(flags.worker, flags)))
        return 0
    chosen = [case for case in cases() if flags.only in case.name]
    if not chosen:
        raise UsageError(f'--only: no case has {flags.only!r} in its name; there are {[c.name for c in cases()]}')
    rows = [_finished(case, flags) for case in chosen]
    if flags.output:
        _write(Path(flags.output), page(rows))
    print(json.dumps({'benchmark': 'model_zoo', 'models': rows}))
    return 0


def _finished(case: Case, flags: argparse.Namespace) -> dict[str, Any]:
    """The row of one case: read, or measured in a process of its own, whose memory is free again afterwards."""
    timing = f'-{flags.threads}-threads-{flags.images}-images' if flags.latency else ''
    path = Path(flags.work_dir) / f'{case.name.replace(" ", "-")}{timing}.json'
    source = _source_digest()
    if path.exists():
        row = json.loads(path.read_text(encoding='utf-8'))
        if row['source'] == source:
            return row
    command = [sys.executable, '-m', 'benchmarks.model_zoo', '--worker', case.name]
    command += ['--threads', str(flags.threads), '--images', str(flags.images)]
    done = subprocess.run(command + ['--latency'] * flags.latency, cwd=_ROOT, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ['out of memory?'])[-1]
        raise UserError(f'{case.name}: failed with exit code {done.returncode}: {reason}; the same command goes on')
    row = {**json.loads(done.stdout.splitlines()[-1]), 'source': source}
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, json.dumps(row) + '\n')
    timed = f', {row["latency_ms"]} ms, at most {row["peak_mib"]} MiB' if flags.latency else ''
    print(f'{case.name}: {row["million_parameters"]} M, {row["gflops"]} GFLOPs{timed}', file=sys.stderr, flush=True)
    return row


@functools.cache
def _source_digest() -> str:
    """Of all that decides what is measured: a result of other code is not kept."""
    folders = ('benchmarks', 'builders', 'core', 'feature_extractors', 'meta_architectures', 'protos', 'third_party')
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in (_ROOT / folder).rglob('*.py')):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def cases() -> list[Case]:
    """Every supported pair, at full width; FCN at stride 16, or at 8 on what ends there; then published variants."""
    found = []
    for architecture in _ARCHITECTURES:
        for extractor in FEATURE_EXTRACTORS:
            if (architecture, extractor) in pairs.UNSUPPORTED:
                continue
            extra = ''
            if architecture == 'fcn':
                extra = f'stride: {8 if extractor in pairs.STRIDE_8_ONLY else 16}'
            found.append(Case(architecture=architecture, extractor=extractor, extra=extra))
    found.append(Case(architecture='icnet', extractor='dilated_resnet50', filter_scale=0.5))
    found += [Case(architecture='fcn', extractor='vgg16_fc', extra=f'stride: {stride}') for stride in (32, 8)]
    found.append(Case(architecture='fcn', extractor='inception_v1', extra='stride: 32'))
    return found


def measure(name: str, flags: argparse.Namespace) -> dict[str, Any]:
    """Figures of the case of this name; with `flags.latency` also its time and the memory of the whole process."""
    from google.protobuf import text_format

    (case,) = (case for case in cases() if case.name == name)
    with command_line.quiet_start():
        import tensorflow as tf

        from benchmarks.zoo import graph
        from protos import model_pb2

        if flags.latency:
            tf.config.threading.set_intra_op_parallelism_threads(flags.threads)
            tf.config.threading.set_inter_op_parallelism_threads(flags.threads)
    height, width, num_classes = _SETTING[case.architecture]
    text = f"""{case.architecture} {{
      num_classes: {num_classes} filter_scale: {case.filter_scale} {_POOLING[case.architecture]} {case.extra}
      feature_extractor {{ type: '{case.extractor}' }}
    }}"""
    config = text_format.Parse(text, model_pb2.FastSegmentationModel())
    concrete, figures = graph.trace(config, height=height, width=width)
    published = _PUBLISHED.get(case.name, (None, None, ''))
    row = {
        'model': case.name,
        'height': height,
        'width': width,
        **figures,
        'latency_ms': None,
        'published_million_parameters': published[0],
        'published_gflops': published[1],
        'published_by': published[2],
    }
    if flags.latency:
        row['latency_ms'] = graph.latency(concrete, height=height, width=width, num_images=flags.images)
        row |= {'threads': flags.threads, 'images': flags.images}
        row['peak_mib'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return row


def page(rows: list[dict]) -> str:
    """The markdown page of these rows."""
    settings = ', '.join(f'{name} {h}x{w}, {c} classes' for name, (h, w, c) in _SETTING.items())
    timed = all(row['latency_ms'] for row in rows)
    said = _LATENCY.format(**rows[0]) if timed else ''
    head = ['model', 'M parameters', 'published', 'GFLOPs', 'published', 'activations, MiB', 'published by']
    lines = [_HEAD.format(settings=settings, latency=said).rstrip(), '']
    head += ['latency, ms', 'peak, MiB'] if timed else []
    lines += [_line(head), _line(['---'] * len(head))]
    for row in rows:
        cells = [
            *(row['model'], f'{row["million_parameters"]:.2f}', row['published_million_parameters'] or ''),
            *(f'{row["gflops"]:.1f}', row['published_gflops'] or '', row['activation_mib'], row['published_by']),
        ]
        lines.append(_line([*cells, *([row['latency_ms'], row['peak_mib']] if timed else [])]))
    return '\n'.join(lines) + '\n' + _TAIL


def _line(cells: list) -> str:
    return f'| {" | ".join(str(cell) for cell in cells)} |'


def _write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + '.tmp')
    beside.write_text(text, encoding='utf-8')
    os.replace(beside, path)


if __name__ == '__main__':
    command_line.run(main)
