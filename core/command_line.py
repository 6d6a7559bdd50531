"""Flags and exits shared by every script; imports no TensorFlow, so mistakes are answered at once."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

from core.errors import UserError, first_line

INTERRUPTED = 130  # the exit code after Ctrl-C, as shells have it
_FLAG = re.compile(r'-{1,2}[A-Za-z]\w')
# argparse's words for a text that `type` does not take, and ours.
_NO_NUMBER = re.compile(r'invalid (int|float) value: (.*)')
_NUMBERS = {'int': 'whole number', 'float': 'number'}


class _Parser(argparse.ArgumentParser):
    """Prints `error: ...`, for an unknown flag with the nearest one there is, and exits with 2."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[override]
        given = sys.argv[1:] if args is None else list(args)
        unknown = self._unknown_flags(given)
        if unknown:  # before argparse complains of the required flag that a misspelt one was meant to be
            self.error('; '.join(f'unknown flag {flag}{self._nearest(flag)}' for flag in unknown))
        return super().parse_known_args(given, namespace)

    def error(self, message: str):
        message = _NO_NUMBER.sub(lambda found: f'got {found[2]}, choose a {_NUMBERS[found[1]]}', message)
        self.exit(2, f'error: {message}\nTry: {self.prog} --help\n')

    def _unknown_flags(self, args: Sequence[str]) -> list[str]:
        flags = [arg.partition('=')[0] for arg in args[: args.index('--') if '--' in args else None]]
        return [flag for flag in flags if _FLAG.match(flag) and flag not in self._option_string_actions]

    def _nearest(self, flag: str) -> str:
        names = {option.lstrip('-'): option for option in self._option_string_actions}
        near = difflib.get_close_matches(flag.lstrip('-'), names, n=1)
        return f', did you mean {names[near[0]]}?' if near else ''


def make_parser(description: str, examples: str = '') -> argparse.ArgumentParser:
    """An argument parser whose --help shows defaults and worked examples.

    Args:
      description: what the script does, from what, to what.
      examples: command lines with a word of explanation each, shown verbatim below the flags.
    """
    parser = _Parser(
        description=description,
        epilog=f'examples:\n{examples}' if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument('--helpfull', '--helpshort', action='help', help=argparse.SUPPRESS)  # absl's names
    return parser


def parse_bool(text: str) -> bool:
    """`true`, `1`, `yes` and their opposites, in any case."""
    value = text.lower()
    if value in ('true', '1', 'yes', 't', 'y'):
        return True
    if value in ('false', '0', 'no', 'f', 'n'):
        return False
    raise argparse.ArgumentTypeError(f'got {text!r}, choose true or false')


def add_boolean(parser: argparse._ActionsContainer, name: str, *, default: bool | None, help: str) -> None:
    """Adds `--name`, `--name=true|false` and `--noname`, as absl and TF1 scripts accept them.

    With the default None, `help` says what holds where the flag is not given.
    """
    parser.add_argument(
        f'--{name}',
        nargs='?',
        const=True,
        default=default,
        type=parse_bool,
        metavar='BOOL',
        help=help if default is None else f'{help} (default: {str(default).lower()})',
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

    What the operating system refuses (no space, no permission), and memory that runs out, count as such mistakes. Set
    SEGMENTATION_TRACEBACK=1 to see the traceback of them as well.
    """
    try:
        sys.exit(main(None) or 0)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has left: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except Exception as error:
        said = _said(error)
        if said is None or os.environ.get('SEGMENTATION_TRACEBACK'):
            raise
        for line in said.splitlines():
            print(f'error: {line}', file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, UserError) else 1)


# What the operating system says, as TensorFlow repeats it.
_DISK_FULL = ('No space left on device', 'Disk quota exceeded', 'File too large')


def _said(error: Exception) -> str | None:
    """What the user reads of an error; None if it is a defect of the program, whose traceback is wanted."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return ': '.join(str(part) for part in (error.filename, error.strerror) if part)
    if 'tensorflow' not in sys.modules:
        return None
    errors = sys.modules['tensorflow'].errors
    said = first_line(error)
    if isinstance(error, errors.OpError) and any(refusal in said for refusal in _DISK_FULL):
        return f'{said}; make room and run the same command again, what is finished is kept'
    if isinstance(error, errors.ResourceExhaustedError):
        return f'out of memory: {said}; choose a smaller train_config.batch_size or crop'
    file_errors = (errors.NotFoundError, errors.PermissionDeniedError, errors.FailedPreconditionError)
    return said if isinstance(error, file_errors) and getattr(error, 'op', None) is None else None
