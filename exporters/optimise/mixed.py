"""Which convolutions may run in bfloat16 while the answer stays the same: those that save most for the error they make.

Rounding errors of layers are independent, so their squares add up: the layers are taken in the order of square error
for each multiplication, until too many class ids would change. Post-training mixed precision by sensitivity, as in HAWQ
(Dong et al., arXiv:1905.03696), with the measured error in place of the Hessian.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from core.export_forms import EQUAL_PIXELS
from core.servable import INPUTS, PREDICTIONS
from exporters.optimise import precision, sensitivity

Batches = Callable[[], Iterable[np.ndarray]]
_RANKED_ON, _JUDGED_ON = 2, 8  # batches
_AIM = 1 - 0.6 * (1 - EQUAL_PIXELS)  # other images may be harder than those


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """What runs in bfloat16, and what that was decided on.

    Attributes:
      bfloat16, float32: names of the convolutions in each; in bfloat16 the one that pays most first.
      batches: how many batches of images were looked at.
      equal_pixels: share of their class ids that stay, 0..1.
    """

    bfloat16: list[str]
    float32: list[str]
    batches: int
    equal_pixels: float


def choose(graph_def: Any, outputs: Sequence[str], batches: Batches) -> Choice:
    """As many convolutions as leave `EQUAL_PIXELS` of the class ids as they are, with some to spare.

    Args:
      graph_def: float32, of a servable.
      outputs: of the graph, `predictions` among them.
      batches: images as the graph takes them, of which the first few are looked at.
    """
    looked_at = list(itertools.islice(batches(), _JUDGED_ON))  # before a graph is entered: they may be read by tf.data
    layers = sensitivity.measure(graph_def, looked_at[:_RANKED_ON])
    ranked = [layer.name for layer in sorted(layers, key=lambda layer: layer.error / max(layer.flops, 1))]
    expected = list(_class_ids(graph_def, looked_at))

    def equal_pixels(count: int) -> float:
        narrow = precision.bfloat16(graph_def, outputs, ranked[:count])
        shares = [(own == ids).mean() for own, ids in zip(_class_ids(narrow, looked_at), expected, strict=True)]
        return float(np.mean(shares))

    low, high, equal = 0, len(ranked), 1.0  # `low` are enough, more than `high` are too many
    while low < high:
        middle = (low + high + 1) // 2
        share = equal_pixels(middle)
        low, high, equal = (middle, high, share) if share >= _AIM else (low, middle - 1, equal)
    return Choice(bfloat16=ranked[:low], float32=ranked[low:], batches=len(looked_at), equal_pixels=equal)


def _class_ids(graph_def: Any, batches: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(graph_def, name='')
        for images in batches:
            yield session.run(f'{PREDICTIONS}:0', {f'{INPUTS}:0': images})
