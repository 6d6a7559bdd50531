"""Training in another order of layers than the paper's gives the same heads and gradients."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from builders import model_builder
from protos.model_pb2 import FastSegmentationModel

ICNET = """icnet {{
  num_classes: 3 filter_scale: 0.25 pooling_factors: [1, 2]
  feature_extractor {{ type: 'mobilenet_v1' }}
  hyperparams {{ {norm} }}
  loss {{ use_auxiliary_loss: true }}
}}"""
PSPNET = """pspnet {{
  num_classes: 3 filter_scale: 0.25 pooling_factors: [1, 2, 3, 6]
  feature_extractor {{ type: 'mobilenet_v1' }}
  hyperparams {{ {norm} }}
  loss {{ use_auxiliary_loss: true }}
}}"""


@pytest.mark.parametrize('norm', ['batch_norm { decay: 0.9 }', 'group_norm { groups: 4 }'])
@pytest.mark.parametrize('config', [ICNET, PSPNET], ids=['icnet', 'pspnet'])
def test_heads_gradients_and_averages_are_those_of_the_published_order(config, norm):
    tf.random.set_seed(1)
    model = model_builder.build(text_format.Parse(config.format(norm=norm), FastSegmentationModel()))
    model.build()
    variables = model.variables_by_name()
    kept = {name: variable.numpy() for name, variable in variables.items()}
    rng = np.random.default_rng(5)
    images = tf.constant(rng.uniform(0, 255, (2, 65, 97, 3)), tf.float32)

    def trained(order):
        @tf.function(autograph=False)
        def step():
            with tf.GradientTape() as tape, order:
                heads = model.predict(model.preprocess(images), is_training=True)
                loss = tf.add_n([tf.reduce_mean(head**2) for head in heads.values()])
            return heads, tape.gradient(loss, model.trainable_variables)

        for name, variable in variables.items():
            variable.assign(kept[name])
        heads, gradients = step()
        averages = {name: v.numpy() for name, v in variables.items() if not v.trainable}
        return heads, gradients, averages, step.get_concrete_function().graph

    *ours, own_graph = trained(contextlib.nullcontext())
    *published, published_graph = trained(model.in_published_order())
    tf.nest.map_structure(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5), ours, published)
    # Else the test would compare a thing with itself.
    assert len(own_graph.get_operations()) != len(published_graph.get_operations())
