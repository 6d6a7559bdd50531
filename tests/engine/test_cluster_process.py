"""Two workers on loopback, in processes of their own: they train as one, and a lost one costs no step but time."""

from __future__ import annotations

import json

import pytest

from tests import forked
from tests.engine import cluster_runs

KILLED = -9


def run(folder, *arguments):
    said = forked.run(cluster_runs.main, [str(folder), *map(str, arguments)], patience_seconds=1800)
    return json.loads(said.splitlines()[-1])


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cluster')
    return {'folder': folder, **run(folder)}


def test_two_workers_train_as_one_process(report):
    assert report['one'][0]['codes'] == [0] and report['two'][0]['codes'] == [0, 0], report
    assert report['differences']['one'] < 1e-4
    said = '\n'.join(report['two'][0]['said'][0])
    assert '2 workers of 1 x CPU' in said and 'batch of 4 (2 for each of 2 devices)' in said


def test_workers_read_exactly_what_one_process_reads(report):
    assert report['same_examples'] is True


def test_the_chief_alone_writes(report):
    two, one = (set(report['files'][name]) for name in ('two', 'one'))
    saved = {f'model.ckpt-{step}.{kind}' for step in (6, 18) for kind in ('index', 'data-00000-of-00001')}
    of_evaluations = {'best', 'evaluation', *saved}
    more = {name for name in two - one if 'tfevents' not in name}
    assert more == {*of_evaluations, 'examples-worker-1.jsonl'}
    assert len([name for name in two if 'tfevents' in name]) == 1
    steps = [json.loads(line)['step'] for line in (report['folder'] / 'two' / 'metrics.jsonl').read_text().splitlines()]
    assert steps == list(range(2, 21, 2))


@pytest.mark.parametrize(('name', 'lost', 'survivor'), [('killed', 1, 0), ('chief_killed', 0, 1)])
def test_a_lost_worker_ends_the_others_in_one_line(report, name, lost, survivor):
    first = report[name][0]
    assert first['codes'][lost] == KILLED and first['codes'][survivor] == 1
    assert first['seconds'] < 60 and first['checkpoint'].startswith('model.ckpt-')
    last = first['said'][survivor][-1]
    assert last.startswith(f'WorkerLostError: worker {survivor} of 2: another worker is gone (')
    # Which of them depends on what the worker was doing.
    assert any(words in last for words in ('stopped sending heartbeats', 'onnection reset by peer', 'Socket closed'))
    assert f'{first["checkpoint"]}; run the same command on every worker to go on' in last


def test_two_workers_go_on_from_the_last_checkpoint_bit_equal(report):
    _, second = report['killed']
    assert second['codes'] == [0, 0]
    assert report['digests']['killed'] == report['digests']['two']


def test_one_process_goes_on_where_two_were(report):
    assert report['killed_then_one'][0]['codes'] == [0]
    assert report['differences']['killed_then_one'] < 1e-4
    said = '\n'.join(report['killed_then_one'][0]['said'][0])
    assert 'written with 2 replicas, this is a run with 1' in said


def test_a_worker_that_is_asked_to_stop_stops_all_after_the_same_step(report):
    (only,) = report['asked']
    assert only['codes'] == [0, 0]
    step = int(only['checkpoint'].removeprefix('model.ckpt-'))
    assert 3 < step < 20
    for rank, reason in enumerate(('another worker was asked to end', 'SIGTERM')):
        assert f'{reason}: stopped after step {step}, saved as' in only['said'][rank][-1]


def test_workers_of_different_configs_do_not_begin(report):
    (only,) = report['unlike']
    assert only['codes'] == [1, 1] and only['checkpoint'] == ''
    for rank, lines in enumerate(only['said']):
        assert lines[-1].startswith(f'UsageError: worker {rank} of 2: the config of worker 1 is not that of worker 0;')


def test_a_log_directory_that_is_not_shared_is_found(report):
    (only,) = report['apart']
    assert only['codes'][1] == 1
    assert 'worker 0 goes on from it, but worker 1 of 2 does not see it; --logdir must be' in only['said'][1][-1]


@pytest.mark.slow
def test_workers_lost_at_random_change_nothing(tmp_path):
    found = run(tmp_path, 3, 20)
    assert len(found['faults']) == 20 and found['codes'] == [[0, 0], [0, 0]]
    assert found['same_weights'] and found['same_examples'], found
