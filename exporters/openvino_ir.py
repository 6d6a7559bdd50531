"""OpenVINO's intermediate representation: a folder of model.xml and model.bin."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from core.errors import UserError
from core.servable import INPUTS
from exporters import frozen_graph, optimise
from exporters.loaded import LoadedGraph
from exporters.source import Source

_XML = 'model.xml'
_MANIFEST = 'manifest'
# Processors with bfloat16 would round to it otherwise, and the labels of 1 pixel in 100 or so with it.
_FLOAT32 = {'INFERENCE_PRECISION_HINT': 'f32'}


def write(source: Source, path: str) -> None:
    """Converts the frozen graph, optimised if the source says so, with float32 weights; names are kept.

    The manifest is the model's `rt_info` of that name.
    """
    import openvino

    model = _converted(source)
    for port, name in [(model.inputs[0], INPUTS), *((model.output(f'{name}:0'), name) for name in source.outputs)]:
        port.get_tensor().set_names({name})
    model.set_rt_info(source.manifest, [_MANIFEST])
    tf.io.gfile.makedirs(path)
    openvino.save_model(model, os.path.join(path, _XML), compress_to_fp16=False)


def _converted(source: Source) -> Any:
    import openvino

    if not source.optimised:
        return openvino.convert_model(source.frozen_graph)
    graph_def = frozen_graph.read(source.frozen_graph)
    graph_def = optimise.optimise(graph_def, outputs=source.outputs, runtime='openvino')
    with tempfile.TemporaryDirectory() as folder:  # the converter reads files alone
        path = os.path.join(folder, frozen_graph.FILENAME)
        frozen_graph.save(graph_def, path)
        return openvino.convert_model(path)


def load(path: str, *, outputs: Sequence[str]) -> LoadedGraph:
    """Compiles the model for this processor; UserError if it cannot be read or does not answer `outputs`."""
    import openvino

    model = _read(path)
    missing = [name for name in outputs if name not in _names(model)]
    if missing:
        raise UserError(f'{path}: no output called {", ".join(missing)}; was it written by export.py?')
    compiled = openvino.compile_model(model, 'CPU', _FLOAT32)
    shape = tf.TensorShape([side.get_length() if side.is_static else None for side in model.input().partial_shape])

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        if not shape.is_compatible_with(batch.shape):
            raise ValueError(f'its input is {shape}')
        try:
            answers = compiled([np.ascontiguousarray(batch)])
        except RuntimeError as error:
            raise ValueError(str(error).strip().splitlines()[-1]) from error
        return {name: np.array(answers[name]) for name in outputs}  # a copy: the next call reuses the memory

    return LoadedGraph(run=run, input_channels=shape[-1])


def output_names(path: str) -> list[str]:
    """What the model answers; raises as `load`."""
    return _names(_read(path))


def manifest(path: str) -> str | None:
    """The JSON kept in the model, None if it has none; raises as `load`."""
    model = _read(path)
    return model.get_rt_info(_MANIFEST).astype(str) if model.has_rt_info(_MANIFEST) else None


def _names(model: Any) -> list[str]:
    return [name for output in model.outputs for name in output.get_names()]


def _read(path: str) -> Any:
    import openvino

    xml = os.path.join(path, _XML) if os.path.isdir(path) else path
    try:
        return openvino.Core().read_model(xml)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f'{path}: not a model that OpenVINO reads ({reason})') from None
