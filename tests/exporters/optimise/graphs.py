"""Small graphs to rewrite: built from a function, run by a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

INPUT, OUTPUT = 'inputs', 'predictions'


def build(function: Callable[[tf.Tensor], tf.Tensor], shape: tuple, dtype: Any = tf.float32) -> Any:
    """The GraphDef of `function`, from the placeholder `inputs` to `predictions`."""
    with tf.Graph().as_default() as graph:
        tf.identity(function(tf.compat.v1.placeholder(dtype, shape, name=INPUT)), name=OUTPUT)
    return graph.as_graph_def()


def run(graph_def: Any, values: np.ndarray, output: str = OUTPUT) -> np.ndarray:
    """What the graph answers."""
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(graph_def, name='')
        return session.run(f'{output}:0', {f'{INPUT}:0': values})


def ops(graph_def: Any) -> set[str]:
    """Kinds of operation in the graph."""
    return {node.op for node in graph_def.node}


def integers(*shape: int, seed: int = 0, largest: int = 8) -> np.ndarray:
    """Whole numbers, float32: sums of some thousand products, halves and eighths of them are exact."""
    return np.random.default_rng(seed).integers(-largest, largest + 1, shape).astype(np.float32)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
