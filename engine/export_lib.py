"""Export: a checkpoint -> deployable files, each reloaded and compared before any of them appears."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from builders import config_loader
from core.errors import UsageError, UserError
from core.servable import INPUTS, PREDICTIONS, InputShape, Servable, inference_variables
from engine import checkpoints, inference, output_folder
from exporters import checkpoint as checkpoint_exporter
from exporters import frozen_graph, saved_model

CONFIG = 'pipeline.config'
LABEL_MAP = 'label_map.json'
REQUIRED_AGREEMENT = 0.999
_TEST_SIDES = (97, 131)  # where a side is free: odd, not square, and no multiple of a stride
_OWN = (
    frozen_graph.FILENAME,
    saved_model.DIRNAME,
    f'{checkpoint_exporter.PREFIX}.index',
    f'{checkpoint_exporter.PREFIX}.data-00000-of-00001',
    CONFIG,
    LABEL_MAP,
)

Run = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was written.

    Attributes:
      checkpoint, step: the weights' origin.
      files: paths, folders with a trailing separator.
      agreement: {form: share of pixels with the live model's class id on a random image, 0..1}.
    """

    checkpoint: str
    step: int
    files: list[str]
    agreement: dict[str, float]


def export(
    config: Any,
    *,
    checkpoint: str,
    output_dir: str,
    input_shape: InputShape = (None, None, None),
    pad_to_shape: tuple[int, int] | None = None,
    output_colours: bool = False,
    output_probabilities: bool = False,
) -> ExportReport:
    """Writes every form into a folder beside `output_dir`, verifies them, and moves them into place.

    Files of an earlier export are replaced; other files in `output_dir` stay.

    Args:
      config: `PipelineConfig`, validated for export.
      checkpoint: prefix, one of its files, or a directory, whose newest is taken.
      output_dir: made if missing.
      input_shape: (batch, height, width) of the graph's input, None where free.
      pad_to_shape: see `core.servable.Servable`; not below a fixed height or width.
      output_colours: add the output `colours`.
      output_probabilities: add the output `probabilities`.

    Raises:
      UsageError: shapes that contradict each other, or an `output_dir` that is not free for an export.
      CheckpointError: missing, damaged, or not of this config.
      UserError: a reloaded form disagrees with the live model; nothing is left then.
    """
    _check_shapes(input_shape, pad_to_shape)
    _check_output_dir(output_dir)
    checkpoints.read(checkpoint)  # a wrong path is told before the model is built
    model = inference.build_model(config)
    label_map = inference.build_label_map(config, model.num_classes)
    servable = Servable(
        model=model,
        num_classes=model.num_classes,
        pad_to_shape=pad_to_shape,
        colors=label_map.colors if output_colours else None,
        with_probabilities=output_probabilities,
    )
    concrete = servable.trace(input_shape)
    restored = inference.restore(model, concrete, checkpoint, moving_averages=config.eval_config.use_moving_averages)
    temporary = f'{os.path.normpath(output_dir)}.unfinished-{os.getpid()}'
    try:
        tf.io.gfile.makedirs(temporary)
        variables = inference_variables(concrete, model.variables_by_name())
        frozen_graph.write(concrete, os.path.join(temporary, frozen_graph.FILENAME))
        saved_model.write(concrete, os.path.join(temporary, saved_model.DIRNAME))
        checkpoint_exporter.write(variables, os.path.join(temporary, checkpoint_exporter.PREFIX), step=restored.step)
        config_loader.save(config, os.path.join(temporary, CONFIG))
        label_map.save(os.path.join(temporary, LABEL_MAP))
        agreement = verify(concrete, temporary, input_shape=input_shape)
        files = _move(temporary, output_dir)
    finally:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.rmtree(temporary)
    return ExportReport(checkpoint=restored.path, step=restored.step, files=files, agreement=agreement)


def verify(concrete: Any, folder: str, *, input_shape: InputShape) -> dict[str, float]:
    """Reloads the graphs in `folder` and compares their class ids with the traced function's on a random image.

    Returns:
      {form: share of equal pixels}.

    Raises:
      UserError: a share is below `REQUIRED_AGREEMENT`.
    """
    batch, height, width = (own or free for own, free in zip(input_shape, (1, *_TEST_SIDES), strict=True))
    channels = concrete.servable.model.input_channels
    images = np.random.default_rng(0).integers(0, 256, (batch, height, width, channels), np.uint8)
    expected = concrete(tf.constant(images))[PREDICTIONS].numpy()
    graph_path = os.path.join(folder, frozen_graph.FILENAME)
    forms: dict[str, Run] = {
        frozen_graph.FILENAME: frozen_graph.load(graph_path, inputs=INPUTS, outputs=[PREDICTIONS]),
        saved_model.DIRNAME: saved_model.load(os.path.join(folder, saved_model.DIRNAME)),
    }
    agreement = {form: float((run(images)[PREDICTIONS] == expected).mean()) for form, run in forms.items()}
    for form, share in agreement.items():
        if share < REQUIRED_AGREEMENT:
            raise UserError(
                f"{form}: after reloading, {100 * share:.2f} % of the class ids equal the model's, at least "
                f'{100 * REQUIRED_AGREEMENT} % are required; nothing was exported'
            )
    return agreement


def _check_shapes(input_shape: InputShape, pad_to_shape: tuple[int, int] | None) -> None:
    for side, own, padded in zip(('height', 'width'), input_shape[1:], pad_to_shape or (), strict=False):
        if own is not None and own > padded:
            raise UsageError(f'--pad_to_shape: its {side} {padded} is below that of --input_shape, {own}')


def _check_output_dir(output_dir: str) -> None:
    """Replaces an earlier export, and nothing that merely has one of its names."""
    if not tf.io.gfile.exists(output_dir):
        output_folder.make(os.path.dirname(os.path.normpath(output_dir)) or '.', '--output_dir')
        return
    if not tf.io.gfile.isdir(output_dir):
        raise UsageError(f'--output_dir: {output_dir} is a file, a folder is needed')
    taken = [name for name in _OWN if tf.io.gfile.exists(os.path.join(output_dir, name))]
    if taken and frozen_graph.FILENAME not in taken:
        raise UsageError(
            f'--output_dir: {output_dir} holds {", ".join(taken)} but no {frozen_graph.FILENAME}, so no export wrote '
            'them; choose another folder'
        )


def _move(temporary: str, output_dir: str) -> list[str]:
    """Renames each entry into place, the frozen graph last: where it is, the export is whole."""
    try:
        if not tf.io.gfile.exists(output_dir):
            tf.io.gfile.rename(temporary, output_dir)
            return _listing(output_dir)
        for name in reversed(_OWN):
            source, target = os.path.join(temporary, name), os.path.join(output_dir, name)
            if tf.io.gfile.isdir(target):
                tf.io.gfile.rmtree(target)
            tf.io.gfile.rename(source, target, overwrite=True)
    except tf.errors.OpError as error:
        raise UserError(f'{output_dir}: cannot write the export ({error.message})') from None
    return _listing(output_dir)


def _listing(output_dir: str) -> list[str]:
    paths = [os.path.join(output_dir, name) for name in _OWN]
    return [os.path.join(path, '') if tf.io.gfile.isdir(path) else path for path in paths]
