from __future__ import annotations

import json
import math

import pytest

from benchmarks import train_step
from benchmarks.peers import own_loop, own_step, runs, timing
from benchmarks.peers.cases import CASES, Case
from core import processor
from core.errors import UsageError, UserError

_CASE = Case('icnet', 1.0, 513, 513, 2)


def _results(**seconds: float) -> dict[str, list[dict]]:
    """One process each, whose three steps took so long, one of them a second more."""
    return {
        name: [{'seconds': [(s, 2 * s), (s + 1, 2 * s), (s, 2 * s)], 'parameters': 7}] for name, s in seconds.items()
    }


@pytest.fixture
def answers(monkeypatch):
    """Sets what all processes say, on a processor that has bfloat16; keeps who was asked."""
    asked: list[list[str]] = []
    monkeypatch.setattr(processor, 'has_bfloat16', lambda: True)

    def give(results):
        def in_turn(contestants, rounds, *arguments):
            asked.append([contestant.name for contestant in contestants])
            return {contestant.name: results[contestant.name] for contestant in contestants}

        monkeypatch.setattr(runs, 'in_turn', in_turn)
        return asked

    return give


def test_a_checkout_and_an_interpreter_add_their_peers(answers, tmp_path, capsys):
    (tmp_path / 'libs').mkdir()
    (tmp_path / 'libs' / 'trainer.py').touch()
    asked = answers(_results(float32=3, bfloat16=2, reference_float32=4, torch_float32=6, torch_bfloat16=1))

    train_step.main(['--case', _CASE.name, '--reference_dir', str(tmp_path), '--torch_python', 'python'])

    report = json.loads(capsys.readouterr().out)
    assert asked == [['float32', 'bfloat16', 'reference_float32', 'torch_float32', 'torch_bfloat16']]
    assert report['left_out'] == []
    case = report['cases'][_CASE.name]
    assert case['parameters'] == 7
    assert case['median_seconds']['torch_float32'] == 6
    assert case['median_cpu_seconds']['torch_float32'] == 12
    assert case['ratios'] == {
        'float32_over_reference_float32': 0.75,
        'float32_over_torch_float32': 0.5,
        'bfloat16_over_torch_bfloat16': 2.0,
        'float32_over_bfloat16': 1.5,
    }


def test_peers_that_are_not_given_are_named(answers, capsys):
    asked = answers(_results(float32=3, bfloat16=2))

    train_step.main(['--case', 'all'])

    report = json.loads(capsys.readouterr().out)
    assert asked == [['float32', 'bfloat16']] * len(CASES)
    assert report['left_out'] == ['reference', 'torch']
    assert list(report['cases']) == list(CASES)
    assert report['cases'][_CASE.name]['ratios'] == {'float32_over_bfloat16': 1.5}


def test_bfloat16_is_left_out_where_the_processor_would_emulate_it(answers, monkeypatch, capsys):
    monkeypatch.setattr(processor, 'has_bfloat16', lambda: False)
    asked = answers(_results(float32=3))

    train_step.main([])

    report = json.loads(capsys.readouterr().out)
    assert asked == [['float32']]
    assert report['left_out'] == ['reference', 'torch', 'bfloat16, which this processor would emulate']


def test_loops_are_compared_by_images_per_second(answers, capsys):
    answers({'float32': [{'images_per_second': 4.0}], 'bfloat16': [{'images_per_second': n} for n in (5.0, 6.0, 9.0)]})

    train_step.main(['--loop', 'data/x.record-*'])

    report = json.loads(capsys.readouterr().out)
    assert report['images_per_second'] == {'float32': 4.0, 'bfloat16': 6.0}
    assert report['left_out'] == ['reference']


def test_a_loops_last_line_counts_by_its_steps():
    lines = [{'step': s, 'images_per_second': v} for s, v in ((10, 1.0), (20, 10.0), (24, 1.0))]
    assert own_loop.mean_speed(lines) == pytest.approx(14 / (10 / 10 + 4 / 1))


def test_networks_of_another_size_are_not_compared(answers):
    results = _results(float32=3, bfloat16=2)
    results['bfloat16'][0]['parameters'] = 8
    answers(results)

    with pytest.raises(UserError, match='networks differ'):
        train_step.main([])


def test_a_folder_without_the_reference_is_refused(tmp_path):
    with pytest.raises(UsageError, match=f'--reference_dir: {tmp_path} is no checkout'):
        runs.of_steps(str(tmp_path), '')


def test_only_the_calls_after_the_warm_ones_are_timed():
    calls: list[int] = []

    assert len(timing.times(lambda: calls.append(1), 3)) == 3
    assert len(calls) == 3 + timing.NOT_COUNTED
    assert len(timing.wall_times(lambda: calls.append(1), 4)) == 4


def test_a_case_survives_the_way_to_a_process():
    assert Case.from_json(_CASE.to_json()) == _CASE


@pytest.mark.slow
def test_the_step_trains():
    found = own_step.time_steps(Case('icnet', 0.1, 225, 225, 1), 1, bfloat16=False)

    assert len(found['seconds']) == 1 and all(s > 0 for s in found['seconds'][0])
    assert math.isfinite(found['loss']) and found['loss'] > 0
    assert found['parameters'] == sum(
        math.prod(variable.shape) for variable in _trained(Case('icnet', 0.1, 225, 225, 1))
    )


def _trained(case: Case):
    model = own_step.network(case)
    model.build()
    return model.trainable_variables
