"""The passes together, on a real network; arithmetic and storage in fewer bits."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from builders import model_builder
from core.servable import Servable
from exporters import frozen_graph, optimise
from protos import model_pb2
from tests import fake_model
from tests.exporters.optimise import graphs

SIDES = (97, 129)


@pytest.fixture(scope='module')
def frozen():
    """ICNet with statistics that are not those of an untrained net, and its answer to noise."""
    text = """icnet { num_classes: 4 filter_scale: 0.1 pooling_factors: [1, 2, 3, 4]
                      feature_extractor { type: 'dilated_resnet50' } }"""
    tf.random.set_seed(0)
    model = model_builder.build(text_format.Parse(text, model_pb2.FastSegmentationModel()))
    model.build()
    rng = np.random.default_rng(0)
    for name, variable in sorted(model.variables_by_name().items()):
        if 'BatchNorm' in name:
            low, high = (-0.5, 0.5) if name.endswith(('beta', 'moving_mean')) else (0.5, 1.5)
            variable.assign(rng.uniform(low, high, variable.shape))
    graph_def = frozen_graph.freeze(Servable(model=model, num_classes=4).trace((1, *SIDES)))
    images = fake_model.images(1, *SIDES)
    return graph_def, images, graphs.run(graph_def, images)


def _agreement(graph_def, frozen):
    return (graphs.run(graph_def, frozen[1]) == frozen[2]).mean()


def test_the_optimised_network_says_the_same(frozen):
    optimised = optimise.optimise(frozen[0], outputs=[graphs.OUTPUT])
    assert _agreement(optimised, frozen) > 0.9995
    assert len(np.unique(frozen[2])) > 1


def test_without_cells_there_is_nothing_that_other_runtimes_lack(frozen):
    optimised = optimise.optimise(frozen[0], outputs=[graphs.OUTPUT], runtime='other')
    assert _agreement(optimised, frozen) > 0.9995
    assert not graphs.ops(optimised) & {'While', 'StatelessWhile', 'Bitcast', 'Where'}
    assert not graphs.ops(optimised) & {'FusedBatchNormV3', 'Identity', 'EnsureShape', 'NoOp', 'Sub'}


def test_bfloat16_reaches_every_convolution_but_the_classifier(frozen):
    optimised = optimise.optimise(frozen[0], outputs=[graphs.OUTPUT], compute='bfloat16')
    types = {n.name: n.attr['T'].type for n in optimised.node if n.op == 'Conv2D'}
    wide = [name for name, dtype in types.items() if dtype == tf.float32.as_datatype_enum]
    assert len(types) > 60 and len(wide) == 1 and wide[0].startswith('Predictions/')
    assert _agreement(optimised, frozen) > 0.98


def test_mixed_leaves_the_class_ids_and_takes_most_convolutions(frozen):
    graph_def, images, ids = frozen
    made = optimise.optimise(graph_def, outputs=[graphs.OUTPUT], compute='mixed', batches=lambda: iter([images]))
    assert (graphs.run(made, images) == ids).mean() >= 0.999
    types = [node.attr['T'].type for node in made.node if node.op == 'Conv2D']
    assert 5 < types.count(tf.bfloat16.as_datatype_enum) < len(types)


def test_free_sizes_are_kept_free():
    model = fake_model.FakeModel()
    graph_def = frozen_graph.freeze(Servable(model=model, num_classes=3).trace())
    optimised = optimise.optimise(graph_def, outputs=[graphs.OUTPUT])
    for shape in ((1, 12, 15), (2, 33, 65)):
        batch = fake_model.images(*shape)
        np.testing.assert_array_equal(graphs.run(optimised, batch)[..., 0], fake_model.class_ids(model, batch))


def test_an_unknown_type_is_refused(frozen):
    with pytest.raises(ValueError, match=r"compute: got 'float8', choose from \['float32', 'mixed', 'bfloat16'\]"):
        optimise.optimise(frozen[0], outputs=[graphs.OUTPUT], compute='float8')
    with pytest.raises(ValueError, match="runtime: got 'onnx'"):
        optimise.optimise(frozen[0], outputs=[graphs.OUTPUT], runtime='onnx')
    with pytest.raises(ValueError, match="stored: got 'int4'"):
        optimise.store(frozen[0], 'int4')


@pytest.mark.parametrize('compute', ['float32', 'bfloat16'])
@pytest.mark.parametrize('stored, smaller', [('bfloat16', 1.9), ('int8', 3.8)])
def test_weights_in_fewer_bits(stored, smaller, compute):
    kernel = graphs.noise(3, 3, 64, 64) * np.linspace(0.1, 10, 64, dtype=np.float32)
    graph_def = graphs.build(
        lambda x: tf.nn.conv2d(tf.nn.conv2d(x, kernel, 1, 'SAME'), kernel[:1, :1], 1, 'SAME'), (1, 5, 5, 64)
    )
    narrow = optimise.optimise(graph_def, outputs=[graphs.OUTPUT], compute=compute)
    narrow = optimise.store(narrow, stored)
    assert graph_def.ByteSize() / narrow.ByteSize() > smaller
    values = graphs.noise(1, 5, 5, 64)
    wanted, given = graphs.run(graph_def, values), graphs.run(narrow, values)
    np.testing.assert_allclose(given, wanted, atol=0.02 * np.abs(wanted).max())


def test_int8_is_off_by_at_most_half_a_step_of_its_channel():
    kernel = graphs.noise(3, 3, 8, 16) * np.logspace(-3, 3, 16, dtype=np.float32)
    kernel[..., 5] = 0
    stored = optimise.store(graphs.build(lambda x: x * kernel, (1,)), 'int8')
    given = graphs.run(stored, np.ones(1, np.float32))
    step = np.abs(kernel).max((0, 1, 2)) / 127
    assert (np.abs(given - kernel) <= 0.5001 * step).all()
    assert (given[..., 5] == 0).all()
