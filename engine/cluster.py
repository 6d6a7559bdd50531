"""The workers of a training, as the environment variable TF_CONFIG names them; imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
import time
from collections.abc import Mapping
from typing import Any

from core.errors import UsageError, UserError

VARIABLE = 'TF_CONFIG'
_JOBS = ('chief', 'worker')
_EXAMPLE = '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'
_ADDRESS = re.compile(r'^[^\s:/]+:\d{1,5}$|^\[[0-9a-fA-F:.]+\]:\d{1,5}$')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """Two or more processes that train together; this is one of them.

    Attributes:
      jobs: {`chief` or `worker`: addresses `host:port`}, the chief's first.
      task_type: the job of this process.
      task_index: which of its job.
    """

    jobs: Mapping[str, tuple[str, ...]]
    task_type: str
    task_index: int

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of all processes, by rank."""
        return tuple(address for addresses in self.jobs.values() for address in addresses)

    @property
    def num_workers(self) -> int:
        """Processes, the chief among them."""
        return len(self.addresses)

    @property
    def rank(self) -> int:
        """Of this process, from 0 on: a chief's, if there is one, then the workers'. 0 writes the log directory."""
        return self.task_index + (len(self.jobs.get('chief', ())) if self.task_type == 'worker' else 0)

    @property
    def name(self) -> str:
        """For messages."""
        return f'worker {self.rank} of {self.num_workers}'


def from_environment(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """What TF_CONFIG says; None if it is unset or names one process alone. UsageError, in one line, if it is wrong."""
    text = environment.get(VARIABLE, '').strip()
    if not text:
        return None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _wrong(f'is not JSON ({error})') from error
    if not isinstance(content, dict):
        raise _wrong(f'got {_short(content)}, which is not a JSON object')
    jobs = _jobs(content.get('cluster') or {})
    if sum(map(len, jobs.values())) < 2:
        return None
    return _cluster(jobs, content.get('task'))


def meet(cluster: Cluster, seconds: float) -> None:
    """Waits until every other process of the cluster was seen at its address; to be called by each of them.

    TensorFlow's own waiting ends only when all have come, and does not say for whom it waits. Whoever has seen all
    leaves its port to TensorFlow's server, which answers the others.

    Raises UserError, with the first that is missing, after so many seconds, or if this one's port is taken.
    """
    deadline = time.monotonic() + seconds
    missing = [rank for rank in range(cluster.num_workers) if rank != cluster.rank]
    with _listening(cluster):
        while missing:
            missing = [rank for rank in missing if not _answers(cluster.addresses[rank])]
            if missing and time.monotonic() > deadline:
                raise UserError(
                    f'{cluster.name}: worker {missing[0]} at {cluster.addresses[missing[0]]} did not answer within '
                    f'{seconds:g} s (train_config.distribution.start_timeout_seconds); start all workers of '
                    f'{VARIABLE}, and see that they reach each other'
                )
            time.sleep(0.2 if missing else 0)


def _listening(cluster: Cluster) -> socket.socket:
    """A socket at this process's port: the others' connections succeed, and that is all they want to know."""
    port = int(cluster.addresses[cluster.rank].rpartition(':')[2])
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(('', port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        return socket.create_server(('', port), backlog=1024)
    except OSError as error:
        raise UserError(
            f'{cluster.name}: cannot listen at port {port} ({error.strerror or error}); end what uses it, or name '
            f'another in {VARIABLE}'
        ) from error


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(':')
    try:
        socket.create_connection((host.strip('[]'), int(port)), timeout=5).close()
    except OSError:  # also a name that is not known yet
        return False
    return True


def _jobs(cluster: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(cluster, dict):
        raise _wrong(f'cluster: got {_short(cluster)}, which is not a JSON object')
    for job, addresses in cluster.items():
        if job == 'evaluator':
            raise _wrong('cluster: names an evaluator; leave it out, and run eval.py --follow instead')
        if job == 'ps':
            raise _wrong('cluster: names parameter servers (ps), of which there are none here; leave them out')
        if job not in _JOBS:
            raise _wrong(f'cluster: got job {job!r}, choose from chief, worker')
        if not isinstance(addresses, list) or not all(isinstance(address, str) for address in addresses):
            raise _wrong(f'cluster.{job}: got {_short(addresses)}, write a list of "host:port"')
        for address in addresses:
            if not _ADDRESS.match(address) or not 0 < int(address.rpartition(':')[2]) < 1 << 16:
                raise _wrong(f'cluster.{job}: got {address!r}, write "host:port" with a port in 1..65535')
    jobs = {job: tuple(cluster[job]) for job in _JOBS if cluster.get(job)}
    if len(jobs.get('chief', ())) > 1:
        raise _wrong(f'cluster.chief: got {len(jobs["chief"])} addresses, choose 1')
    everyone = [address for addresses in jobs.values() for address in addresses]
    for i, address in enumerate(everyone):
        if address in everyone[:i]:
            raise _wrong(f'cluster: {address} is there twice; each worker needs an address of its own')
    return jobs


def _cluster(jobs: Mapping[str, tuple[str, ...]], task: Any) -> Cluster:
    if not isinstance(task, dict):
        raise _wrong(f'task: got {_short(task)}, write {{"type": "worker", "index": 0}} with each worker\'s own index')
    kind, index = task.get('type'), task.get('index')
    if not isinstance(kind, str) or kind not in jobs:
        raise _wrong(f'task.type: got {kind!r}, choose from {", ".join(jobs)}')
    if isinstance(index, str) and index.isdecimal():
        index = int(index)
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(jobs[kind]):
        raise _wrong(f'task.index: got {index!r}, choose from 0..{len(jobs[kind]) - 1}')
    return Cluster(jobs=jobs, task_type=kind, task_index=index)


def _wrong(what: str) -> UsageError:
    return UsageError(f'{VARIABLE}: {what}; an example: {_EXAMPLE}; unset it to train on this machine alone')


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
