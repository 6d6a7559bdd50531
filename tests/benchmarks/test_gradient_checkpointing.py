"""The suites without their hours: what is kept of finished cases, how shares are counted, the chain of blocks."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import gradient_checkpointing
from benchmarks.checkpointing import runs, suites
from benchmarks.checkpointing.cases import PSPNET, Case
from benchmarks.checkpointing.runs import Runs
from core.errors import UsageError, UserError
from tests import forked


def _result(case: Case) -> dict[str, Any]:
    """A machine on which planning halves the peak and takes a fifth longer, 100 MB and a second for each image."""
    planned = case.request != 'plain'
    if case.request.endswith('MB') and not case.steps and 50.0 * case.batch > float(case.request.removesuffix('MB')):
        return {'refused': 'no'}
    return {
        'peak_mb': 100.0 * case.batch * (0.5 if planned else 1.0),
        'resident_mb': 1000.0,
        'predicted_peak_mb': 110.0 * case.batch,
        'activations_kept': 0.5 if planned else 1.0,
        'extra_work': 0.6 if planned else 0.0,
        'planning_seconds': 2.0,
        'tracing_seconds': 2.0,
        'seconds': [case.batch * (1.2 if planned else 1.0)],
        'cpu_seconds': [case.batch * (1.2 if planned else 1.0)],
        'loss': 1.5,
    }


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """The cases whose process would have been started."""
    found: list[Case] = []

    def run(case: Case) -> dict[str, Any]:
        found.append(case)
        return _result(case)

    monkeypatch.setattr(runs, '_run', run)
    return found


def test_a_finished_case_is_not_measured_again(started: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = Runs(tmp_path).result(PSPNET)
    assert Runs(tmp_path).result(PSPNET) == first and started == [PSPNET]
    Runs(tmp_path).result(dataclasses.replace(PSPNET, steps=7))
    assert len(started) == 2
    monkeypatch.setattr(runs, '_source_digest', lambda: 'other code')
    Runs(tmp_path).result(PSPNET)
    assert len(started) == 3


def test_a_share_of_the_peak_is_asked_for_in_megabytes(started: list[Case], tmp_path: Path):
    found = Runs(tmp_path).against_plain(PSPNET, ('auto', '30%peak'))
    assert [case.request for case in started] == ['plain', 'auto', '60MB']
    assert found['30%peak']['peak_of_plain'] == 0.5 and found['30%peak']['cpu_time_of_plain'] == 1.2
    assert found['auto']['loss_equals_plain'] and found['auto']['predicted_of_measured'] == 2.2


def test_a_refusal_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runs, '_run', lambda case: {'refused': 'no'} if case.request == '10%' else _result(case))
    assert Runs(tmp_path).against_plain(PSPNET, ('10%',))['10%'] == {'refused': 'no'}


def _runs(process: str) -> bool:
    """Not one that has ended, or waits only to be asked how."""
    status = Path(f'/proc/{process}/stat')
    return status.exists() and status.read_text().rpartition(')')[2].split()[0] != 'Z'


def test_terminated_it_leaves_no_worker_behind(tmp_path: Path):
    started = [sys.executable, '-m', 'benchmarks.gradient_checkpointing', '--suite', 'depth', '--only', 'chain16']
    parent = subprocess.Popen([*started, '--work_dir', str(tmp_path)], stderr=subprocess.DEVNULL)
    children = Path(f'/proc/{parent.pid}/task/{parent.pid}/children')
    while not (workers := children.read_text().split()):
        assert parent.poll() is None, 'it has ended by itself'
        time.sleep(0.1)
    time.sleep(1)  # until the worker has begun as a program of its own
    parent.terminate()
    assert parent.wait(timeout=60) != 0
    assert not any(map(_runs, workers))


def test_a_failed_process_is_one_line(tmp_path: Path):
    with pytest.raises(UserError, match=r'chainx_.*: failed with exit code 1: .*; the same command goes on'):
        Runs(tmp_path).result(Case(model='chainx', height=8, width=8, batch=1))


def test_the_largest_batch_is_the_last_within_16_gib(started: list[Case], tmp_path: Path, monkeypatch):
    monkeypatch.setattr('engine.memory.available_bytes', lambda: 20 * 1024**3)
    found = suites.batch(Runs(tmp_path), '')
    # 17,179.9 MB less 1,000 of the process: 161 images of 100 MB. Plans take half, and refuse above their share.
    assert found['plain']['batch'] == 161 and found['planned']['batch'] == 252
    assert found['planned']['memory_budget'] == '12627MB' and found['planned']['extra_forward_work'] == 0.6
    assert found['time_per_image_of_plain'] == 1.2 and {case.height for case in started} == {713}
    smaller = suites.batch(Runs(tmp_path), '', crop=449, limit_gib=8)
    assert smaller['crop'] == 449 and started[-1].width == 449 and smaller['plain']['batch'] == 75


def test_a_plan_that_takes_more_than_predicted_is_measured_with_fewer(started: list[Case], tmp_path: Path, monkeypatch):
    monkeypatch.setattr('engine.memory.available_bytes', lambda: 20 * 1024**3)
    monkeypatch.setattr(suites, '_PLANNED_SHARE', 1.0)
    found = suites.batch(Runs(tmp_path), '')
    assert found['planned']['batch'] == 323 and found['planned']['total_mb'] <= 17_180


@given(limit=st.integers(1, 400), fixed=st.integers(0, 40), each=st.integers(1, 30), bend=st.floats(-0.3, 0.3))
def test_the_search_ends_at_a_size_that_fits(limit: int, fixed: int, each: int, bend: float):
    def total(size: int) -> float:
        return fixed + each * size ** (1 + bend)

    known = {size: total(size) for size in (2, 4)}
    size = suites._next_size(known, limit)
    while size and size not in known:
        known[size] = total(size)
        size = suites._next_size(known, limit)
    assert total(size) <= limit or size == 0
    if not bend:
        assert total(size + 1) > limit


def test_a_limit_that_is_too_small_for_one_picture_is_told(started: list[Case], tmp_path: Path):
    with pytest.raises(UserError, match='--limit_gib: not one picture fits into plain training; choose more'):
        suites.batch(Runs(tmp_path), '', limit_gib=0.5)


def test_the_largest_batch_has_no_cases_to_choose_from():
    with pytest.raises(UsageError, match='--only: --suite batch has no cases to choose from'):
        gradient_checkpointing.main(['--suite', 'batch', '--only', 'plain'])


@pytest.mark.parametrize('flags', [['--crop', '-5'], ['--crop', '0'], ['--limit_gib', '-1'], ['--limit_gib', 'nan']])
def test_sizes_are_above_0(flags: list[str]):
    with pytest.raises(UsageError, match=f'{flags[0]}: got {flags[1]}, choose above 0'):
        gradient_checkpointing.main(['--suite', 'batch', *flags])


def test_the_largest_batch_is_not_looked_for_without_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr('engine.memory.available_bytes', lambda: 3 * 1024**3)
    with pytest.raises(UserError, match=r'--suite batch: needs 16 GiB of free memory, there are 3\.0'):
        suites.batch(Runs(tmp_path), '')


@pytest.mark.parametrize('has_bfloat16', [False, True])
def test_predicted_counts_what_is_within_bounds(started: list[Case], tmp_path: Path, monkeypatch, has_bfloat16: bool):
    monkeypatch.setattr('core.processor.has_bfloat16', lambda: has_bfloat16)
    found = suites.predicted(Runs(tmp_path), '')
    assert found['cases'] == 11 + has_bfloat16 and found['runs'] == 2 * found['cases'] == len(started)
    within = [row for row in found['predicted'] if 0.85 <= row['predicted_of_measured'] <= 1.15]
    assert found['within_0.15'] == len(within)


def test_depth_fits_an_exponent(started: list[Case], tmp_path: Path):
    assert suites.depth(Runs(tmp_path), '')['exponent_of_peak'] == 0.0


def test_a_picture_belongs_to_the_timeline():
    with pytest.raises(UsageError, match='--picture: is drawn by --suite timeline, not depth'):
        gradient_checkpointing.main(['--suite', 'depth', '--picture', 'x.png'])
    with pytest.raises(UsageError, match='--crop: is of --suite batch, not depth'):
        gradient_checkpointing.main(['--suite', 'depth', '--crop', '449', '--limit_gib', '8'])


def test_a_chain_trains_alike_plain_and_planned():
    plain, planned = (_worker(request) for request in ('plain', 'memory'))
    assert plain['loss'] == planned['loss'] and plain['extra_work'] == 0 and planned['extra_work'] > 0.1
    assert planned['activations_kept'] < 1 and planned['peak_mb'] > 0 and len(planned['seconds']) == 1


def _worker(request: str) -> dict[str, Any]:
    case = Case(model='chain4', height=33, width=49, batch=2, request=request, steps=2)
    described = json.dumps(dataclasses.asdict(case))
    said = forked.run(gradient_checkpointing.main, ['--worker', described])
    return json.loads(said.splitlines()[-1])
