"""Export: a checkpoint -> deployable files, each reloaded and compared before any of them appears."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from typing import Any

import tensorflow as tf

from builders import config_loader, input_builder
from core.errors import UsageError, UserError
from core.export_forms import FORMS, OPTIMISED
from core.model import SegmentationModel
from core.servable import COLOURS, LOGITS, PREDICTIONS, PROBABILITIES, Servable, inference_variables
from engine import checkpoints, export_check, export_manifest, inference, output_folder
from engine.export_check import Agreement
from engine.export_logits import TwinsWithLogits
from engine.export_options import ExportOptions
from engine.export_samples import Samples
from exporters import checkpoint as checkpoint_exporter
from exporters import formats, frozen_graph, manifest, saved_model
from exporters.source import Source
from inputs.label_map import LabelMap

CONFIG = 'pipeline.config'
LABEL_MAP = 'label_map.json'
_PLAIN_GRAPH = 'plain_graph.pb'
_BESIDE = (
    f'{checkpoint_exporter.PREFIX}.index',
    f'{checkpoint_exporter.PREFIX}.data-00000-of-00001',
    CONFIG,
    LABEL_MAP,
)
_ENTRIES = tuple(form.entry for form in FORMS.values())
# Where one of these is, the folder holds an export; the manifest comes last.
_MARKS = (manifest.FILENAME, frozen_graph.FILENAME)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was written.

    Attributes:
      checkpoint, step: the weights' origin.
      files: paths, folders with a trailing separator.
      agreement: by form, how it compares with the live model.
      verified_on: what the images of the comparison were.
    """

    checkpoint: str
    step: int
    files: list[str]
    agreement: dict[str, Agreement]
    verified_on: str


