"""TensorFlow's coordination service: the one place that sets its timeouts, for which there is no public function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2 as _config
from tensorflow.python.eager import context as _context

_CoordinatedJob: Any = vars(_config)['CoordinatedJob']  # generated, without a stub
# Workers that have finished wait so long for the others before they end.
_SHUTDOWN_SECONDS = 60


def configure(num_tasks: Mapping[str, int], *, peer_timeout_seconds: float, start_timeout_seconds: float) -> None:
    """To be called before anything of TensorFlow runs; a multi-worker strategy that is made afterwards keeps it.

    Args:
      num_tasks: {job: processes}, the leader's job first.
      peer_timeout_seconds: a process that was silent so long is lost; the others are told.
      start_timeout_seconds: how long processes wait for each other at the start.
    """
    context = _context.context()
    assert context is not None
    context.configure_coordination_service(
        service_type='standalone',
        service_leader=f'/job:{next(iter(num_tasks))}/replica:0/task:0',
        cluster_register_timeout_in_ms=int(start_timeout_seconds * 1000),
        heartbeat_timeout_in_ms=int(peer_timeout_seconds * 1000),
        shutdown_barrier_timeout_in_ms=_SHUTDOWN_SECONDS * 1000,
        coordinated_jobs=[_CoordinatedJob(name=job, num_tasks=count) for job, count in num_tasks.items()],
    )
