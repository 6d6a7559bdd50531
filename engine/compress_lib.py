"""Compression: a checkpoint and its config -> both with fewer filters, proven equal before they appear."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from builders import config_loader, input_builder
from compression import criteria, cutting, names, selection, tracing
from compression.channels import ChannelGraph
from core.errors import CheckpointError, UsageError, UserError
from core.fields import LOGITS
from core.model import SegmentationModel
from core.servable import Servable, inference_variables
from engine import (
    batch_norm_statistics,
    checkpoints,
    compression_plan,
    compression_report,
    inference,
    latency,
    output_folder,
    refit,
    taylor,
)
from engine.compression_plan import Options, Origin
from engine.compression_report import CompressionReport, Figures
from reports import filter_scores

CONFIG = 'pipeline.config'
REPORT = 'compression.json'
PICTURES = 'filter_scores'
ALLOWED_DIFFERENCE = 1e-3
_PROOF_SIZE = (97, 131)  # odd, not square, no multiple of a stride


def compress(
    config: Any,
    *,
    checkpoint: str,
    output_dir: str,
    options: Options,
    pictures: bool = False,
    named: Sequence[tuple[str, str]] = (),
    origin: Origin | None = None,
) -> CompressionReport:
    """Writes `model.ckpt-<step>`, `pipeline.config` and `compression.json` into `output_dir`.

    Args:
      config: `PipelineConfig`, validated.
      checkpoint: prefix, one of its files, or a directory, whose newest is taken.
      output_dir: made if missing; an earlier compression there is replaced.
      options: what to remove.
      named: (field, scope) of layers that must be there, of a .prune_config.
      pictures: also draw the ranked scores of each group of layers into the folder `filter_scores`.
      origin: the network that shares are meant of; None is that of the checkpoint.

    Raises:
      UsageError: a layer to skip that does not exist, an `output_dir` that holds the input, or no training data where
        some is needed.
      CheckpointError: missing, damaged, or not of this config.
      UserError: an operation that cannot be pruned; an unreachable target; a cut network that is not the original
        without the removed filters. Nothing is written then.
    """
    reader = checkpoints.read(checkpoint)
    check_output_dir(output_dir, reader.path)
    if options.recalibrate_batches:
        batch_norm_statistics.check(config, '--recalibrate_batches')
    if options.refit_batches:
        batch_norm_statistics.check(config, '--refit_batches')
    model = inference.build_model(config)
    restored = restore(model, reader.path)
    graph = tracing.trace(model, size=options.size)
    selection.check_named(graph, named)
    scores = score_channels(config, model, graph, options)
    plan = compression_plan.choose(config, model, graph, scores, options, origin)
    tensors = _tensors(reader, graph, plan.keep, cutting.cut)
    compressed = _built(plan.config, tensors)
    latencies = _latencies(model, compressed, options)
    report = CompressionReport(
        checkpoint=restored.path,
        step=restored.step,
        share=plan.share,
        options=dataclasses.asdict(options),
        layers=compression_report.layer_widths(graph, graph.kept_shapes(plan.keep)),
        before=_figures(model, graph, np.ones_like(plan.keep), latencies[0]),
        after=_figures(model, graph, plan.keep, latencies[1]),
        difference=prove(model, graph, plan.keep, compressed),
    )
    report = report.with_figures('checkpoint_bytes', before=compression_report.checkpoint_bytes(reader.path))
    if options.refit_batches and not plan.keep.all():
        restore(model, reader.path)  # its filters are at zero
        refitted = refit.refit(model, compressed, graph, plan.keep, config, num_batches=options.refit_batches)
        report = dataclasses.replace(report, refitted=refitted)
        tensors = _with_values_of(compressed, tensors)
    if options.soft_apply:
        tensors, plan = _tensors(reader, graph, plan.keep, cutting.zero), dataclasses.replace(plan, config=config)
    if options.recalibrate_batches:
        smaller = model if options.soft_apply else compressed
        tensors = _recalibrated(smaller, config, tensors, num_batches=options.recalibrate_batches)
    draw = functools.partial(_draw, graph, scores, plan.keep, options.criterion) if pictures else None
    return write(tensors, report.step, plan.config, report, output_dir, draw)


def score_channels(config: Any, model: SegmentationModel, graph: ChannelGraph, options: Options) -> list[np.ndarray]:
    """One score per channel of each group of `graph.groups`; the criterion taylor reads the config's training data."""
    if options.criterion == names.TAYLOR:
        if not config.HasField('train_config') or not config.HasField('train_input_reader'):
            raise UsageError('--criterion: taylor needs data: train_config and train_input_reader in the config')
        batches = input_builder.build_train(config, seed=options.seed).take(options.num_batches)
        scores = taylor.scores(model, graph, batches)
    else:
        values = {name: variable.numpy() for name, variable in model.variables_by_name().items()}
        scores = criteria.score(graph, values, options.criterion, seed=options.seed)
    return criteria.aggregate(graph, scores, options.aggregate, criterion=options.criterion, sources=options.sources)


