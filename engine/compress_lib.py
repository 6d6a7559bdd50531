"""Compression: a checkpoint and its config -> both with fewer filters, proven equal before they appear."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from builders import config_loader
from compression import criteria, cutting, selection, tracing
from compression.channels import ChannelGraph
from core.errors import UserError
from core.fields import LOGITS
from core.model import SegmentationModel
from core.servable import Servable, inference_variables
from engine import checkpoints, compressed_config, compression_report, inference, latency, output_folder
from engine.compression_report import CompressionReport, Figures

CONFIG = 'pipeline.config'
REPORT = 'compression.json'
ALLOWED_DIFFERENCE = 1e-3
_PROOF_SIZE = (97, 131)  # odd, not square, no multiple of a stride


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What to remove; see the flags of compress.py.

    Attributes:
      factor: share of filters that stay, in (0, 1].
      criterion, aggregate: of `compression.criteria`. scope: of `compression.selection`.
      skip_layers: patterns of layers that keep their filters.
      min_filters, divisor: of each group of layers; divisor None is 8 for scope global, and for uniform what the config's
        own filter_scale gives.
      soft_apply: set filters to zero and keep every shape.
      size: height and width of the image that arithmetic and latency are told for.
      num_images: timed for the latency, of which the median counts.
      seed: of criterion random.
    """

    factor: float = 0.5
    criterion: str = criteria.L1
    aggregate: str = criteria.MEAN
    scope: str = selection.UNIFORM
    skip_layers: Sequence[str] = ()
    min_filters: int = 1
    divisor: int | None = None
    soft_apply: bool = False
    size: tuple[int, int] = (513, 513)
    num_images: int = 5
    seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Which channels stay (bool [num_channels]), and the config that builds exactly what is left."""

    keep: np.ndarray
    config: Any


def compress(config: Any, *, checkpoint: str, output_dir: str, options: Options) -> CompressionReport:
    """Writes `model.ckpt-<step>`, `pipeline.config` and `compression.json` into `output_dir`.

    Args:
      config: `PipelineConfig`, validated.
      checkpoint: prefix, one of its files, or a directory, whose newest is taken.
      output_dir: made if missing; an earlier compression there is replaced.
      options: what to remove.

    Raises:
      UsageError: a layer to skip that does not exist.
      CheckpointError: missing, damaged, or not of this config.
      UserError: an operation that cannot be pruned; an unreachable target; a cut network that is not the original
        without the removed filters. Nothing is written then.
    """
    _check_output_dir(output_dir)
    reader = checkpoints.read(checkpoint)
    model = inference.build_model(config)
    restored = _restore(model, reader.path)
    graph = tracing.trace(model, size=options.size)
    plan = choose(config, graph, _scores(model, graph, options), options)
    tensors = _tensors(reader, graph, plan.keep, cutting.zero if options.soft_apply else cutting.cut)
    compressed = model if options.soft_apply else _built(plan.config, tensors)
    latencies = _latencies(model, compressed, options)
    report = CompressionReport(
        checkpoint=restored.path,
        step=restored.step,
        options=dataclasses.asdict(options),
        layers=compression_report.layer_widths(graph, graph.kept_shapes(plan.keep)),
        before=_figures(model, graph, np.ones_like(plan.keep), reader.path, latencies[0]),
        after=_figures(model, graph, plan.keep, '', latencies[1]),
        difference=prove(model, graph, plan.keep, compressed),
    )
    return _write(tensors, config if options.soft_apply else plan.config, report, output_dir)


def choose(config: Any, graph: ChannelGraph, scores: Sequence[np.ndarray], options: Options) -> Plan:
    """The channels that stay at `options.factor`, and their config.

    Plain uniform pruning follows the architecture's own rounding: it keeps what the config with its filter_scale
    multiplied has, and that config is the result. Everything else names the widths of layers.
    """
    plain = options.scope == selection.UNIFORM and options.divisor is None
    skipped = selection.skipped_groups(graph, options.skip_layers)
    if plain and not any(skipped) and options.min_filters == 1 and not config.model.layer_width:
        narrower = compressed_config.narrower(config, options.factor)
        counts = selection.counts_of_shapes(graph, compressed_config.shapes_of(narrower))
        if counts is not None:
            return Plan(selection.best(graph, scores, counts), narrower)
    selector = selection.Selector(
        graph,
        scores,
        scope=options.scope,
        skipped=skipped,
        min_filters=options.min_filters,
        divisor=options.divisor or (1 if options.scope == selection.UNIFORM else 8),
    )
    keep = selector(options.factor)
    return Plan(keep, compressed_config.with_widths(config, graph, graph.kept_shapes(keep)))


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
            f'the cut network is not the original without the removed filters: logits differ by {difference:.2g} of the '
            f'largest, at most {ALLOWED_DIFFERENCE:g} is allowed; nothing was written'
        )
    return difference


def _logits(model: SegmentationModel, images: np.ndarray) -> np.ndarray:
    infer = tf.function(lambda x: model.predict(model.preprocess(x), is_training=False)[LOGITS], autograph=False)
    return infer(tf.constant(images)).numpy()


def _restore(model: SegmentationModel, path: str) -> inference.Restored:
    """Every variable that inference reads, strictly; those of training alone as far as they are there."""
    concrete = Servable(model=model, num_classes=model.num_classes).trace((1, *_PROOF_SIZE))
    restored = inference.restore(model, concrete, path)
    read = inference_variables(concrete, model.variables_by_name())
    heads = {name: v for name, v in model.variables_by_name().items() if name not in read}
    reader = checkpoints.read(path)
    there = {name: variable for name, variable in heads.items() if name in reader.shapes}
    if there:
        checkpoints.restore_variables(there, path, strict=True)
    return restored


def _scores(model: SegmentationModel, graph: ChannelGraph, options: Options) -> list[np.ndarray]:
    values = {name: variable.numpy() for name, variable in model.variables_by_name().items()}
    scores = criteria.score(graph, values, options.criterion, seed=options.seed)
    return criteria.aggregate(graph, scores, options.aggregate, criterion=options.criterion)


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


def _check_output_dir(output_dir: str) -> None:
    """Replaces an earlier compression, and no training."""
    output_folder.make(output_dir, '--output_dir')
    others = checkpoints.all_checkpoints(output_dir)
    if others and not tf.io.gfile.exists(os.path.join(output_dir, REPORT)):
        raise UserError(
            f'--output_dir: {output_dir} holds {os.path.basename(others[-1])} but no {REPORT}, so it is no earlier '
            'compression; choose another folder'
        )


def _latencies(
    model: SegmentationModel, compressed: SegmentationModel, options: Options
) -> Sequence[float] | tuple[None, None]:
    if not options.num_images:
        return None, None
    return latency.measure([model, compressed], size=options.size, num_images=options.num_images)


def _figures(
    model: SegmentationModel, graph: ChannelGraph, keep: np.ndarray, path: str, latency_ms: float | None
) -> Figures:
    return Figures(
        parameters=compression_report.count(graph.kept_shapes(keep), compression_report.parameters_of(model)),
        gflops=graph.flops(keep) / 1e9,
        checkpoint_bytes=compression_report.checkpoint_bytes(path) if path else 0,
        latency_ms=latency_ms,
    )


def _write(
    tensors: Mapping[str, np.ndarray], config: Any, report: CompressionReport, output_dir: str
) -> CompressionReport:
    """Everything into a folder beside, then moved; the checkpoint's index last: where it is, all is there."""
    temporary = os.path.join(output_dir, f'unfinished-{os.getpid()}')
    try:
        tf.io.gfile.makedirs(temporary)
        path = checkpoints.save(temporary, report.step, tensors)
        after = dataclasses.replace(report.after, checkpoint_bytes=compression_report.checkpoint_bytes(path))
        report = dataclasses.replace(report, after=after)
        config_loader.save(config, os.path.join(temporary, CONFIG))
        compression_report.write(report, os.path.join(temporary, REPORT))
        _move(temporary, output_dir)
    except tf.errors.OpError as error:
        raise UserError(f'{output_dir}: cannot write the compressed network: {error.message}') from error
    finally:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.rmtree(temporary)
    return report


def _move(temporary: str, output_dir: str) -> None:
    for old in checkpoints.all_checkpoints(output_dir):
        checkpoints.remove(old)
    names = sorted(tf.io.gfile.listdir(temporary), key=lambda name: (name.endswith('.index'), name))
    for name in names:
        tf.io.gfile.rename(os.path.join(temporary, name), os.path.join(output_dir, name), overwrite=True)
