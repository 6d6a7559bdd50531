"""The text by which an export says what it is: classes, preprocessing, weights, versions."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from core.export_forms import FORMS, OPTIMISED
from core.model import SegmentationModel
from core.servable import INPUTS, Servable
from engine.export_options import ExportOptions
from engine.inference import Restored
from engine.timing import operation_counts
from exporters import formats
from inputs.label_map import LabelMap

VERSION = 1


def optimisation(options: ExportOptions) -> dict[str, Any]:
    """How the forms that can be optimised were made; see `exporters.source.Source`."""
    narrow = {'frozen_graph': {'compute': options.compute, 'weights': options.weights}}
    return {
        name: {'optimised': options.optimised, **narrow.get(name, {})} for name in OPTIMISED if name in options.formats
    }


def found_while_optimising(folder: str, names: Iterable[str]) -> dict[str, Any]:
    """The part of `optimisation` that only the written forms know: what mixed arithmetic chose."""
    if 'frozen_graph' not in names:
        return {}
    form, path = formats.of('frozen_graph'), os.path.join(folder, FORMS['frozen_graph'].entry)
    return {'frozen_graph': json.loads(form.manifest(path) or '{}')['optimisation']['frozen_graph']}


def describe(
    config: Any, *, model: SegmentationModel, servable: Servable, concrete: Any, label_map: LabelMap, restored: Restored
) -> dict[str, Any]:
    """What every form carries within itself.

    Args:
      config: `PipelineConfig`, as it is saved beside the forms.
      model, servable, concrete: each made of the one before.
      label_map: of the classes.
      restored: where the weights are from.
    """
    extractor = model.feature_extractor
    return {
        'manifest_version': VERSION,
        'label_map': json.loads(label_map.to_json()),
        'input': {
            'name': INPUTS,
            'dtype': 'uint8',
            'shape': list(concrete.inputs[0].shape),
            'layout': 'NHWC',
            'channels': 'RGB' if concrete.inputs[0].shape[-1] == 3 else 'as in the records',
        },
        'outputs': {
            name: {'dtype': output.dtype.name, 'shape': output.shape.as_list()}
            for name, output in sorted(concrete.structured_outputs.items())
        },
        'preprocessing': {
            'inside': True,
            'mean': list(extractor.channel_means),
            'scale': extractor.channel_scale,
            'pad_to_shape': servable.pad_to_shape,
        },
        'output_stride': extractor.output_stride,
        'network': _counts(concrete),
        'checkpoint': {'path': restored.path, 'step': restored.step},
        'config_sha256': hashlib.sha256(config.SerializeToString(deterministic=True)).hexdigest(),
        'versions': {'tensorflow': tf.__version__, 'numpy': np.__version__, 'python': platform.python_version()},
    }


def _counts(concrete: Any) -> dict[str, float | None]:
    """`million_parameters` and `gflops` of one image, as the network was traced; None where the size is free."""
    counts = operation_counts.of_graph(concrete.graph)
    batch, gflops = concrete.inputs[0].shape[0], counts['gflops']
    return counts if gflops is None else {**counts, 'gflops': float(f'{gflops / batch:.4g}')}
