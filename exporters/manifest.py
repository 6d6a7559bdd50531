"""What an export says of itself: `manifest.json` beside it, and the same text within each form."""

from __future__ import annotations

import json
from typing import Any

import tensorflow as tf

from core.errors import DataError

FILENAME = 'manifest.json'
NODE = 'manifest'


def append_to_graph(path: str, text: str) -> None:
    """Adds a constant called `manifest` to a frozen graph; nothing depends on it.

    Serialized messages that follow each other are one merged message, so the weights are not read for it.
    """
    with tf.Graph().as_default() as graph:
        tf.constant(text, name=NODE)
    addition = tf.compat.v1.GraphDef(node=graph.as_graph_def().node)
    with tf.io.gfile.GFile(path, 'ab') as f:
        f.write(addition.SerializeToString(deterministic=True))


def read_from_graph(path: str) -> str | None:
    """The text that `append_to_graph` left, None if there is none or the file is no graph."""
    graph_def = tf.compat.v1.GraphDef()
    try:
        with tf.io.gfile.GFile(path, 'rb') as f:
            graph_def.ParseFromString(f.read())
    except Exception:  # protobuf's and gfile's own kinds; `frozen_graph.load` tells what is wrong
        return None
    found = [node for node in graph_def.node if node.name == NODE and node.op == 'Const']
    return tf.make_ndarray(found[0].attr['value'].tensor).item().decode() if found else None


def with_choice(text: str, choice: dict[str, Any]) -> str:
    """The manifest of a frozen graph in mixed arithmetic, with what was chosen; see `exporters.optimise.Choice`."""
    about = json.loads(text)
    about.setdefault('optimisation', {}).setdefault('frozen_graph', {})['mixed'] = choice
    return json.dumps(about)


def parse(text: str, source: str) -> dict[str, Any]:
    """The manifest as a dictionary; DataError names `source` if it is none."""
    try:
        content = json.loads(text)
        if not isinstance(content, dict) or 'label_map' not in content:
            raise ValueError('no label_map in it')
        return content
    except ValueError as error:
        raise DataError(f'{source}: not the manifest of an export ({error})') from None