def export(config: Any, *, checkpoint: str, output_dir: str, options: ExportOptions | None = None) -> ExportReport:
    """Writes every form into a folder beside `output_dir`, verifies them, and moves them into place.

    Files of an earlier export are replaced; other files in `output_dir` stay.

    Args:
      config: `PipelineConfig`, validated for export.
      checkpoint: prefix, one of its files, or a directory, whose newest is taken.
      output_dir: made if missing.
      options: which forms, of which shape.

    Raises:
      UsageError: options that contradict each other or do not fit the model, or an `output_dir` that is not free.
      CheckpointError: missing, damaged, or not of this config.
      DataError: a quantised form without evaluation records.
      UserError: a form cannot be converted, or disagrees with the live model when reloaded; nothing is left then.
    """
    options = options or ExportOptions()
    options.check(has_records=config.HasField('eval_input_reader'))
    _check_output_dir(output_dir)
    if any(options.is_coarse(name) for name in options.formats):
        input_builder.check_reader(config, 'eval')
    served = _serve(config, checkpoint, options)
    temporary = f'{os.path.normpath(output_dir)}.unfinished-{os.getpid()}'
    try:
        tf.io.gfile.makedirs(temporary)
        agreement, verified_on = _write_all(config, served, options, temporary)
        files = _move(temporary, output_dir)
    finally:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.rmtree(temporary)
    restored = served.restored
    return ExportReport(
        checkpoint=restored.path, step=restored.step, files=files, agreement=agreement, verified_on=verified_on
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Served:
    """The model with the checkpoint's weights: what is served, its traced function, and what it is said to be."""

    model: SegmentationModel
    servable: Servable
    concrete: Any
    label_map: LabelMap
    restored: inference.Restored
    about: dict[str, Any]


def _serve(config: Any, checkpoint: str, options: ExportOptions) -> _Served:
    checkpoint = checkpoints.read(checkpoint).path  # a wrong path is told before the model is built
    model = inference.build_model(config)
    inference.check_input_shape(model, options.input_shape, options.pad_to_shape, name=options.named('input_shape'))
    label_map = inference.build_label_map(config, model.num_classes)
    servable = Servable(
        model=model,
        num_classes=model.num_classes,
        pad_to_shape=options.pad_to_shape,
        colors=label_map.colors if COLOURS in options.outputs else None,
        with_probabilities=PROBABILITIES in options.outputs,
        with_logits=LOGITS in options.outputs,
    )
    concrete = servable.trace(options.input_shape)
    inference.check_fit(model, concrete, checkpoint)
    restored = inference.restore(model, concrete, checkpoint, moving_averages=config.eval_config.use_moving_averages)
    about = export_manifest.describe(
        config, model=model, servable=servable, concrete=concrete, label_map=label_map, restored=restored
    )
    about['optimisation'] = export_manifest.optimisation(options)
    return _Served(
        model=model, servable=servable, concrete=concrete, label_map=label_map, restored=restored, about=about
    )


def _write_all(config: Any, served: _Served, options: ExportOptions, folder: str) -> tuple[dict[str, Agreement], str]:
    """A whole export in `folder`, the manifest last -> how each form compared, and on which images."""
    model, servable, concrete, about = served.model, served.servable, served.concrete, served.about
    variables = inference_variables(concrete, model.variables_by_name())
    checkpoint_exporter.write(variables, os.path.join(folder, checkpoint_exporter.PREFIX), step=served.restored.step)
    config_loader.save(config, os.path.join(folder, CONFIG))
    served.label_map.save(os.path.join(folder, LABEL_MAP))
    seen = {'channels': model.input_channels, 'input_shape': options.input_shape}
    calibration = Samples(config, **seen, count=options.calibration_examples)
    base = functools.partial(_write_base, text=json.dumps(about), calibration=calibration, options=options)
    source = base(concrete, folder)
    twins = None
    if LOGITS not in options.outputs:
        twins = TwinsWithLogits(servable, input_shape=options.input_shape, folder=folder, make_source=base)
    samples = Samples(config, **seen, count=options.verify_examples)
    reference = export_check.Reference(servable, ignore_label=config.eval_config.ignore_label)
    agreement = {}
    for name in options.formats:
        agreement[name] = _write_form(name, source, folder, reference, samples, twins)
        export_check.require(name, agreement[name], coarse=options.is_coarse(name), hint=options.hint(name))
    if twins is not None:
        twins.remove()
    about['optimisation'] |= export_manifest.found_while_optimising(folder, options.formats)
    _finish(folder, about | _of_forms(folder, agreement, samples), options.formats)
    return agreement, samples.description


def _write_base(concrete: Any, folder: str, text: str, calibration: Samples, options: ExportOptions) -> Source:
    """The plain frozen graph and the SavedModel, which all forms are converted from."""
    graph, model = os.path.join(folder, _PLAIN_GRAPH), os.path.join(folder, FORMS['saved_model'].entry)
    frozen_graph.write(concrete, graph)
    saved_model.write(concrete, model, manifest=text)
    return Source(
        concrete=concrete,
        frozen_graph=graph,
        saved_model=model,
        manifest=text,
        calibration=lambda: (sample.images for sample in calibration),
        optimised=options.optimised,
        compute=options.compute,
        weights=options.weights,
    )


def _write_form(
    name: str,
    source: Source,
    folder: str,
    reference: export_check.Reference,
    samples: Samples,
    twins: TwinsWithLogits | None,
) -> Agreement:
    """Writes one form, loads it again and compares it; UserError if it cannot be written or run.

    `twins` tell of the logits of forms that answer none.
    """
    form, path = formats.of(name), os.path.join(folder, FORMS[name].entry)
    try:
        if form.write is not None:
            form.write(source, path)
        outputs = [output for output in (PREDICTIONS, LOGITS) if output in source.outputs]
        agreement = reference.compare(form.load(path, outputs), samples)
        if twins is None:
            return agreement
        difference = twins.largest_difference(name, reference, samples)
        return dataclasses.replace(agreement, largest_logit_difference=difference)
    except (UserError, MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:  # each converter and each runtime has its own kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        hint = '; --optimise false may help' if source.optimised and name in OPTIMISED else ''
        raise UserError(
            f'{FORMS[name].entry}: cannot be made of this model ({reason}); nothing was exported{hint}'
        ) from error


def _of_forms(folder: str, agreement: dict[str, Agreement], samples: Samples) -> dict[str, Any]:
    """The part of the manifest that is known once every form is verified."""
    return {
        'verified_on': samples.description,
        'forms': {
            name: {
                'entry': FORMS[name].entry,
                'bytes': _size(os.path.join(folder, FORMS[name].entry)),
                'agreement': verified.to_json(),
            }
            for name, verified in agreement.items()
        },
    }


def _finish(folder: str, about: dict[str, Any], wanted: tuple[str, ...]) -> None:
    """Removes what forms were only converted from, and writes the manifest."""
    _remove(os.path.join(folder, _PLAIN_GRAPH))
    if 'saved_model' not in wanted:
        _remove(os.path.join(folder, FORMS['saved_model'].entry))
    with tf.io.gfile.GFile(os.path.join(folder, manifest.FILENAME), 'w') as f:
        f.write(json.dumps(about, indent=2, ensure_ascii=False) + '\n')


def _check_output_dir(output_dir: str) -> None:
    """Replaces an earlier export, and nothing that merely has one of its names."""
    if not tf.io.gfile.exists(output_dir):
        output_folder.make(os.path.dirname(os.path.normpath(output_dir)) or '.', '--output_dir')
        return
    if not tf.io.gfile.isdir(output_dir):
        raise UsageError(f'--output_dir: {output_dir} is a file, a folder is needed')
    taken = [name for name in (*_ENTRIES, *_BESIDE) if tf.io.gfile.exists(os.path.join(output_dir, name))]
    if taken and not any(tf.io.gfile.exists(os.path.join(output_dir, mark)) for mark in _MARKS):
        raise UsageError(
            f'--output_dir: {output_dir} holds {", ".join(taken)} but no {manifest.FILENAME}, so no export wrote them; '
            'choose another folder'
        )


def _move(temporary: str, output_dir: str) -> list[str]:
    """Renames each entry into place, the manifest last: where it is, the export is whole.

    Forms of an earlier export that this one does not have are of other weights: they go.
    """
    try:
        if not tf.io.gfile.exists(output_dir):
            tf.io.gfile.rename(temporary, output_dir)
            return _listing(output_dir)
        _remove(os.path.join(output_dir, manifest.FILENAME))
        for name in (*_BESIDE, *_ENTRIES, manifest.FILENAME):
            source, target = os.path.join(temporary, name), os.path.join(output_dir, name)
            _remove(target)
            if tf.io.gfile.exists(source):
                tf.io.gfile.rename(source, target, overwrite=True)
    except tf.errors.OpError as error:
        raise UserError(f'{output_dir}: cannot write the export ({error.message})') from None
    return _listing(output_dir)


def _remove(path: str) -> None:
    if tf.io.gfile.isdir(path):
        tf.io.gfile.rmtree(path)
    elif tf.io.gfile.exists(path):
        tf.io.gfile.remove(path)


def _listing(output_dir: str) -> list[str]:
    paths = [os.path.join(output_dir, name) for name in (manifest.FILENAME, *_ENTRIES, *_BESIDE)]
    return [os.path.join(path, '') if tf.io.gfile.isdir(path) else path for path in paths if tf.io.gfile.exists(path)]


def _size(path: str) -> int:
    """Bytes of a file, or of all files in a folder."""
    if not tf.io.gfile.isdir(path):
        return tf.io.gfile.stat(path).length
    files = (os.path.join(at, file) for at, _, names in tf.io.gfile.walk(path) for file in names)
    return sum(tf.io.gfile.stat(file).length for file in files)
