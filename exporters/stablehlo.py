"""StableHLO: a portable artefact that PJRT clients compile: TensorFlow's XlaCallModule, JAX."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from core.errors import UserError
from exporters.loaded import LoadedGraph
from exporters.source import Source

# Readers accept artefacts of this age for years: https://github.com/openxla/stablehlo/blob/main/docs/compatibility.md
_VERSION = '1.9.0'
_CALL_MODULE_VERSION = 9
# An attribute of the module: VHLO keeps strings as they are, so it is found without a parser.
_MANIFEST = 'segmentation.manifest'
_MARK = f'{_MANIFEST}:'


def write(source: Source, path: str) -> None:
    """Lowers the servable, weights inside, for one fixed shape. Its `main`: images -> outputs, sorted by name.

    The manifest with `tensors`, the types and shapes of inputs and outputs, is an attribute of the module.
    """
    from tensorflow.compiler.mlir.stablehlo import stablehlo_extension  # pyright: ignore[reportAttributeAccessIssue]

    frozen = convert_variables_to_constants_v2(source.concrete)
    spec = tf.TensorSpec(source.input_shape, tf.uint8)
    compiled = tf.function(lambda images: frozen(images), input_signature=[spec], autograph=False, jit_compile=True)
    text = compiled.experimental_get_compiler_ir(spec)(stage='stablehlo')
    tensors = {name: [t.dtype.name, t.shape.as_list()] for name, t in source.concrete.structured_outputs.items()}
    tensors['inputs'] = [spec.dtype.name, list(spec.shape)]
    about = _MARK + json.dumps({**json.loads(source.manifest), 'tensors': tensors})
    text = text.replace('attributes {', f'attributes {{{_MANIFEST} = "{_escaped(about)}", ', 1)
    with tf.io.gfile.GFile(path, 'wb') as f:
        f.write(stablehlo_extension.serialize_portable_artifact_str(text, _VERSION))


def load(path: str, *, outputs: Sequence[str]) -> LoadedGraph:
    """The artefact, compiled by XLA for the processor; UserError if it is none of export.py, or has other outputs."""
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops

    module, about = _read(path)
    tensors: dict[str, Any] = about['tensors']
    dtype, shape = tensors.pop('inputs')
    names = sorted(tensors)
    missing = [name for name in outputs if name not in names]
    if missing:
        raise UserError(f'{path}: no output called {", ".join(missing)}')

    @tf.function(autograph=False, input_signature=[tf.TensorSpec(shape, dtype)])
    def call(images: tf.Tensor) -> Any:
        return gen_xla_ops.xla_call_module(
            args=[images],
            version=_CALL_MODULE_VERSION,
            module=module,  # pyright: ignore[reportArgumentType]  bytes, as a string attribute is
            Sout=[tensors[name][1] for name in names],
            Tout=[tensors[name][0] for name in names],
            platforms=['CPU'],
        )

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        if list(batch.shape) != shape:
            raise ValueError(f'its input is {tf.TensorShape(shape)}')
        answers = dict(zip(names, call(tf.constant(batch)), strict=True))
        return {name: answers[name].numpy() for name in outputs}

    return LoadedGraph(run=run, input_channels=shape[-1])


def output_names(path: str) -> list[str]:
    """What the artefact answers; raises as `load`."""
    return sorted(name for name in _read(path)[1]['tensors'] if name != 'inputs')


def manifest(path: str) -> str | None:
    """The JSON kept in the artefact; raises as `load`."""
    return json.dumps(_read(path)[1])


def _read(path: str) -> tuple[bytes, dict[str, Any]]:
    try:
        with tf.io.gfile.GFile(path, 'rb') as f:
            content = f.read()
        start = content.index(_MARK.encode()) + len(_MARK)
        end = content.index(b'\0', start)
        return content, json.loads(content[start:end])
    except tf.errors.OpError as error:
        raise UserError(f'{path}: cannot be read ({error.message})') from None
    except ValueError:
        raise UserError(f'{path}: not a StableHLO artefact written by export.py') from None


def _escaped(text: str) -> str:
    """As MLIR writes strings; `text` is ASCII, as JSON is."""
    return text.replace('\\', '\\5C').replace('"', '\\22')
