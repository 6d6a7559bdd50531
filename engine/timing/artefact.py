"""What is timed: a file or folder, the runtime that it is for, and the arithmetic asked of it. Imports no runtime."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections import Counter
from collections.abc import Sequence

from core.errors import UsageError

KINDS = ('frozen_graph', 'saved_model', 'tflite', 'onnx', 'openvino')
PRECISIONS = ('float32', 'bfloat16')
_BY_EXTENSION = {'.pb': 'frozen_graph', '.tflite': 'tflite', '.onnx': 'onnx', '.xml': 'openvino'}
_WITH_BFLOAT16 = ('frozen_graph', 'saved_model', 'openvino')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Artefact:
    """One line of the comparison.

    Attributes:
      name: what the table calls it.
      path: of the file or folder.
      kind: one of `KINDS`.
      precision: arithmetic the runtime is asked for; a graph that says its own types keeps them.
    """

    name: str
    path: str
    kind: str
    precision: str = 'float32'


def parse(text: str) -> list[Artefact]:
    """`PATH` or `PATH:bfloat16` -> the artefact; a folder of several -> each of them.

    Raises:
      UsageError: no such path, nothing known there, or a precision that its runtime cannot be asked for.
    """
    path, colon, precision = text.rpartition(':')
    if not colon or precision not in PRECISIONS:
        path, precision = text, 'float32'
    if not os.path.exists(path):
        raise UsageError(f'{path}: no such file or folder')
    found = _found(path)
    if not found:
        raise UsageError(f'{path}: not an artefact of a known form ({", ".join(KINDS)}), nor a folder of such')
    artefacts = [Artefact(name=_name(p, kind, precision), path=p, kind=kind, precision=precision) for p, kind in found]
    for artefact in artefacts:
        if precision != 'float32' and artefact.kind not in _WITH_BFLOAT16:
            raise UsageError(f'{artefact.path}: {artefact.kind} cannot be asked for {precision}')
    return artefacts


def told_apart(artefacts: Sequence[Artefact]) -> list[Artefact]:
    """The same with a name of its own each: where two are alike, so much of their folders as tells them apart.

    One that is given twice is numbered.
    """
    paths = [os.path.abspath(artefact.path) for artefact in artefacts]
    names = [artefact.name for artefact in artefacts]
    for num_folders in range(1, max(path.count(os.sep) for path in paths)):
        alike = Counter(name for name, _ in set(zip(names, paths, strict=True)))
        for index, artefact in enumerate(artefacts):
            if alike[names[index]] > 1:
                names[index] = _name(artefact.path, artefact.kind, artefact.precision, num_folders)
    seen: Counter[str] = Counter()
    for index, name in enumerate(names):
        seen[name] += 1
        if seen[name] > 1:
            names[index] = f'{name} ({seen[name]})'
    return [dataclasses.replace(artefact, name=name) for artefact, name in zip(artefacts, names, strict=True)]


def _found(path: str) -> list[tuple[str, str]]:
    """(path, kind) of what lies there."""
    if not os.path.isdir(path):
        kind = _BY_EXTENSION.get(os.path.splitext(path)[1])
        return [(path, kind)] if kind else []
    if os.path.exists(os.path.join(path, 'saved_model.pb')):
        return [(path, 'saved_model')]
    models = sorted(glob.glob(os.path.join(glob.escape(path), '*.xml')))
    if models:
        return [(models[0], 'openvino')]
    inside = sorted(os.listdir(path))
    return [found for name in inside for found in _leaf(os.path.join(path, name))]


def _leaf(path: str) -> list[tuple[str, str]]:
    """As `_found`, without going deeper into folders that are no artefact."""
    is_artefact = not os.path.isdir(path) or any(
        name == 'saved_model.pb' or name.endswith('.xml') for name in os.listdir(path)
    )
    return _found(path) if is_artefact else []


def _name(path: str, kind: str, precision: str, num_folders: int = 0) -> str:
    """Its own name, which in OpenVINO's case is that of its folder too, after the names of `num_folders` folders."""
    parts = os.path.abspath(path).split(os.sep)
    name = '/'.join(parts[-(num_folders + (2 if kind == 'openvino' else 1)) :])
    return name if precision == 'float32' else f'{name}:{precision}'
