"""Is the frozen graph of a model the model: as it was traced, and as it is handed out?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.model import SegmentationModel
from core.servable import INPUTS, PREDICTIONS, InputShape, Servable
from exporters import frozen_graph, optimise

_SIZE = (33, 65)
FIXED = (1, *_SIZE)


def assert_frozen_graph_is_the_model(
    model: SegmentationModel, folder: Path, input_shape: InputShape = (None, None, None)
) -> None:
    """Class ids of the graph, plain and optimised, against the live model's argmax, on noise of an odd size.

    Both are written and read again. The classifier is made to predict every class first: a graph of zero scores would
    agree with anything.
    """
    images = np.random.default_rng(3).integers(0, 256, (1, *_SIZE, 3), np.uint8)
    want = spread_classes(model, images).argmax(-1)
    assert len(np.unique(want)) == model.num_classes

    plain = frozen_graph.freeze(Servable(model=model, num_classes=model.num_classes).trace(input_shape))
    optimised = optimise.optimise(plain, outputs=[PREDICTIONS])
    # Class ids of a fixed size may be told apart in a loop, whose outputs TensorFlow itself copies.
    operations = {node.op for node in optimised.node if not node.name.startswith('while/')}
    assert not {'FusedBatchNormV3', 'Identity'} & operations
    path = str(folder / frozen_graph.FILENAME)
    for graph_def in (plain, optimised):
        frozen_graph.save(graph_def, path)
        graph = frozen_graph.load(path, inputs=INPUTS, outputs=[PREDICTIONS])
        assert graph.input_channels == 3
        class_ids = graph(images)[PREDICTIONS]
        assert class_ids.shape == (1, *_SIZE, 1)
        # Other orders of operations may round another way where two classes are equally likely.
        assert (class_ids[..., 0] == want).mean() > 0.998


def spread_classes(model: SegmentationModel, images: np.ndarray) -> np.ndarray:
    """Random scores, centred by the last bias, which is added to the logits as it is; returns the logits it leaves."""
    rng = np.random.default_rng(4)
    heads = {name: v for name, v in model.variables_by_name().items() if name.startswith('Predictions/')}
    for name, variable in heads.items():
        if name.endswith('weights') and 'upscore' not in name:
            variable.assign(rng.normal(size=variable.shape))
    logits = model.predict(model.preprocess(images), is_training=False)['logits'].numpy()
    centre = np.median(logits, axis=(0, 1, 2))
    [variable for name, variable in heads.items() if name.endswith('biases')][-1].assign_sub(centre)
    return logits - centre
