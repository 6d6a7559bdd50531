"""What a compression came to: numbers for programs, and a table to read."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from compression.channels import ChannelGraph
from core.errors import DataError
from core.model import SegmentationModel
from core.servable import Servable, inference_variables
from engine import checkpoints


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """One network.

    Attributes:
      parameters: numbers that inference reads and training moves.
      gflops: 1e9 multiplications and additions, counted apart, of its convolutions for one image of the
        report's size.
      latency_ms: median of one image of that size, in the same run as the other network; None if not measured.
      checkpoint_bytes: of its checkpoint's data files, optimiser slots included.
    """

    parameters: int
    gflops: float
    latency_ms: float | None
    checkpoint_bytes: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerWidths:
    """Filters of one layer before and after; `group` is the first of the layers that share these channels."""

    layer: str
    group: str
    before: int
    after: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class IterationRow:
    """One cut and the training after it.

    Attributes:
      share: of the original network's filters, the one asked for or found for this cut's part of the target.
      parameters, gflops: as in Figures.
      difference: as in CompressionReport, of this cut.
      mean_iou_before_training: after the cut and what was done to batch norm; None where it was not evaluated.
      step: of all trainings together, where this one ended.
      mean_iou: there; None without evaluation records.
    """

    iteration: int
    share: float
    parameters: int
    gflops: float
    difference: float
    mean_iou_before_training: float | None
    step: int
    mean_iou: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefittedLayer:
    """What came of solving for one layer's kernel.

    Attributes:
      layer: its scope.
      error_before, error: mean squared error of what it makes, over the variance of what it made in the whole network:
        with the kernel as it was cut, and as it is now. None where it was left as it is.
      left: why it was, or ''.
    """

    layer: str
    error_before: float | None = None
    error: float | None = None
    left: str = ''


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompressionReport:
    """Everything that compression.json holds.

    Attributes:
      checkpoint, step: where the weights are from.
      share: of the filters of each layer, or of all; the one asked for, or found for a target.
      options: as asked for.
      difference: largest difference of logits between the network written and the original with the removed filters at
        zero, relative to the largest logit, on noise; with several iterations, the largest of their cuts.
      iterations: one for each cut, if there was training between them.
      refitted: what came of each layer, if kernels were solved for after the cut; with several iterations, the last.
    """

    checkpoint: str
    step: int
    share: float
    options: dict[str, Any]
    layers: list[LayerWidths]
    before: Figures
    after: Figures
    difference: float
    iterations: list[IterationRow] = dataclasses.field(default_factory=list)
    refitted: list[RefittedLayer] = dataclasses.field(default_factory=list)

    def with_figures(self, field: str, *, before: float | None = None, after: float | None = None) -> CompressionReport:
        """The same report, with this field of `before` and `after` where it is given."""
        changed = {'before': before, 'after': after}
        return dataclasses.replace(
            self,
            **{
                name: dataclasses.replace(getattr(self, name), **{field: value})
                for name, value in changed.items()
                if value is not None
            },
        )

    def table(self) -> str:
        """Widths of layers that changed, then the two networks side by side."""
        changed = [layer for layer in self.layers if layer.before != layer.after]
        width = max([len(layer.layer) for layer in changed] + [20])
        lines = [f'{"layer":{width}}  before   after']
        lines += [f'{layer.layer:{width}}  {layer.before:6}  {layer.after:6}' for layer in changed]
        unchanged = len(self.layers) - len(changed)
        lines += [f'{unchanged} of {len(self.layers)} layers keep their filters', '']
        height, image_width = self.options['size']
        rows = [
            ('M parameters', f'{self.before.parameters / 1e6:.2f}', f'{self.after.parameters / 1e6:.2f}'),
            (f'GFLOPs at {height}x{image_width}', f'{self.before.gflops:.2f}', f'{self.after.gflops:.2f}'),
            ('checkpoint, MB', *(f'{f.checkpoint_bytes / 1e6:.1f}' for f in (self.before, self.after))),
        ]
        if self.before.latency_ms is not None and self.after.latency_ms is not None:
            rows.append(('latency, ms', f'{self.before.latency_ms:.1f}', f'{self.after.latency_ms:.1f}'))
        lines += [f'{name:{width}}  {before:>6}  {after:>6}' for name, before, after in rows]
        difference = f'{self.difference:.1e} of the largest'
        lines.append(
            f'each cut changed logits by at most {difference}, against zeros'
            if self.iterations
            else f'logits differ from the original without these filters by {difference}'
        )
        if self.refitted:
            lines.append(refitted_summary(self.refitted))
        if self.iterations:
            lines += ['', iterations_table(self.iterations)]
        return '\n'.join(lines)


def refitted_summary(rows: Sequence[RefittedLayer]) -> str:
    """One line: the median errors, and how many layers were left for which reasons."""
    solved = [row for row in rows if not row.left]
    line = f'refitted {len(solved)} of {len(rows)} layers'
    if solved:
        before, after = (statistics.median(getattr(r, name) for r in solved) for name in ('error_before', 'error'))
        line += f'; median error of what they make {before:.3f} -> {after:.3f} of its variance'
    counts = collections.Counter(row.left for row in rows if row.left)
    return '; '.join([line, *(f'{number} left: {reason}' for reason, number in counts.items())])


def iterations_table(rows: Sequence[IterationRow]) -> str:
    """One line for each, below a head."""
    lines = ['iteration   share  M parameters  GFLOPs  mIoU cut    step  mIoU']
    lines += [
        f'{row.iteration:9}  {row.share:6.3f}  {row.parameters / 1e6:12.2f}  {row.gflops:6.2f}  '
        f'{_percent(row.mean_iou_before_training):>8}  {row.step:6}  {_percent(row.mean_iou):>4}'
        for row in rows
    ]
    return '\n'.join(lines)


def _percent(share: float | None) -> str:
    return '-' if share is None else f'{100 * share:.1f}'


def joined(
    first: CompressionReport, last: CompressionReport, options: dict[str, Any], rows: list[IterationRow]
) -> CompressionReport:
    """Of several cuts together: from what the first was made of to what the last made."""
    before = {layer.layer: layer for layer in first.layers}
    return dataclasses.replace(
        last,
        checkpoint=first.checkpoint,
        step=first.step,
        options=options,
        layers=[dataclasses.replace(layer, before=before[layer.layer].before) for layer in last.layers],
        before=first.before,
        difference=max(row.difference for row in rows),
        iterations=rows,
    )


def layer_widths(graph: ChannelGraph, kept: dict[str, tuple[int, ...]]) -> list[LayerWidths]:
    """Every convolution once, in the order of the network; depthwise ones by their outputs."""
    group_of = {layer.kernel: group.name for group in reversed(graph.groups) for layer in group.layers}
    found: dict[str, LayerWidths] = {}
    for convolution in graph.convolutions:
        before, after = (shapes[convolution.kernel][convolution.outputs.axis] for shapes in (graph.shapes, kept))
        found[convolution.kernel] = LayerWidths(
            layer=convolution.scope, group=group_of.get(convolution.kernel, ''), before=before, after=after
        )
    return list(found.values())


def parameters_of(model: SegmentationModel) -> frozenset[str]:
    """Names of the variables that inference reads and training moves, a frozen backbone's included."""
    concrete = Servable(model=model, num_classes=model.num_classes).trace((1, 97, 97))
    read = inference_variables(concrete, model.variables_by_name())
    return frozenset(name for name, variable in read.items() if variable.trainable)


