"""Parameters, arithmetic and activations of every pair of architecture and extractor, beside published figures.

Prints one JSON object; `--output docs/model_zoo.md` also writes the page. Nothing is trained or restored: parameters
are counted, and operations read from the traced inference graph, image in, class ids out.

    python -m benchmarks.model_zoo --output docs/model_zoo.md            # a minute or two
    python -m benchmarks.model_zoo --output docs/model_zoo.md --latency  # and the time of one image, on a calm machine
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import text_format

from builders import model_builder, pairs
from builders.names import FEATURE_EXTRACTORS
from core.servable import Servable, inference_variables
from protos import model_pb2

_ARCHITECTURES = ('pspnet', 'icnet', 'fcn')
_POOLING = {'pspnet': 'pooling_factors: [1, 2, 3, 6]', 'icnet': 'pooling_factors: [1, 2, 3, 4]', 'fcn': ''}
# Height, width and classes of the paper's main experiment: Cityscapes whole images, PASCAL VOC's largest.
_SETTING = {'pspnet': (1025, 2049, 19), 'icnet': (1025, 2049, 19), 'fcn': (500, 500, 21)}
_BYTES = 4  # float32


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
_TAIL = """
## Why figures differ from published ones

- FCN on VGG-16: the paper rounds to 134 M, and so do the rows here. Convolutions are padded here; the paper pads the
  image by 100 pixels and crops: more operations, the same parameters.
- Papers often count a multiplication and addition as one operation: halve the column to compare.
- The `dilated_` extractors have the reference's dilation (4 and 16 in the last two stages of ResNet-50), the others the
  papers' (2 and 4). A dilated convolution runs on space-to-batch tiles, whose padding to a multiple of the rate is
  counted: more at rate 16 than at rate 4.
- The figures of the reference were counted with another tool; they agree within 0.1 %.
- ICNet on `dilated_mobilenet` is the reference's, which ends one block early; on `mobilenet_v2` it is the whole one.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--output', help='markdown file to write')
    parser.add_argument('--latency', action='store_true', help='also time one image; needs a calm machine')
    parser.add_argument('--only', default='', help='cases whose name contains this text')
    flags = parser.parse_args()
    rows = []
    for case in cases():
        if flags.only in case.name:
            rows.append(measure(case, latency=flags.latency))
            print(f'{case.name}: {rows[-1]["million_parameters"]} M', file=sys.stderr)
    if flags.output:
        _write(Path(flags.output), page(rows))
    print(json.dumps({'benchmark': 'model_zoo', 'cpus': os.cpu_count(), 'models': rows}))


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


def measure(case: Case, *, latency: bool = False) -> dict:
    """Figures of one case; with `latency` the median time of one image in milliseconds."""
    height, width, num_classes = _SETTING[case.architecture]
    text = f"""{case.architecture} {{
      num_classes: {num_classes} filter_scale: {case.filter_scale} {_POOLING[case.architecture]} {case.extra}
      feature_extractor {{ type: '{case.extractor}' }}
    }}"""
    config = text_format.Parse(text, model_pb2.FastSegmentationModel())
    concrete, figures = trace(config, height=height, width=width)
    published = _PUBLISHED.get(case.name, (None, None, ''))
    return {
        'model': case.name,
        'height': height,
        'width': width,
        **figures,
        'latency_ms': _latency(concrete, height, width) if latency else None,
        'published_million_parameters': published[0],
        'published_gflops': published[1],
        'published_by': published[2],
    }


def trace(config: model_pb2.FastSegmentationModel, *, height: int, width: int) -> tuple[Any, dict[str, float]]:
    """The inference graph of one image, and what is counted in it: million parameters, GFLOPs, MiB of activations."""
    model = model_builder.build(config)
    model.build()
    concrete = Servable(model=model, num_classes=model.num_classes).trace((1, height, width))
    trainable = {variable.ref() for variable in model.trainable_variables}
    read = inference_variables(concrete, model.variables_by_name()).values()
    operations = concrete.graph.get_operations()
    return concrete, {
        'million_parameters': round(sum(math.prod(v.shape) for v in read if v.ref() in trainable) / 1e6, 2),
        'gflops': round(sum(map(operation_flops, operations)) / 1e9, 1),
        'activation_mib': round(sum(map(activation_bytes, operations)) / 2**20),
    }


def operation_flops(operation: tf.Operation) -> int:
    """Multiplications and additions of one operation; 0 for all that are not products of tensors."""
    kind = operation.type
    if kind == 'Conv2D':
        height, width, inputs, _ = operation.inputs[1].shape
        return 2 * math.prod(operation.outputs[0].shape) * height * width * inputs
    if kind == 'DepthwiseConv2dNative':
        height, width, _, _ = operation.inputs[1].shape
        return 2 * math.prod(operation.outputs[0].shape) * height * width
    if kind == 'Conv2DBackpropInput':  # a transposed convolution: each input pixel spreads over the kernel
        height, width, outputs, _ = operation.inputs[1].shape
        return 2 * math.prod(operation.inputs[2].shape) * height * width * outputs
    if kind == 'MatMul':
        rows = operation.inputs[0].shape[0 if operation.get_attr('transpose_a') else 1]
        return 2 * math.prod(operation.outputs[0].shape) * rows
    return 0


_ACTIVATIONS = {
    *('Conv2D', 'DepthwiseConv2dNative', 'Conv2DBackpropInput', 'MatMul', 'FusedBatchNormV3'),
    *('MaxPool', 'AvgPool', 'ResizeBilinear', 'ConcatV2', 'AddN'),
}


def activation_bytes(operation: tf.Operation) -> int:
    """Bytes of its first output, where the operation makes a new feature map."""
    return _BYTES * math.prod(operation.outputs[0].shape) if operation.type in _ACTIVATIONS else 0


def _latency(concrete, height: int, width: int) -> float:
    image = tf.zeros([1, height, width, 3], tf.uint8)
    seconds = []
    for _ in range(6):
        started = time.perf_counter()
        concrete(image)['predictions'].numpy()
        seconds.append(time.perf_counter() - started)
    return round(1000 * statistics.median(seconds[1:]), 1)


def page(rows: list[dict]) -> str:
    """The markdown page of these rows."""
    settings = ', '.join(f'{name} {h}x{w}, {c} classes' for name, (h, w, c) in _SETTING.items())
    timed = any(row['latency_ms'] for row in rows)
    said = f'- **Latency** is the median of five images on {os.cpu_count()} CPU cores.\n' if timed else ''
    head = ['model', 'M parameters', 'published', 'GFLOPs', 'published', 'activations, MiB', 'published by']
    lines = [_HEAD.format(settings=settings, latency=said).rstrip(), '']
    lines += [_line([*head, *(['latency, ms'] if timed else [])]), _line(['---'] * (len(head) + timed))]
    for row in rows:
        cells = [
            *(row['model'], f'{row["million_parameters"]:.2f}', row['published_million_parameters'] or ''),
            *(f'{row["gflops"]:.1f}', row['published_gflops'] or '', row['activation_mib'], row['published_by']),
        ]
        lines.append(_line([*cells, *([row['latency_ms'] or ''] if timed else [])]))
    return '\n'.join(lines) + '\n' + _TAIL


def _line(cells: list) -> str:
    return f'| {" | ".join(str(cell) for cell in cells)} |'


def _write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + '.tmp')
    beside.write_text(text, encoding='utf-8')
    os.replace(beside, path)


if __name__ == '__main__':
    main()