def prove(model: SegmentationModel, graph: ChannelGraph, keep: np.ndarray, compressed: SegmentationModel) -> float:
    """Largest difference of logits between `model` with the removed filters at zero and `compressed`, on noise.

    Relative to the largest logit. The filters of `model` are at zero afterwards. Raises UserError above
    ALLOWED_DIFFERENCE.
    """
    for name, variable in model.variables_by_name().items():
        variable.assign(cutting.zero(graph, keep, name, variable.numpy()))
    images = np.random.default_rng(0).uniform(0, 255, (1, *_PROOF_SIZE, model.input_channels)).astype(np.float32)
    want, have = (_logits(each, images) for each in (model, compressed))
    difference = float(np.abs(want - have).max() / max(np.abs(want).max(), 1e-30))
    if not difference <= ALLOWED_DIFFERENCE:
        raise UserError(
            f'the cut network is not the original without the removed filters: logits differ by {difference:.2g} of '
            f'the largest, at most {ALLOWED_DIFFERENCE:g} is allowed; nothing was written'
        )
    return difference


def _logits(model: SegmentationModel, images: np.ndarray) -> np.ndarray:
    infer = tf.function(lambda x: model.predict(model.preprocess(x), is_training=False)[LOGITS], autograph=False)
    return infer(tf.constant(images)).numpy()


def restore(model: SegmentationModel, path: str) -> inference.Restored:
    """Every variable that inference reads, strictly; those of training alone as far as they are there."""
    concrete = Servable(model=model, num_classes=model.num_classes).trace((1, *_PROOF_SIZE))
    inference.check_fit(model, concrete, path, flag='--input_checkpoint')
    restored = inference.restore(model, concrete, path)
    read = inference_variables(concrete, model.variables_by_name())
    heads = {name: v for name, v in model.variables_by_name().items() if name not in read}
    reader = checkpoints.read(path)
    there = {name: variable for name, variable in heads.items() if name in reader.shapes}
    if there:
        checkpoints.restore_variables(there, path, strict=True)
    return restored


def _tensors(
    reader: checkpoints.Reader,
    graph: ChannelGraph,
    keep: np.ndarray,
    change: Callable[[ChannelGraph, np.ndarray, str, np.ndarray], np.ndarray],
) -> dict[str, np.ndarray]:
    """The checkpoint's variables and their slots, changed; what belongs to no variable of the model is left out."""
    own = [
        name
        for name in reader.shapes
        if name in graph.shapes or name.rpartition('/')[0] in graph.shapes or name == checkpoints.GLOBAL_STEP
    ]
    return {name: change(graph, keep, name, reader.tensor(name)) for name in own}


def _recalibrated(
    model: SegmentationModel, config: Any, tensors: Mapping[str, np.ndarray], *, num_batches: int
) -> dict[str, np.ndarray]:
    """The tensors of `model` with batch-norm averages measured again; its other variables are as they were."""
    batch_norm_statistics.recalibrate(model, config, num_batches=num_batches)
    variables = model.variables_by_name()
    averages = [name for name in tensors if name.endswith(batch_norm_statistics.AVERAGES) and name in variables]
    return {**tensors, **{name: variables[name].numpy() for name in averages}}


