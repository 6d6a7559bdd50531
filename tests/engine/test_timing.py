"""benchmark.py on two tiny frozen graphs; what it cannot take is one line."""

from __future__ import annotations

import json

import numpy as np
import pytest

import benchmark
from core.errors import UsageError
from core.servable import Servable
from engine.timing import runtimes, side_by_side
from engine.timing.artefact import Artefact, told_apart
from exporters import frozen_graph, saved_model
from tests import commands, fake_model


@pytest.fixture(scope='module')
def graphs(tmp_path_factory):
    """One model twice, the second with another order of classes."""
    folder = tmp_path_factory.mktemp('graphs')
    model = fake_model.FakeModel()
    for name, sign in (('a.pb', 1), ('b.pb', -1)):
        model.kernel.assign(sign * model.kernel)
        frozen_graph.write(Servable(model=model, num_classes=3).trace((1, 33, 41)), str(folder / name))
    return folder


def test_two_graphs_are_measured_and_compared(graphs, tmp_path, capsys):
    flags = ['--size', '33,41', '--rounds', '3', '--warm_up', '1', '--threads', '1', '--output_dir', str(tmp_path)]
    assert benchmark.main([*flags, '--artefact', str(graphs / 'a.pb'), '--artefact', str(graphs / 'b.pb')]) == 0
    result = json.loads((tmp_path / 'benchmark.json').read_text())
    assert (result['image'], result['rounds'], result['threads']) == ([1, 33, 41, 3], 3, 1)
    first, second = result['artefacts']
    assert (first['name'], second['name']) == ('a.pb', 'b.pb')
    assert first['equal_pixels'] == 100 and second['equal_pixels'] < 90
    for row in (first, second):
        assert 0 < row['least_ms'] <= row['median_ms'] <= row['p95_ms']
        assert row['peak_mib'] > row['artefact_and_inference_mib'] >= row['artefact_and_warm_inference_mib'] >= 0
        assert result['layers'][row['name']] and (row['tensors_mib'] is None or row['tensors_mib'] > 0)
    lines = (tmp_path / 'benchmark.md').read_text().splitlines()
    assert sum(line.startswith(('| a.pb |', '| b.pb |')) for line in lines) == 2
    assert '| artefact | median, ms |' in capsys.readouterr().out


def test_two_files_of_one_name_keep_a_table_each(graphs, tmp_path):
    for folder, name in (('before', 'a.pb'), ('after', 'b.pb')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'model.pb').write_bytes((graphs / name).read_bytes())
    given = [part for folder in ('before', 'after') for part in ('--artefact', str(tmp_path / folder / 'model.pb'))]
    flags = ['--size', '33,41', '--rounds', '1', '--warm_up', '0', '--threads', '1', '--output_dir', str(tmp_path)]
    assert benchmark.main([*flags, *given]) == 0
    result = json.loads((tmp_path / 'benchmark.json').read_text())
    names = ['before/model.pb', 'after/model.pb']
    assert [row['name'] for row in result['artefacts']] == list(result['layers']) == names
    lines = (tmp_path / 'benchmark.md').read_text().splitlines()
    assert [line for line in lines if line.startswith('## ')] == [f'## {name}' for name in names]


def test_names_are_as_long_as_tells_them_apart():
    def names(*paths, kind='frozen_graph'):
        found = [Artefact(name=path.rpartition('/')[2], path=path, kind=kind) for path in paths]
        return [each.name for each in told_apart(found)]

    assert names('/a/x/m.pb', '/b/x/m.pb', '/c/m.pb', '/c/n.pb') == ['a/x/m.pb', 'b/x/m.pb', 'c/m.pb', 'n.pb']
    assert names('/a/m.pb', '/a/m.pb', '/c/m.pb') == ['a/m.pb', 'a/m.pb (2)', 'c/m.pb']
    assert names('/a/o/model.xml', '/b/o/model.xml', kind='openvino') == ['a/o/model.xml', 'b/o/model.xml']


def test_a_saved_model_is_not_counted_as_a_graph_without_operations(tmp_path):
    concrete = Servable(model=fake_model.FakeModel(), num_classes=3).trace((1, 9, 13))
    saved_model.write(concrete, str(tmp_path))
    runtime = runtimes.load(Artefact(name='a', path=str(tmp_path), kind='saved_model'), 1)
    assert runtime.counts() == {'million_parameters': None, 'gflops': None}
    assert runtime.run(np.zeros((1, 9, 13, 3), np.uint8)).size == 9 * 13


def test_the_summary_of_known_times():
    times = [{'seconds': s, 'processor_seconds': 2 * s} for s in (0.004, 0.001, 0.002)]
    assert side_by_side.summary(times) == {
        'median_ms': 2.0,
        'p95_ms': 3.8,
        'least_ms': 1.0,
        'processor_ms': 4.0,
        'images_per_second': 500.0,
    }


def test_what_cannot_be_timed_is_said(tmp_path):
    (tmp_path / 'notes.txt').write_text('')
    (tmp_path / 'a.onnx').write_text('')
    for artefact, said in (
        ('missing.pb', r'missing\.pb: no such file or folder'),
        ('notes.txt', r'notes\.txt: not an artefact of a known form \(frozen_graph, saved_model, '),
        ('a.onnx:bfloat16', r'a\.onnx: onnx cannot be asked for bfloat16'),
    ):
        with pytest.raises(UsageError, match=said):
            benchmark.main(['--artefact', str(tmp_path / artefact)])
    with pytest.raises(UsageError, match='--rounds: got 0, choose 1 or more'):
        benchmark.main(['--artefact', str(tmp_path), '--rounds', '0'])


def test_a_file_that_is_no_graph_is_one_line(tmp_path, capfd):
    (tmp_path / 'text.pb').write_text('no graph')
    assert commands.exit_code(benchmark.main, ['--artefact', str(tmp_path / 'text.pb'), '--size', '9,9']) == 1
    said = capfd.readouterr().err
    assert 'text.pb: its process ended with exit code 1' in said and 'Traceback' not in said
