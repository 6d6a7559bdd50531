"""The counts behind docs/model_zoo.md, on graphs small enough to count by hand."""

from __future__ import annotations

import json

import pytest
import tensorflow as tf

from benchmarks import model_zoo
from benchmarks.zoo import graph
from builders import pairs
from builders.names import FEATURE_EXTRACTORS
from core.errors import UsageError
from core.flops import operation_flops


def _operations(function, *shapes):
    concrete = tf.function(function, autograph=False).get_concrete_function(*(tf.TensorSpec(s) for s in shapes))
    return concrete.graph.get_operations()


def _flops(function, *shapes) -> int:
    return sum(map(operation_flops, _operations(function, *shapes)))


@pytest.mark.parametrize(
    ('function', 'shapes', 'want'),
    [
        (lambda x, k: tf.nn.conv2d(x, k, 2, 'SAME'), ([1, 8, 6, 5], [3, 3, 5, 7]), 2 * (4 * 3 * 7) * (9 * 5)),
        (
            lambda x, k: tf.nn.depthwise_conv2d(x, k, [1, 1, 1, 1], 'SAME'),
            ([1, 8, 6, 5], [3, 3, 5, 1]),
            2 * (8 * 6 * 5) * 9,
        ),
        (
            lambda x, k: tf.nn.conv2d_transpose(x, k, [1, 16, 12, 3], 2),
            ([1, 8, 6, 5], [4, 4, 3, 5]),
            2 * (8 * 6 * 5) * (16 * 3),
        ),
        (tf.matmul, ([4, 5], [5, 6]), 2 * 4 * 5 * 6),
        (tf.nn.relu, ([4, 5],), 0),
    ],
    ids=['convolution', 'depthwise', 'transposed', 'product', 'none'],
)
def test_flops(function, shapes, want: int):
    assert _flops(function, *shapes) == want


def test_activation_bytes_are_those_of_new_maps():
    operations = _operations(lambda x: tf.nn.relu(tf.nn.max_pool2d(x, 2, 2, 'SAME')), [1, 8, 6, 5])
    assert sum(map(graph.activation_bytes, operations)) == 4 * (4 * 3 * 5)


def test_every_supported_pair_is_a_case():
    cases = {(case.architecture, case.extractor) for case in model_zoo.cases()}
    assert cases == {(a, e) for a in ('pspnet', 'icnet', 'fcn') for e in FEATURE_EXTRACTORS} - set(pairs.UNSUPPORTED)
    assert set(model_zoo._PUBLISHED) <= {case.name for case in model_zoo.cases()}


def test_a_page_shows_each_row_and_what_was_published():
    row = {
        **{'model': 'fcn-32s vgg16_fc', 'height': 500, 'width': 500, 'million_parameters': 134.27, 'gflops': 1.0},
        **{'activation_mib': 5, 'latency_ms': None, 'published_million_parameters': 134.0, 'published_gflops': None},
        'published_by': 'a paper',
    }
    assert '| fcn-32s vgg16_fc | 134.27 | 134.0 | 1.0 |  | 5 | a paper |' in model_zoo.page([row])
    assert 'latency, ms' not in model_zoo.page([row])
    timed = {**row, 'latency_ms': 12.5, 'threads': 2, 'images': 5, 'peak_mib': 900}
    assert '| a paper | 12.5 | 900 |' in model_zoo.page([timed])
    assert 'median of 5 images, one at a time, on 2 CPU threads' in model_zoo.page([timed])


def test_a_finished_case_is_not_measured_again_unless_the_code_changed(tmp_path, monkeypatch, capsys):
    flags = ['--only', 'fcn-16s mobilenet_v2', '--work_dir', str(tmp_path)]
    assert model_zoo.main(flags) == 0
    first = json.loads(capsys.readouterr().out)['models']
    assert [(row['model'], row['million_parameters']) for row in first] == [('fcn-16s mobilenet_v2', 1.83)]
    monkeypatch.setattr(model_zoo.sys, 'executable', '/nothing/to/run')
    assert model_zoo.main(flags) == 0
    assert json.loads(capsys.readouterr().out)['models'] == first
    monkeypatch.setattr(model_zoo, '_source_digest', lambda: 'other')
    with pytest.raises(OSError):
        model_zoo.main(flags)


def test_a_case_that_does_not_exist_is_answered_with_those_that_do(tmp_path):
    with pytest.raises(UsageError, match=r"--only: no case has 'unet' in its name; there are \['pspnet dil"):
        model_zoo.main(['--only', 'unet', '--work_dir', str(tmp_path)])
