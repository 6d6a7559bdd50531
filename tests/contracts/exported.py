"""Is the frozen graph of a model the model?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.model import SegmentationModel
from core.servable import INPUTS, PREDICTIONS, Servable
from exporters import frozen_graph

_SIZE = (33, 65)


def assert_frozen_graph_is_the_model(model: SegmentationModel, folder: Path) -> None:
    """Class ids of the graph, written and read again, against the live model's argmax, on noise of an odd size.

    The classifier is made to predict every class first: a graph of zero scores would agree with anything.
    """
    images = np.random.default_rng(3).integers(0, 256, (1, *_SIZE, 3), np.uint8)
    want = spread_classes(model, images).argmax(-1)
    assert len(np.unique(want)) == model.num_classes

    path = str(folder / frozen_graph.FILENAME)
    frozen_graph.write(Servable(model=model, num_classes=model.num_classes).trace(), path)
    graph = frozen_graph.load(path, inputs=INPUTS, outputs=[PREDICTIONS])

    assert graph.input_channels == 3
    class_ids = graph(images)[PREDICTIONS]
    assert class_ids.shape == (1, *_SIZE, 1)
    # Traced and eager operations may round another way where two classes are equally likely.
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
