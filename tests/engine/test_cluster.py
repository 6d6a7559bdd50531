"""TF_CONFIG: what it says, and one line for everything that is wrong with it."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest
from google.protobuf import text_format

from core.errors import UsageError, UserError
from engine import cluster

TWO = {'worker': ['a:1', 'b:65535']}


def read(content):
    text = content if isinstance(content, str) else json.dumps(content)
    return cluster.from_environment({'TF_CONFIG': text})


@pytest.mark.parametrize('content', ['', ' ', '{}', '{"cluster": {}}', '{"cluster": {"worker": ["a:1"]}, "task": {}}'])
def test_one_process_is_no_cluster(content):
    assert read(content) is None
    assert cluster.from_environment({}) is None


@pytest.mark.parametrize(
    ('jobs', 'task', 'rank', 'count'),
    [
        (TWO, {'type': 'worker', 'index': 0}, 0, 2),
        (TWO, {'type': 'worker', 'index': 1}, 1, 2),
        (TWO, {'type': 'worker', 'index': '1'}, 1, 2),
        ({'worker': ['a:1', '[::1]:2'], 'chief': ['c:3']}, {'type': 'chief', 'index': 0}, 0, 3),
        ({'worker': ['a:1', 'b:2'], 'chief': ['c:3']}, {'type': 'worker', 'index': 0}, 1, 3),
        ({'worker': ['a:1', 'b:2'], 'chief': ['c:3']}, {'type': 'worker', 'index': 1}, 2, 3),
    ],
)
def test_ranks_are_those_of_tensorflow(jobs, task, rank, count):
    found = read({'cluster': jobs, 'task': task, 'environment': 'cloud'})
    assert found
    assert (found.rank, found.num_workers, found.name) == (rank, count, f'worker {rank} of {count}')
    assert next(iter(found.jobs)) == ('chief' if 'chief' in jobs else 'worker')


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ('{"cluster": ', 'is not JSON'),
        ('[1]', 'got [1], which is not a JSON object'),
        ({'cluster': ['a:1', 'b:2']}, 'cluster: got ["a:1", "b:2"], which is not a JSON object'),
        ({'cluster': {**TWO, 'ps': ['c:3']}}, 'names parameter servers (ps)'),
        ({'cluster': {**TWO, 'evaluator': ['c:3']}}, 'run eval.py --follow instead'),
        ({'cluster': {'workers': ['a:1', 'b:2']}}, "got job 'workers', choose from chief, worker"),
        ({'cluster': {'worker': 'a:1'}}, 'cluster.worker: got "a:1", write a list of "host:port"'),
        ({'cluster': {'worker': ['a:1', 'b']}}, 'cluster.worker: got \'b\', write "host:port" with a port in 1..65535'),
        ({'cluster': {'worker': ['a:1', 'b:70000']}}, "cluster.worker: got 'b:70000'"),
        ({'cluster': {'worker': ['a:1', 'http://b:7']}}, "cluster.worker: got 'http://b:7'"),
        ({'cluster': {'worker': ['a:1', 'a:1']}}, 'cluster: a:1 is there twice'),
        ({'cluster': {'worker': ['a:1'], 'chief': ['b:1', 'c:1']}}, 'cluster.chief: got 2 addresses, choose 1'),
        ({'cluster': TWO}, 'task: got null, write {"type": "worker", "index": 0}'),
        ({'cluster': TWO, 'task': {'type': 'chief', 'index': 0}}, "task.type: got 'chief', choose from worker"),
        ({'cluster': TWO, 'task': {'type': 'worker'}}, 'task.index: got None, choose from 0..1'),
        ({'cluster': TWO, 'task': {'type': 'worker', 'index': 2}}, 'task.index: got 2, choose from 0..1'),
        ({'cluster': TWO, 'task': {'type': 'worker', 'index': True}}, 'task.index: got True, choose from 0..1'),
    ],
)
def test_what_is_wrong_is_said_in_one_line(content, said):
    with pytest.raises(UsageError) as caught:
        read(content)
    line = str(caught.value)
    assert line.startswith('TF_CONFIG: ') and said in line and '\n' not in line
    assert 'an example: {"cluster"' in line and 'unset it to train on this machine alone' in line


def free_ports(count):
    sockets = [socket.create_server(('', 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def of_three():
    addresses = tuple(f'localhost:{port}' for port in free_ports(3))
    return [cluster.Cluster(jobs={'worker': addresses}, task_type='worker', task_index=i) for i in range(3)]


def test_workers_that_come_one_by_one_meet():
    workers, done = of_three(), []

    def come(worker):
        cluster.meet(worker, 30)
        with cluster._listening(worker):  # as TensorFlow's server does
            done.append(worker.rank)
            time.sleep(1)

    threads = [threading.Thread(target=come, args=(worker,)) for worker in workers]
    for thread in threads[:2]:
        thread.start()
    time.sleep(0.5)
    assert done == []
    threads[2].start()
    for thread in threads:
        thread.join(20)
    assert sorted(done) == [0, 1, 2]


def test_a_worker_that_does_not_come_is_named():
    first, _, last = of_three()
    with cluster._listening(last), pytest.raises(UserError) as caught:
        cluster.meet(first, 0.5)
    line = str(caught.value)
    assert line.startswith(f'worker 0 of 3: worker 1 at {first.addresses[1]} did not answer within 0.5 s (')
    assert '\n' not in line


def test_a_port_that_is_taken_is_said():
    first, *_ = of_three()
    with cluster._listening(first), pytest.raises(UserError, match=r'worker 0 of 3: cannot listen at port .*in use'):
        cluster.meet(first, 5)


NO_CLUSTER = None
OF_TWO = cluster.Cluster(jobs={'worker': ('a:1', 'b:2')}, task_type='worker', task_index=0)


@pytest.mark.parametrize(
    ('strategy', 'settings', 'said'),
    [
        ('MULTI_WORKER_MIRRORED', {'cluster': NO_CLUSTER}, 'but TF_CONFIG names no two workers; set it for train.py'),
        ('MIRRORED', {'cluster': OF_TWO}, 'got MIRRORED, but TF_CONFIG names 2 workers; unset it, or choose FROM_'),
        ('ONE_DEVICE', {'cluster': OF_TWO}, 'got ONE_DEVICE, but TF_CONFIG names 2 workers'),
        ('ONE_DEVICE', {'num_clones': 2}, 'got ONE_DEVICE with --num_clones=2; choose MIRRORED, or leave the flag out'),
        ('FROM_ENVIRONMENT', {'cluster': OF_TWO, 'num_clones': 2}, 'a worker without GPUs has one device'),
    ],
)
def test_a_strategy_that_does_not_fit_is_refused(strategy, settings, said):
    from engine import devices
    from protos.train_pb2 import Distribution

    distribution = text_format.Parse(f'strategy: {strategy}', Distribution())
    with pytest.raises(UsageError) as caught:
        devices.make_strategy(distribution, **settings)
    assert said in str(caught.value) and '\n' not in str(caught.value)


def test_mirrored_of_one_cpu_and_one_device_are_as_asked():
    from engine import devices
    from protos.train_pb2 import Distribution

    for name in ('MIRRORED', 'ONE_DEVICE', 'FROM_ENVIRONMENT'):
        strategy = devices.make_strategy(text_format.Parse(f'strategy: {name}', Distribution()))
        assert type(strategy).__name__ == ('MirroredStrategy' if name == 'MIRRORED' else 'OneDeviceStrategy')
        assert strategy.num_replicas_in_sync == 1
