"""Runs one process of a tf.data service: the dispatcher, or a worker that reads, decodes and augments for trainings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from core import command_line
from core.errors import UsageError

_EXAMPLES = """\
  the dispatcher, once, on host0:
    python -m inputs.data_service_server --port=5050
  a worker, on each machine that lends its CPUs and sees the records under the same paths:
    python -m inputs.data_service_server --dispatcher=host0:5050 --address=host1 --port=5051
  a training that uses them:
    python train.py --config_path=my.config --logdir=/tmp/run --set train_input_reader.tf_data_service=host0:5050
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until it is stopped; returns the exit code."""
    parser = command_line.make_parser(__doc__ or '', _EXAMPLES)
    parser.add_argument('--port', type=int, default=0, help='to listen at; 0 takes a free one (default: 0)')
    parser.add_argument(
        '--dispatcher', metavar='HOST:PORT', help='be a worker of this dispatcher (default: be a dispatcher)'
    )
    parser.add_argument(
        '--address', default='localhost', metavar='HOST', help='where others reach this worker (default: localhost)'
    )
    flags = parser.parse_args(arguments)
    _check(flags)
    with command_line.quiet_start():
        import tensorflow as tf

    service = tf.data.experimental.service

    if flags.dispatcher is None:
        server = service.DispatchServer(service.DispatcherConfig(port=flags.port))
        address = server.target.removeprefix('grpc://')
        print(f'dispatcher at {address}', file=sys.stderr, flush=True)
    else:
        server = service.WorkerServer(
            service.WorkerConfig(
                dispatcher_address=flags.dispatcher,
                worker_address=f'{flags.address}:{flags.port or "%port%"}',
                port=flags.port,
            )
        )
        print(f'worker of {flags.dispatcher} at {server._address}', file=sys.stderr, flush=True)
    server.join()
    return 0


def _check(flags: argparse.Namespace) -> None:
    if not 0 <= flags.port < 1 << 16:
        raise UsageError(f'--port: got {flags.port}, choose 0..65535')
    host, _, port = (flags.dispatcher or 'host:1').rpartition(':')
    if not host or not port.isdecimal():
        raise UsageError(f'--dispatcher: got {flags.dispatcher!r}, write host:port')


if __name__ == '__main__':
    command_line.run(main)