def count(shapes: Mapping[str, tuple[int, ...]], names: frozenset[str]) -> int:
    """Numbers in the variables of these names."""
    return sum(math.prod(shapes[name]) for name in names)


def checkpoint_bytes(path: str) -> int:
    """Size of a checkpoint's data files."""
    pattern = f'{checkpoints.glob_escape(path)}.data-*'
    return sum(tf.io.gfile.stat(shard).length for shard in tf.io.gfile.glob(pattern))


def write(report: CompressionReport, path: str) -> None:
    """As JSON."""
    with tf.io.gfile.GFile(path, 'w') as file:
        file.write(json.dumps(dataclasses.asdict(report), indent=1, default=_plain) + '\n')


def read(path: str) -> CompressionReport | None:
    """What `write` wrote; None where there is no such file. Raises DataError for another content."""
    if not tf.io.gfile.exists(path):
        return None
    try:
        with tf.io.gfile.GFile(path) as file:
            content = json.loads(file.read())
        content['layers'] = [LayerWidths(**layer) for layer in content['layers']]
        content['iterations'] = [IterationRow(**row) for row in content.get('iterations', [])]
        content['refitted'] = [RefittedLayer(**row) for row in content.get('refitted', [])]
        content.update({name: Figures(**content[name]) for name in ('before', 'after')})
        return CompressionReport(**content)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f'{path}: is no report of a compression ({error}); remove it') from error


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else list(value)
