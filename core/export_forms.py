"""The forms an export can have, by name; imports no TensorFlow, so that a wrong flag is answered at once."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterable

from core.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """One form.

    Attributes:
      entry: its file, or folder, within an export.
      packages: what must be installed to write it, beside TensorFlow, as pip calls it.
      runtime: the one of them that runs it; None for TensorFlow itself.
      fixed: batch, height and width must be fixed.
      quantised: its numbers are coarse: judged by the mean IoU on records, not by the share of equal pixels.
    """

    entry: str
    packages: tuple[str, ...] = ()
    runtime: str | None = None
    fixed: bool = False
    quantised: bool = False


FORMS = {
    'frozen_graph': Form(entry='frozen_inference_graph.pb'),
    'saved_model': Form(entry='saved_model'),
    'tflite': Form(entry='model.tflite'),
    'tflite_float16': Form(entry='model_float16.tflite'),
    'tflite_dynamic': Form(entry='model_dynamic.tflite', quantised=True),
    'tflite_int8': Form(entry='model_int8.tflite', quantised=True),
    'onnx': Form(entry='model.onnx', packages=('tf2onnx', 'onnx', 'onnxruntime'), runtime='onnxruntime'),
    'openvino': Form(entry='openvino_model', packages=('openvino',), runtime='openvino'),
    'stablehlo': Form(entry='model.stablehlo', fixed=True),
}
DEFAULT = ('frozen_graph', 'saved_model')
EXTRA_OUTPUTS = ('probabilities', 'logits', 'colours')
OPTIMISED = ('frozen_graph', 'openvino')  # forms that exporters.optimise is for
COMPUTE_TYPES = ('float32', 'mixed', 'bfloat16')
EQUAL_PIXELS = 0.999  # share of the class ids that a form of float numbers must leave as they are
STORED_TYPES = ('float32', 'bfloat16', 'int8')


def check_installed(names: Iterable[str]) -> None:
    """Raises UsageError if packages that write a form are missing, with the command that installs them."""
    for name in names:
        _check(name, FORMS[name].packages)


def check_runtime(name: str) -> None:
    """Raises UsageError if the package that runs a form is missing, with the command that installs it."""
    runtime = FORMS[name].runtime
    _check(name, (runtime,) if runtime else ())


def _check(name: str, packages: Iterable[str]) -> None:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UsageError(f'{name}: needs {", ".join(missing)}; run: pip install {" ".join(missing)}')
