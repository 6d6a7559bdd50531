"""What benchmarks.inference makes of its rows; the timing itself is tested with engine.timing."""

from __future__ import annotations

import pytest
from PIL import Image

from benchmarks import inference
from core.errors import UsageError


def _row(name, median, *, memory=100, tensors=None, equal=1.0):
    return {
        'name': name,
        'median_ms': median,
        'peak_mib': 2 * memory,
        'artefact_and_inference_mib': memory,
        'artefact_and_warm_inference_mib': memory // 2,
        'tensors_mib': tensors,
        'equal_pixels': equal,
        'gflops': 50.0,
    }


ROWS = [
    _row('peer: TensorFlow float32', 300, memory=400, tensors=200.0),
    _row('peer: OpenVINO float32', 280),
    _row('peer: OpenVINO bfloat16', 200),
    _row('frozen graph float32', 200, memory=200, tensors=100.0),
    _row('frozen graph mixed', 150, memory=100, tensors=50.0, equal=0.9985),
    _row('frozen graph bfloat16', 120, equal=0.97),
    _row('OpenVINO float32', 160, memory=100),
    _row('OpenVINO bfloat16', 100, memory=100),
]
HEADS = {'of the net': {'share_of_plain_time': 0.4, 'equal_pixels': 1.0}}


def test_the_bounds_compare_the_right_rows():
    bounds = inference._bounds(ROWS, HEADS)
    assert bounds['fastest'] == 'OpenVINO bfloat16' and bounds['best_peer'] == 'peer: OpenVINO bfloat16'
    assert bounds['fastest_over_plain_tensorflow_float32'] == 3
    assert bounds['fastest_over_openvino_bfloat16'] == bounds['fastest_over_best_peer'] == 2
    assert bounds['best_frozen_graph'] == 'frozen graph bfloat16'
    assert bounds['best_close_frozen_graph'] == 'frozen graph mixed'  # 99.8 % of the class ids
    assert bounds['best_close_frozen_graph_over_plain_tensorflow_float32'] == 2
    assert bounds['inference_memory_of_fastest_over_plain'] == 0.25
    assert bounds['warm_inference_memory_of_best_close_frozen_graph_over_plain'] == 0.25
    assert bounds['tensors_of_best_close_frozen_graph_over_plain'] == 0.25


def test_a_runtime_that_does_not_count_its_tensors_has_no_share():
    rows = [{**row, 'tensors_mib': None} for row in ROWS]
    assert inference._bounds(rows, HEADS)['tensors_of_best_close_frozen_graph_over_plain'] is None


def test_the_roof_is_the_time_of_the_products_alone():
    net = {'rows': ROWS, 'bounds': inference._bounds(ROWS, HEADS)}
    roofs = {'3x3 convolution float32': 500.0, '3x3 convolution bfloat16': 1000.0}
    at_the_roof = inference._at_the_roof(net, roofs)
    assert (at_the_roof['optimised_float32_ms'], at_the_roof['optimised_bfloat16_ms']) == (100, 50)
    assert at_the_roof['ours_over_float32_roof'] == 1.6
    assert (at_the_roof['best_peer_over_that'], at_the_roof['best_peer_over_float32_roof']) == (4, 2)


def test_wrong_flags_are_told(tmp_path, capsys):
    with pytest.raises(UsageError, match=r'--frames: 0 \.png or \.jpg in .*, at least two are needed'):
        inference.main(['--frames', str(tmp_path)])
    for name in ('a.png', 'b.png'):
        Image.new('RGB', (9, 5)).save(tmp_path / name)
    with pytest.raises(UsageError, match="--size: got '5', two numbers such as 1025,2049 are needed"):
        inference.main(['--frames', str(tmp_path), '--size', '5'])
    with pytest.raises(SystemExit):
        inference.main(['--frames', str(tmp_path), '--compute_types', 'mixed'])
    assert "--compute_types: got 'mixed', choose float32 and others of float32, mixed, bf" in capsys.readouterr().err
    with pytest.raises(UsageError, match='--checkpoint: needs --config_path, and --filter_scales with the one width'):
        inference.main(['--frames', str(tmp_path), '--size', '5,9', '--checkpoint', 'x', '--filter_scales', '0.5'])
