"""The plain graph as each peer takes it, and what this project writes."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from core.export_forms import COMPUTE_TYPES
from core.servable import PREDICTIONS, Servable
from engine.timing.artefact import Artefact
from exporters import frozen_graph, onnx_model, openvino_ir, optimise, saved_model, tflite
from exporters.source import Source

PLAIN = 'plain_graph.pb'
PEERS = (
    Artefact(name='peer: TensorFlow float32', path=PLAIN, kind='frozen_graph'),
    Artefact(name='peer: TensorFlow bfloat16', path=PLAIN, kind='frozen_graph', precision='bfloat16'),
    Artefact(name='peer: OpenVINO float32', path=PLAIN, kind='openvino'),
    Artefact(name='peer: OpenVINO bfloat16', path=PLAIN, kind='openvino', precision='bfloat16'),
    Artefact(name='peer: ONNX Runtime float32', path='plain.onnx', kind='onnx'),
    Artefact(name='peer: TFLite float32', path='plain.tflite', kind='tflite'),
)
OURS = (
    Artefact(name='frozen graph float32', path='float32.pb', kind='frozen_graph'),
    Artefact(name='frozen graph mixed', path='mixed.pb', kind='frozen_graph'),
    Artefact(name='frozen graph bfloat16', path='bfloat16.pb', kind='frozen_graph'),
    Artefact(name='OpenVINO float32', path='openvino/model.xml', kind='openvino'),
    Artefact(name='OpenVINO bfloat16', path='openvino/model.xml', kind='openvino', precision='bfloat16'),
)
PLAIN_HEAD = Artefact(name='upsample and argmax, plain', path='head_plain.pb', kind='frozen_graph')
OUR_HEAD = Artefact(name='upsample and argmax, by cells', path='head_cells.pb', kind='frozen_graph')
ROOFS = (
    Artefact(name='3x3 convolution float32', path='roof_float32.pb', kind='frozen_graph'),
    Artefact(name='3x3 convolution bfloat16', path='roof_bfloat16.pb', kind='frozen_graph'),
)
ROOF_GFLOP = 2 * 8 * 65 * 129 * 256 * 256 * 9 / 1e9
_ROOF_SHAPE = (1, 65, 129, 256)
_OUTPUTS = [PREDICTIONS]


def ours(compute_types: Collection[str]) -> list[Artefact]:
    """OURS, of the frozen graphs those of these types."""
    left_out = {f'{compute}.pb' for compute in COMPUTE_TYPES if compute not in compute_types}
    return [artefact for artefact in OURS if artefact.path not in left_out]


def write(
    model: Any, picture: np.ndarray, others: Sequence[np.ndarray], folder: str, compute_types: Collection[str]
) -> None:
    """Writes PEERS, `ours`, the two heads and the logits they are timed on (`logits.npy`).

    Args:
      model: built.
      picture: uint8 [H, W, 3]; its size is the graphs'.
      others: of that size, on which mixed arithmetic is chosen.
      folder: where the files go.
      compute_types: of the frozen graphs, some of COMPUTE_TYPES.
    """
    concrete = Servable(model=model, num_classes=model.num_classes).trace((1, *picture.shape[:2]))
    plain = os.path.join(folder, PLAIN)
    plain_graph = frozen_graph.freeze(concrete)
    frozen_graph.save(plain_graph, plain)
    for compute in compute_types:
        optimised = optimise.optimise(
            plain_graph,
            outputs=_OUTPUTS,
            compute=compute,
            batches=lambda: (other[np.newaxis] for other in others),
        )
        frozen_graph.save(optimised, os.path.join(folder, f'{compute}.pb'))
    saved = os.path.join(folder, saved_model.DIRNAME)
    saved_model.write(concrete, saved, manifest='{}')
    source = Source(concrete=concrete, frozen_graph=plain, saved_model=saved, manifest='{}')
    onnx_model.write(source, os.path.join(folder, 'plain.onnx'))
    tflite.write(source, os.path.join(folder, 'plain.tflite'), kind='float32')
    openvino_ir.write(source, os.path.join(folder, 'openvino'))
    _write_heads(plain_graph, picture, folder)


def write_roofs(folder: str) -> None:
    """Graphs of eight 3x3 convolutions, `ROOF_GFLOP` in all, and `roof.npy`, their input."""
    kernel = np.random.default_rng(0).normal(0, 0.02, (3, 3, 256, 256))
    for roof, dtype in zip(ROOFS, (tf.float32, tf.bfloat16), strict=True):
        with tf.Graph().as_default() as graph:
            net = tf.cast(tf.compat.v1.placeholder(tf.float32, _ROOF_SHAPE, name='inputs'), dtype)
            for _ in range(8):
                net = tf.nn.conv2d(net, tf.constant(kernel, dtype), 1, 'SAME')
            tf.identity(tf.cast(net[..., 0], tf.float32), name=PREDICTIONS)
        frozen_graph.save(graph.as_graph_def(), os.path.join(folder, roof.path))
    np.save(os.path.join(folder, 'roof.npy'), np.random.default_rng(1).normal(size=_ROOF_SHAPE).astype(np.float32))


def _write_heads(plain_graph: Any, picture: np.ndarray, folder: str) -> None:
    """Cuts the plain graph in front of its last resize."""
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(plain_graph, name='')
        resize = [operation for operation in graph.get_operations() if operation.type == 'ResizeBilinear'][-1]
        logits = session.run(resize.inputs[0], {'inputs:0': picture[np.newaxis]})
        size = [int(n) for n in resize.outputs[0].shape[1:3]]
    np.save(os.path.join(folder, 'logits.npy'), logits)
    with tf.Graph().as_default() as graph:
        given = tf.compat.v1.placeholder(tf.float32, logits.shape, name='inputs')
        enlarged = tf.raw_ops.ResizeBilinear(images=given, size=size, align_corners=True)
        ids = tf.cast(tf.argmax(enlarged, -1, tf.int32), tf.uint8)
        tf.expand_dims(ids, -1, name=PREDICTIONS)
    plain = graph.as_graph_def()
    frozen_graph.save(plain, os.path.join(folder, PLAIN_HEAD.path))
    frozen_graph.save(optimise.optimise(plain, outputs=_OUTPUTS), os.path.join(folder, OUR_HEAD.path))
