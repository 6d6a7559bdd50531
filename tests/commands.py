"""Scripts as commands, within this process: starting Python and TensorFlow anew takes seconds, and tests little."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Callable, Iterator, Sequence

import pytest

from core import command_line


def exit_code(main: Callable[[Sequence[str] | None], int | None], flags: Sequence[str]) -> object:
    """What `python script.py FLAGS` exits with."""
    with pytest.raises(SystemExit) as ended:
        command_line.run(lambda _: main(flags))
    return ended.value.code


@contextlib.contextmanager
def full_disk(num_bytes: int) -> Iterator[None]:
    """Files cannot grow beyond this: what a full disk answers, without filling one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
