"""mIoU against the share of filters removed from one group of layers at a time (Li et al., arXiv:1608.08710, 3.2)."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from builders import input_builder
from compression import cutting, selection, tracing
from compression.channels import ChannelGraph, ChannelGroup
from core.errors import DataError, UsageError
from core.model import SegmentationModel
from engine import checkpoints, compress_lib, eval_results, inference, output_folder
from engine.compression_plan import Options
from engine.eval_lib import Evaluator
from engine.sensitivity_report import REPORT
from reports import sensitivity_map

_LOGGER = logging.getLogger(__name__)

CELLS, PICTURE = 'sensitivity.jsonl', 'sensitivity.png'


@dataclasses.dataclass(frozen=True)
class Request:
    """Shares to remove, rising in (0, 1), and how many of the first evaluation examples score each."""

    shares: Sequence[float]
    num_examples: int


def measure(config: Any, *, checkpoint: str, output_dir: str, options: Options, request: Request) -> str:
    """Writes `sensitivity.json` and `sensitivity.png` into `output_dir`; returns the path of the first.

    The least filters, by `options.criterion`, of one group of layers at a time are set to zero in place; batch norm is
    not measured again. Each cell of the table is a line of `sensitivity.jsonl`, where the same call goes on.

    Raises:
      UsageError: lines of other choices in `output_dir`.
      DataError, CheckpointError, UserError: as evaluation and `compress_lib.compress`.
    """
    input_builder.check_reader(config, 'eval')
    reader = checkpoints.read(checkpoint)
    output_folder.make(output_dir, '--output_dir')
    model = inference.build_model(config)
    restored = compress_lib.restore(model, reader.path)
    graph = tracing.trace(model, size=options.size)
    selected = [
        (index, group)
        for index, (group, skipped) in enumerate(
            zip(graph.groups, selection.skipped_groups(graph, options.skip_layers), strict=True)
        )
        if not skipped
    ]
    cells = _Cells(os.path.join(output_dir, CELLS), _choices(restored, options, request))
    scores = compress_lib.score_channels(config, model, graph, options)
    evaluator = Evaluator(config, model)

    def score() -> float:
        return evaluator.evaluate(restored, max_examples=request.num_examples).metrics['mean_iou'] or 0.0

    whole = cells.value('', 0.0, score)
    rows = []
    for number, (index, group) in enumerate(selected, 1):
        values = []
        for share in request.shares:
            with _without(model, graph, group, scores[index], share):
                values.append(cells.value('|'.join(_scopes(group)), share, score))
        shown = ' '.join(f'{100 * value:.1f}' for value in values)
        _LOGGER.info('[%d/%d] %s: mIoU %s (%.1f)', number, len(selected), group.name, shown, 100 * whole)
        rows.append({'layers': _scopes(group), 'channels': len(group.channels), 'mean_iou': values})
    return _write(output_dir, {**cells.choices, 'mean_iou': whole, 'groups': rows})


class _Cells:
    """A file of finished cells: a line of choices, then one line for each; a line cut off by a kill does not count."""

    def __init__(self, path: str, choices: Mapping[str, Any]):
        self._path, self.choices = path, json.loads(json.dumps(choices))
        lines = self._lines()
        if lines and lines[0] != self.choices:
            changed = [f'{key}={value!r}' for key, value in lines[0].items() if self.choices.get(key) != value]
            raise UsageError(
                f'--output_dir: {path} was begun with {", ".join(changed)}; give the same choices to go on, or '
                'another folder'
            )
        self._done = {(line['group'], line['share']): line['mean_iou'] for line in lines[1:]}
        content = ''.join(json.dumps(line) + '\n' for line in lines or [self.choices])
        with tf.io.gfile.GFile(f'{path}.tmp', 'w') as file:
            file.write(content)
        tf.io.gfile.rename(f'{path}.tmp', path, overwrite=True)

    def value(self, group: str, share: float, score: Any) -> float:
        """The mIoU of the cell; measured by `score()` if no line says it."""
        if (group, share) not in self._done:
            self._done[group, share] = score()
            with tf.io.gfile.GFile(self._path, 'a') as file:
                line = {'group': group, 'share': share, 'mean_iou': self._done[group, share]}
                file.write(json.dumps(line) + '\n')
        return self._done[group, share]

    def _lines(self) -> list[dict[str, Any]]:
        if not tf.io.gfile.exists(self._path):
            return []
        with tf.io.gfile.GFile(self._path) as file:
            whole = [line for line in file.read().splitlines(keepends=True) if line.endswith('\n')]
        try:
            return [json.loads(line) for line in whole]
        except ValueError as error:
            raise DataError(f'{self._path}: not JSON ({error}); remove it to measure again') from error


@contextmanager
def _without(
    model: SegmentationModel, graph: ChannelGraph, group: ChannelGroup, scores: np.ndarray, share: float
) -> Iterator[None]:
    """The least of the group's channels at zero; one stays in any case."""
    keep = np.ones(graph.num_channels, bool)
    number = max(1, round((1 - share) * len(group.channels)))  # stay; of equals the first, as in selection.best
    keep[group.channels[np.argsort(-scores, kind='stable')[number:]]] = False
    variables = model.variables_by_name()
    touched = {axis.variable for axis, channels in graph.axes.items() if np.isin(channels, group.channels).any()}
    before = {name: variables[name].numpy() for name in touched & set(variables)}
    for name, value in before.items():
        variables[name].assign(cutting.zero(graph, keep, name, value))
    try:
        yield
    finally:
        for name, value in before.items():
            variables[name].assign(value)


def _scopes(group: ChannelGroup) -> list[str]:
    return [layer.scope for layer in group.layers]


def _choices(restored: inference.Restored, options: Options, request: Request) -> dict[str, Any]:
    names = ('criterion', 'aggregate', 'seed', 'skip_layers', 'sources', 'num_batches')
    return {
        **{'checkpoint': restored.path, 'step': restored.step, **dataclasses.asdict(request)},
        **{name: getattr(options, name) for name in names},
    }


def _write(output_dir: str, content: Mapping[str, Any]) -> str:
    rows = content['groups']
    picture = os.path.join(output_dir, PICTURE)
    sensitivity_map.draw(
        f'{picture}.tmp',
        names=[row['layers'][0] for row in rows],
        shares=content['shares'],
        values=np.array([row['mean_iou'] for row in rows]),
        whole=content['mean_iou'],
    )
    tf.io.gfile.rename(f'{picture}.tmp', picture, overwrite=True)
    path = os.path.join(output_dir, REPORT)
    eval_results.write_json(dict(content), path)
    return path
