"""What of a .prune_config counts: names as the reference completes them, and criteria by its sources."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from builders import compressor_builder
from compression import criteria, selection, tracing
from core.errors import ConfigError
from protos.compressor_pb2 import CommpressionConfig
from tests.contracts.configs import build_model

_PLACE = 'compression_strategy.filter_pruner'
_TEXT = """
compression_strategy { filter_pruner {
  input { name: 'Preprocessor/sub' }
  output { name: 'Predictions/Conv/Conv2D' }
  node_scope: 'SharedFeatureExtractor/resnet_v1_50'
  compression_factor: 0.25
  skip_node { name: 'FastPSPModule/Conv/Conv2D' }
  node {
    target { name: 'block1/unit_1/bottleneck_v1/conv3/Conv2D' }
    source { name: 'block1/unit_1/bottleneck_v1/shortcut/Conv2D' }
    following { name: 'block1/unit_1/bottleneck_v1/conv3/BatchNorm/FusedBatchNorm' }
    following { name: '...Conv_1/Conv2D' }
  }
  node {
    node_scope: ''
    target { name: 'CascadeFeatureFusion/DilatedConv/Conv2D' }
    source { name: 'CascadeFeatureFusion/Conv/Conv2D' }
  }
} }
"""
_UNIT = 'SharedFeatureExtractor/resnet_v1_50/block1/unit_1/bottleneck_v1'


def rules(text: str = _TEXT) -> compressor_builder.PruneRules:
    return compressor_builder.build(text_format.Parse(text, CommpressionConfig()))


def test_names_are_completed_as_the_reference_does():
    built = rules()
    assert built.factor == 0.25
    assert built.skipped == ('Predictions/Conv', 'FastPSPModule/Conv')
    assert built.sources == (f'{_UNIT}/shortcut', 'CascadeFeatureFusion/Conv')
    assert built.named == (
        (f'{_PLACE}.output.name', 'Predictions/Conv'),
        (f'{_PLACE}.skip_node[0].name', 'FastPSPModule/Conv'),
        (f'{_PLACE}.node[0].target.name', f'{_UNIT}/conv3'),
        (f'{_PLACE}.node[0].source.name', f'{_UNIT}/shortcut'),
        (f'{_PLACE}.node[0].following[0].name', f'{_UNIT}/conv3'),
        (f'{_PLACE}.node[0].following[1].name', 'Conv_1'),
        (f'{_PLACE}.node[1].target.name', 'CascadeFeatureFusion/DilatedConv'),
        (f'{_PLACE}.node[1].source.name', 'CascadeFeatureFusion/Conv'),
    )


def test_pruning_that_begins_elsewhere_is_refused():
    with pytest.raises(ConfigError, match=r"input\.name: got 'block2/conv1'; pruning begins at the image, write"):
        rules(_TEXT.replace('Preprocessor/sub', 'block2/conv1'))


def test_sources_choose_alone_and_every_name_must_be_a_layer():
    model = build_model('icnet', filter_scale=0.125)
    graph = tracing.trace(model, size=(97, 97))
    values = {name: variable.numpy() for name, variable in model.variables_by_name().items()}
    scores = criteria.score(graph, values, 'l1', seed=0)
    built = rules()
    selection.check_named(graph, built.named)
    chosen = criteria.aggregate(graph, scores, 'mean', criterion='l1', sources=built.sources)
    plain = criteria.aggregate(graph, scores, 'mean', criterion='l1')
    seen = set()
    for group, own, other in zip(graph.groups, chosen, plain, strict=True):
        source = next((layer for layer in group.layers if layer.scope in built.sources), None)
        if source is None:
            np.testing.assert_array_equal(own, other)
            continue
        seen.add(source.scope)
        norms = np.abs(values[f'{source.scope}/weights']).sum((0, 1, 2))
        expected = np.argsort(norms)
        ranked = graph.axes[source.outputs][expected]
        np.testing.assert_array_equal(group.channels[np.argsort(own)], ranked)
    assert seen == set(built.sources)
    with pytest.raises(ConfigError, match="no layer 'FastPSP/Conv'; the nearest are FastPSPModule/Conv"):
        selection.check_named(graph, [('x', 'FastPSP/Conv')])
