"""First-order Taylor scores against the change of the loss when a channel is faded by a little."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from compression import tracing
from core.fields import IMAGE, LABEL
from engine import taylor
from tests import tiny_training


@pytest.fixture
def model():
    model = tiny_training.build_model(tiny_training.config().model)
    model.build()
    rng = np.random.default_rng(1)
    for name, variable in model.variables_by_name().items():
        if name.endswith(('beta', 'gamma')):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def _batch(seed: int) -> dict[str, tf.Tensor]:
    dataset = tiny_training.build_dataset(None, batch_size=2, seed=seed)
    return next(iter(dataset))


def _loss(model, batch) -> float:
    predictions = model.predict(model.preprocess(batch[IMAGE]), is_training=True)
    return float(tf.add_n(list(model.loss(predictions, batch[LABEL]).values())))


def test_scores_are_squared_slopes_of_the_loss(model):
    graph = tracing.trace(model)
    (group,) = graph.groups
    batches = [_batch(1), _batch(2)]
    variables = model.variables_by_name()
    before = {name: variable.numpy() for name, variable in variables.items()}

    (scores,) = (
        values for axis, values in taylor.scores(model, graph, batches).items() if axis == group.layers[0].outputs
    )

    assert all(np.array_equal(variables[name].numpy(), value) for name, value in before.items())
    norms = [variable for name, variable in variables.items() if name.endswith(('beta', 'gamma'))]
    assert len(norms) == 2
    step = 0.02
    for channel in range(len(scores)):
        want = 0.0
        for batch in batches:
            losses = []
            for factor in (1 + step, 1 - step):  # what the channel is behind its batch norm, times this
                values = [variable.numpy() for variable in norms]
                for variable, value in zip(norms, values, strict=True):
                    variable.assign(np.where(np.arange(len(value)) == channel, factor * value, value))
                losses.append(_loss(model, batch))
                for variable, value in zip(norms, values, strict=True):
                    variable.assign(value)
            want += ((losses[0] - losses[1]) / (2 * step)) ** 2
        assert scores[channel] == pytest.approx(want, rel=0.05)
