"""TFLite (LiteRT) flatbuffers: float32, float16 weights, int8 weights (dynamic range), or int8 throughout."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from core.errors import UserError
from core.servable import INPUTS
from exporters import native_output
from exporters.loaded import LoadedGraph
from exporters.saved_model import SIGNATURE
from exporters.source import Source

_MANIFEST = 'manifest'
_IDENTIFIER = b'TFL3'


def _float32(converter: Any, source: Source) -> None:
    del converter, source


def _float16(converter: Any, source: Source) -> None:
    del source
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _dynamic(converter: Any, source: Source) -> None:
    del source
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _int8(converter: Any, source: Source) -> None:
    """Weights and activations int8, by the ranges seen on the calibration images.

    What has no int8 kernel, the conversion of uint8 pixels and the argmax's ids among it, stays as it is.
    """
    if source.calibration is None:
        raise ValueError('int8 needs images to calibrate on')
    calibration = source.calibration

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for images in calibration():
            yield {INPUTS: images}

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = batches
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]


_KINDS: dict[str, Callable[[Any, Source], None]] = {
    'float32': _float32,
    'float16': _float16,
    'dynamic': _dynamic,
    'int8': _int8,
}


def write(source: Source, path: str, *, kind: str) -> None:
    """Converts the SavedModel; the manifest is a metadata buffer of that name.

    Args:
      source: with `calibration` for int8.
      path: the file to write.
      kind: float32, float16, dynamic or int8.
    """
    with native_output.dropped(), _without_warnings():
        converter = tf.lite.TFLiteConverter.from_saved_model(source.saved_model, signature_keys=[SIGNATURE])
        _KINDS[kind](converter, source)
        content = converter.convert()
    with tf.io.gfile.GFile(path, 'wb') as f:
        f.write(_with_manifest(content, source.manifest))


def load(path: str, *, outputs: Sequence[str]) -> LoadedGraph:
    """Reads a model back into the interpreter, with XNNPACK; UserError as for a file that is none, or other outputs."""
    with native_output.dropped():
        interpreter = _interpreter(path)
        signature = interpreter.get_signature_runner(SIGNATURE)
    missing = [name for name in outputs if name not in signature.get_output_details()]
    if missing:
        raise UserError(f'{path}: no output called {", ".join(missing)}; was it written by export.py?')
    details = signature.get_input_details()[INPUTS]
    shape = tf.TensorShape([None if side < 0 else int(side) for side in details['shape_signature']])

    has_run = False

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        nonlocal has_run
        if not shape.is_compatible_with(batch.shape):
            raise ValueError(f'its input is {shape}')
        with contextlib.nullcontext() if has_run else native_output.dropped():  # it tells of XNNPACK once
            answers = signature(**{INPUTS: batch})
        has_run = True
        return {name: answers[name] for name in outputs}

    return LoadedGraph(run=run, input_channels=shape[-1])


def output_names(path: str) -> list[str]:
    """What the model answers; raises as `load`."""
    with native_output.dropped():
        return list(_interpreter(path).get_signature_list()[SIGNATURE]['outputs'])


def manifest(path: str) -> str | None:
    """The JSON kept in the model, None if it has none."""
    from tensorflow.lite.python import schema_py_generated as schema

    model: Any = schema.Model.GetRootAs(_read(path), 0)
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        if entry.Name() == _MANIFEST.encode():
            return model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().decode()
    return None


def _read(path: str) -> bytes:
    try:
        with tf.io.gfile.GFile(path, 'rb') as f:
            content = f.read()
    except tf.errors.OpError as error:
        raise UserError(f'{path}: cannot be read ({error.message})') from None
    if content[4:8] != _IDENTIFIER:
        raise UserError(f'{path}: not a TFLite model')
    return content


def _interpreter(path: str) -> Any:
    try:
        with _without_warnings():
            interpreter = tf.lite.Interpreter(model_content=_read(path), num_threads=_num_threads())
        interpreter.get_signature_list()[SIGNATURE]
    except (ValueError, RuntimeError, KeyError) as error:
        raise UserError(f'{path}: not a TFLite model with the signature {SIGNATURE} ({error})') from None
    return interpreter


def _num_threads() -> int:
    return len(os.sched_getaffinity(0))


def _without_warnings() -> warnings.catch_warnings:
    """TensorFlow announces a successor of its interpreter at each use."""
    return warnings.catch_warnings(action='ignore')


def _with_manifest(content: bytes, manifest: str) -> bytes:
    """The flatbuffer with one more buffer, and a metadata entry that names it."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    buffer: Any = schema.BufferT()
    buffer.data = np.frombuffer(manifest.encode(), np.uint8)
    entry: Any = schema.MetadataT()
    entry.name, entry.buffer = _MANIFEST, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content) + len(manifest) + 1024)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())