def _with_values_of(model: SegmentationModel, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    variables = model.variables_by_name()
    return {name: variables[name].numpy() if name in variables else value for name, value in tensors.items()}


def _built(config: Any, tensors: Mapping[str, np.ndarray]) -> SegmentationModel:
    """The network of the new config with the cut tensors; UserError where one does not fit."""
    model = inference.build_model(config)
    for name, variable in model.variables_by_name().items():
        value = tensors.get(name)
        if value is None:
            continue
        if value.shape != tuple(variable.shape):
            raise UserError(f'{name}: {list(value.shape)} after the cut, but its config builds {list(variable.shape)}')
        variable.assign(value)
    return model


def check_output_dir(output_dir: str, checkpoint: str) -> None:
    """Makes the folder; UsageError if it holds the input, or checkpoints that are no earlier compression's."""
    if os.path.realpath(output_dir) == os.path.realpath(os.path.dirname(checkpoint)):
        raise UsageError(f'--output_dir: {output_dir} holds the input checkpoint; choose another folder')
    output_folder.make(output_dir, '--output_dir')
    checkpoints.remove_unfinished(output_dir)
    others = checkpoints.all_checkpoints(output_dir)
    if others and not tf.io.gfile.exists(os.path.join(output_dir, REPORT)):
        raise UsageError(
            f'--output_dir: {output_dir} holds {os.path.basename(others[-1])} but no {REPORT}, so it is no earlier '
            'compression; choose another folder'
        )


def _latencies(
    model: SegmentationModel, compressed: SegmentationModel, options: Options
) -> Sequence[float] | tuple[None, None]:
    if not options.num_images:
        return None, None
    return latency.measure([model, compressed], size=options.size, num_images=options.num_images)


def _figures(model: SegmentationModel, graph: ChannelGraph, keep: np.ndarray, latency_ms: float | None) -> Figures:
    return Figures(
        parameters=compression_report.count(graph.kept_shapes(keep), compression_report.parameters_of(model)),
        gflops=graph.flops(keep) / 1e9,
        latency_ms=latency_ms,
    )


def _draw(graph: ChannelGraph, scores: Sequence[np.ndarray], keep: np.ndarray, criterion: str, folder: str) -> None:
    """One picture per group of layers, named after the first."""
    tf.io.gfile.makedirs(folder)
    for group, values in zip(graph.groups, scores, strict=True):
        others = f', and {len(group.layers) - 1} more with the same channels' if len(group.layers) > 1 else ''
        filter_scores.draw(
            os.path.join(folder, f'{group.name.replace("/", ".")}.png'),
            scores=values,
            num_removed=int((~keep[group.channels]).sum()),
            title=f'{group.name}{others}',
            ylabel=criterion,
        )


def write(
    tensors: Mapping[str, np.ndarray],
    step: int,
    config: Any,
    report: CompressionReport,
    output_dir: str,
    draw: Callable[[str], None] | None,
) -> CompressionReport:
    """Everything into a folder within, then moved; the checkpoint's index last: where it is, all is there."""
    temporary = os.path.join(output_dir, f'unfinished-{os.getpid()}')
    try:
        tf.io.gfile.makedirs(temporary)
        path = checkpoints.save(temporary, step, tensors)
        report = report.with_figures('checkpoint_bytes', after=compression_report.checkpoint_bytes(path))
        config_loader.save(config, os.path.join(temporary, CONFIG))
        compression_report.write(report, os.path.join(temporary, REPORT))
        if draw:
            draw(os.path.join(temporary, PICTURES))
        _move(temporary, output_dir)
    except (CheckpointError, OSError, tf.errors.OpError) as error:
        reason = checkpoints.first_line(error).rpartition('; ')[2]  # without the name of a file that is gone by then
        raise UserError(
            f'--output_dir: cannot write the compressed network into {output_dir}: {reason}; nothing was written: make '
            'room there, or choose another folder'
        ) from error
    finally:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.rmtree(temporary)
    return report


def _move(temporary: str, output_dir: str) -> None:
    for old in checkpoints.all_checkpoints(output_dir):
        checkpoints.remove(old)
    if tf.io.gfile.exists(os.path.join(output_dir, PICTURES)):
        tf.io.gfile.rmtree(os.path.join(output_dir, PICTURES))
    entries = [name.rstrip('/') for name in tf.io.gfile.listdir(temporary)]
    for name in sorted(entries, key=lambda name: (name.endswith('.index'), name)):
        tf.io.gfile.rename(os.path.join(temporary, name), os.path.join(output_dir, name), overwrite=True)
