"""Every form of `core.export_forms`: how it is written, and how it becomes a function again."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

from core.servable import INPUTS
from exporters import frozen_graph, manifest, onnx_model, openvino_ir, saved_model, stablehlo, tflite
from exporters.loaded import LoadedGraph
from exporters.source import Source

Write = Callable[[Source, str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
    """One form.

    Attributes:
      write: source, path -> None; None for the SavedModel, of which a source consists.
      load: path, names of outputs -> the function.
      has_output: path, name -> whether it answers that.
      manifest: path -> the JSON within, None if there is none.
    """

    write: Write | None
    load: Callable[[str, Sequence[str]], LoadedGraph]
    has_output: Callable[[str, str], bool]
    manifest: Callable[[str], str | None]


def _of(module: Any, write: Write) -> Format:
    return Format(
        write=write,
        load=lambda path, outputs: module.load(path, outputs=outputs),
        has_output=lambda path, name: name in module.output_names(path),
        manifest=module.manifest,
    )


_TABLE = {
    'frozen_graph': Format(
        write=frozen_graph.convert,
        load=lambda path, outputs: frozen_graph.load(path, inputs=INPUTS, outputs=outputs),
        has_output=frozen_graph.has_output,
        manifest=manifest.read_from_graph,
    ),
    'saved_model': Format(
        write=None,
        load=lambda path, outputs: saved_model.load(path),
        has_output=lambda path, name: name in saved_model.output_names(path),
        manifest=saved_model.manifest,
    ),
    **{
        name: _of(tflite, functools.partial(tflite.write, kind=kind))
        for name, kind in (
            ('tflite', 'float32'),
            ('tflite_float16', 'float16'),
            ('tflite_dynamic', 'dynamic'),
            ('tflite_int8', 'int8'),
        )
    },
    'onnx': _of(onnx_model, onnx_model.write),
    'openvino': _of(openvino_ir, openvino_ir.write),
    'stablehlo': _of(stablehlo, stablehlo.write),
}
_EXTENSIONS = {'.tflite': 'tflite', '.onnx': 'onnx', '.xml': 'openvino', '.stablehlo': 'stablehlo'}


def of(name: str) -> Format:
    """The form called `name`, a key of `core.export_forms.FORMS`."""
    return _TABLE[name]


def of_file(path: str) -> str:
    """The name of a file's form, by its extension; a frozen graph where that says nothing."""
    return _EXTENSIONS.get(os.path.splitext(path)[1].lower(), 'frozen_graph')
