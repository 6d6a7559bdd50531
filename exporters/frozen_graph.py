"""A frozen graph: one GraphDef file with the weights inside, the form TensorFlow 1, OpenVINO and tf2onnx read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from core.errors import UserError
from exporters import manifest, optimise
from exporters.loaded import LoadedGraph
from exporters.source import Source

FILENAME = 'frozen_inference_graph.pb'
_CHANNELS = 3  # where a graph leaves them open


def write(concrete: Any, path: str) -> None:
    """Freezes a traced servable: the placeholder `inputs`, and one node for each output, called as in its dictionary.

    Args:
      concrete: from `core.servable.Servable.trace`.
      path: the file to write.
    """
    save(freeze(concrete), path)


def convert(source: Source, path: str) -> None:
    """Writes the frozen graph that is handed out: optimised for TensorFlow if the source says so, with its manifest."""
    graph_def, text = read(source.frozen_graph), source.manifest
    if source.optimised:
        choices: list[optimise.Choice] = []
        graph_def = optimise.optimise(
            graph_def,
            outputs=source.outputs,
            compute=source.compute,
            batches=source.calibration,
            tell=choices.append,
        )
        for choice in choices:
            text = manifest.with_choice(text, dataclasses.asdict(choice))
    save(optimise.store(graph_def, source.weights), path)
    manifest.append_to_graph(path, text)


def freeze(concrete: Any) -> Any:
    """The GraphDef that `write` saves: the traced operations as they are, with constants for variables."""
    frozen = convert_variables_to_constants_v2(concrete)
    graph_def = frozen.graph.as_graph_def()
    # A name given while tracing is not safe: TensorFlow numbers it if a scope has the same letters in another case.
    public_names = dict(zip([t.op.name for t in frozen.outputs], sorted(concrete.structured_outputs), strict=True))
    nodes = _needed(graph_def, list(public_names))
    for node in nodes:
        node.name = public_names.get(node.name, node.name)
    return tf.compat.v1.GraphDef(node=nodes, versions=graph_def.versions, library=graph_def.library)


def save(graph_def: Any, path: str) -> None:
    """Writes a GraphDef, the same one as the same bytes."""
    with tf.io.gfile.GFile(path, 'wb') as f:
        f.write(graph_def.SerializeToString(deterministic=True))


def load(path: str, *, inputs: str, outputs: Sequence[str]) -> LoadedGraph:
    """Reads a frozen graph back as a function from a uint8 array to {output name: array}.

    Args:
      path: a serialized GraphDef.
      inputs: the placeholder's name.
      outputs: names of the tensors to return.

    Raises:
      UserError: no such file, not a GraphDef, or one without these names.
    """
    graph_def = read(path)
    names = {node.name for node in graph_def.node}
    missing = [name for name in (inputs, *outputs) if name not in names]
    if missing:
        raise UserError(f'{path}: no node called {", ".join(missing)}; is it an inference graph written by export.py?')

    def import_graph() -> None:
        tf.graph_util.import_graph_def(graph_def, name='')

    wrapped = tf.compat.v1.wrap_function(import_graph, [])
    graph = wrapped.graph
    pruned = wrapped.prune(f'{inputs}:0', {name: graph.get_tensor_by_name(f'{name}:0') for name in outputs})
    shape = graph.get_tensor_by_name(f'{inputs}:0').shape

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        fed = images[0] if shape.rank == 3 else images  # graphs for one image have no batch dimension
        if not shape.is_compatible_with(fed.shape):
            raise ValueError(f'its input is {shape}')
        return {name: value.numpy() for name, value in pruned(tf.constant(fed)).items()}

    known = shape.rank is not None and shape[-1]
    return LoadedGraph(run=run, input_channels=known or _CHANNELS)


def has_output(path: str, name: str) -> bool:
    """Whether the frozen graph has a node of this name; raises as `load`."""
    return any(node.name == name for node in read(path).node)


def read(path: str) -> Any:
    """The GraphDef in a file; UserError if there is none."""
    graph_def = tf.compat.v1.GraphDef()
    try:
        with tf.io.gfile.GFile(path, 'rb') as f:
            graph_def.ParseFromString(f.read())
    except tf.errors.NotFoundError:
        raise UserError(f'{path}: no such file') from None
    except Exception as error:  # protobuf raises its own DecodeError, gfile OpErrors; each means the file is unusable
        raise UserError(f'{path}: not a frozen graph ({error})') from None
    return graph_def


def _needed(graph_def: Any, outputs: Sequence[str]) -> list[Any]:
    """The nodes that `outputs` depend on, in their order."""
    by_name = {node.name: node for node in graph_def.node}
    needed, waiting = set(), list(outputs)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [source.lstrip('^').split(':')[0] for source in by_name[name].input]
    return [node for node in graph_def.node if node.name in needed]
