"""Flags and exits shared by every script; imports no TensorFlow, so mistakes are answered at once."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

from core.errors import UserError


class _Parser(argparse.ArgumentParser):
    """Prints `error: ...` with the nearest flag name, and exits with 2."""

    def error(self, message: str):
        self.exit(2, f'error: {message}\nTry: {self.prog} --help\n')


def make_parser(description: str, examples: str = '') -> argparse.ArgumentParser:
    """An argument parser whose --help shows defaults and worked examples.

    Args:
      description: what the script does, from what, to what.
      examples: command lines with a word of explanation each, shown verbatim below the flags.
    """
    return _Parser(
        description=description,
        epilog=f'examples:\n{examples}' if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def parse_bool(text: str) -> bool:
    """`true`, `1`, `yes` and their opposites, in any case."""
    value = text.lower()
    if value in ('true', '1', 'yes', 't', 'y'):
        return True
    if value in ('false', '0', 'no', 'f', 'n'):
        return False
    raise argparse.ArgumentTypeError(f'got {text!r}, choose true or false')


def add_boolean(parser: argparse.ArgumentParser, name: str, *, default: bool, help: str) -> None:
    """Adds `--name`, `--name=true|false` and `--noname`, as absl and TF1 scripts accept them."""
    parser.add_argument(
        f'--{name}',
        nargs='?',
        const=True,
        default=default,
        type=parse_bool,
        metavar='BOOL',
        help=f'{help} (default: {str(default).lower()})',
    )
    parser.add_argument(f'--no{name}', dest=name, action='store_const', const=False, help=argparse.SUPPRESS)


def add_config_flags(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Adds `--config_path` and the repeatable `--set path.to.field=value`."""
    parser.add_argument(
        '--config_path', required=required, metavar='FILE', help='pipeline .config (protobuf text format)'
    )
    parser.add_argument(
        '--set',
        dest='overrides',
        action='append',
        default=[],
        metavar='PATH=VALUE',
        help='override one config field, for example train_config.batch_size=4; repeatable; '
        'list fields take [a, b] or an index: preprocessor_step[0].random_image_scale.max_scale_ratio=1.5',
    )


# Source files of TensorFlow that report on its build at every start, whatever TF_CPP_MIN_LOG_LEVEL says.
_START_UP_NOISE = (b'before absl::InitializeLog()', b'port.cc:', b'cudart_stub.cc:', b'cuda_platform.cc:')


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """For the import of TensorFlow: its start-up lines are left out, anything else it writes is passed on afterwards.

    Devices are looked for before the end, because that is when the last of these lines is written.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
            if 'tensorflow' in sys.modules:
                sys.modules['tensorflow'].config.list_physical_devices()
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held_back.seek(0)
            for line in held_back:
                if not any(mark in line for mark in _START_UP_NOISE):
                    os.write(2, line)


def run(main: Callable[[Sequence[str] | None], int | None]) -> None:
    """Runs `main(None)` and exits: 0, 1 (failure), 2 (usage), 130 (interrupted); no traceback for a user's mistake.

    Set SEGMENTATION_TRACEBACK=1 to see the traceback of a UserError as well.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    try:
        sys.exit(main(None) or 0)
    except UserError as error:
        if os.environ.get('SEGMENTATION_TRACEBACK'):
            raise
        for line in str(error).splitlines():
            print(f'error: {line}', file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(130)
