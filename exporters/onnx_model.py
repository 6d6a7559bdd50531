"""ONNX, for ONNX Runtime and what else reads its models: tf2onnx, but resized and padded the way TensorFlow does."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from core.errors import UserError
from core.servable import INPUTS
from exporters.loaded import LoadedGraph
from exporters.source import Source

_OPSET = 18  # the first whose Resize takes the two sizes of an image alone
_INT64 = 7  # onnx.TensorProto.INT64
_MANIFEST = 'manifest'
_CATCH_ERRORS = 'TF2ONNX_CATCH_ERRORS'


def write(source: Source, path: str) -> None:
    """Converts the frozen graph; input and outputs keep their names, the manifest is in the model's metadata."""
    import onnx

    with tf.io.gfile.GFile(source.frozen_graph, 'rb') as f:
        graph_def = tf.compat.v1.GraphDef.FromString(f.read())
    with _quietly():
        import tf2onnx

        model, _ = tf2onnx.convert.from_graph_def(
            graph_def,
            input_names=[f'{INPUTS}:0'],
            output_names=[f'{name}:0' for name in source.outputs],
            tensors_to_rename={f'{name}:0': name for name in (INPUTS, *source.outputs)},
            opset=_OPSET,
            custom_op_handlers={'ResizeBilinear': (_resize_bilinear, [])},
        )
    for node in model.graph.node:
        if node.op_type == 'Conv':
            _pad_explicitly(node)
    onnx.helper.set_model_props(model, {_MANIFEST: source.manifest})
    with tf.io.gfile.GFile(path, 'wb') as f:
        f.write(model.SerializeToString())


def load(path: str, *, outputs: Sequence[str]) -> LoadedGraph:
    """Reads a model back into ONNX Runtime; UserError if it cannot be run or does not answer `outputs`."""
    session = _session(path)
    missing = [name for name in outputs if name not in _names(session)]
    if missing:
        raise UserError(f'{path}: no output called {", ".join(missing)}; was it written by export.py?')
    (images,) = session.get_inputs()
    shape = tf.TensorShape([side if isinstance(side, int) else None for side in images.shape])

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        if not shape.is_compatible_with(batch.shape):
            raise ValueError(f'its input is {shape}')
        try:
            answers = session.run(list(outputs), {images.name: batch})
        except Exception as error:  # as in `_session`
            raise ValueError(str(error)) from error
        return dict(zip(outputs, answers, strict=True))

    return LoadedGraph(run=run, input_channels=shape[-1])


def output_names(path: str) -> list[str]:
    """What the model answers; raises as `load`."""
    return _names(_session(path))


def manifest(path: str) -> str | None:
    """The JSON kept in the model, None if it has none; raises as `load`."""
    return _session(path).get_modelmeta().custom_metadata_map.get(_MANIFEST)


def _names(session: Any) -> list[str]:
    return [output.name for output in session.get_outputs()]


def _session(path: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    with tf.io.gfile.GFile(path, 'rb') as f:
        content = f.read()
    try:
        return onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
    except Exception as error:  # ONNX Runtime has a dozen kinds, none of them public
        raise UserError(f'{path}: not a model that ONNX Runtime loads ({str(error).splitlines()[0]})') from None


def _resize_bilinear(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Resizes to sizes. A ratio of sizes, as tf2onnx writes it, is rounded, and loses a row or a column here and there.

    A handler of tf2onnx: it replaces `node`, called `name`, in the graph `ctx`.
    """
    mode = 'asymmetric'
    if node.get_attr_value('align_corners', False):
        mode = 'align_corners'
    elif node.get_attr_value('half_pixel_centers', False):
        mode = 'half_pixel'
    images, size = node.input
    outputs, shape, dtype = node.output, ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    ctx.remove_node(name)
    channels_first = ctx.make_node('Transpose', [images], attr={'perm': [0, 3, 1, 2]}).output[0]
    sizes = ctx.make_node('Cast', [size], attr={'to': _INT64}).output[0]
    attributes = {'mode': 'linear', 'axes': [2, 3], 'coordinate_transformation_mode': mode}
    resized = ctx.make_node('Resize', [channels_first, '', '', sizes], attr=attributes).output[0]
    back = {'perm': [0, 2, 3, 1]}
    ctx.make_node('Transpose', [resized], attr=back, name=name, outputs=outputs, shapes=[shape], dtypes=[dtype])


def _pad_explicitly(convolution: Any) -> None:
    """ONNX Runtime refuses to pad dilated convolutions by itself; theirs have stride 1, so the padding is constant."""
    import onnx

    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in convolution.attribute}
    dilations, strides = attributes.get('dilations', [1]), attributes.get('strides', [1])
    if attributes.get('auto_pad') != b'SAME_UPPER' or set(dilations) == {1} or set(strides) != {1}:
        return
    extents = [(size - 1) * rate for size, rate in zip(attributes['kernel_shape'], dilations, strict=True)]
    pads = [extent // 2 for extent in extents] + [extent - extent // 2 for extent in extents]
    kept = [a for a in convolution.attribute if a.name != 'auto_pad']
    del convolution.attribute[:]
    convolution.attribute.extend([*kept, onnx.helper.make_attribute('pads', pads)])


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """By default tf2onnx tells a lot, and copies the graph before each of its optimisers in case one fails."""
    loggers = [logging.getLogger(name) for name in ('tf2onnx', 'tensorflow')]
    levels, before = [logger.level for logger in loggers], os.environ.get(_CATCH_ERRORS)
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    os.environ[_CATCH_ERRORS] = 'false'
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        os.environ.pop(_CATCH_ERRORS)
        if before is not None:
            os.environ[_CATCH_ERRORS] = before
