"""Functions in processes of their own, which start at once: forks of a server that has TensorFlow, but not used it yet.

For tests of what a process ends with, of a killed one, and of what cannot be changed back: devices, determinism, number
formats. A fork of pytest itself would not do: its TensorFlow has devices and threads. What a script does before it
imports TensorFlow needs a new Python.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 300
# What is not imported there is imported by each fork.
_IMPORTED = ('pytest', 'engine.eval_lib', 'engine.train_lib', 'builders.model_builder', 'tests.tiny_training')
_CONTEXT = multiprocessing.get_context('forkserver')
_CONTEXT.set_forkserver_preload(list(_IMPORTED))


class Process:
    """`sys.exit(function(*arguments))`, of a function that has a name in its module."""

    def __init__(self, function: Callable[..., int | None], *arguments: Any):
        self._folder = tempfile.TemporaryDirectory()
        self._paths = [Path(self._folder.name, name) for name in ('output', 'errors')]
        for path in self._paths:
            path.touch()
        self._process = _CONTEXT.Process(target=_call, args=(self._paths, function, arguments), daemon=True)
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def code(self) -> int | None:
        """What it ended with, the negative number of a signal; None as long as it runs."""
        return self._process.exitcode

    @property
    def output(self) -> str:
        """What it has written to its standard output."""
        return self._paths[0].read_text(encoding='utf-8')

    @property
    def errors(self) -> str:
        """What it has written to its standard error."""
        return self._paths[1].read_text(encoding='utf-8')

    def send_signal(self, number: int) -> None:
        """If it runs."""
        if self.code is None:
            os.kill(self.pid, number)

    def finish(self, patience_seconds: float = PATIENCE_SECONDS) -> int:
        """Waits for its end, and returns its code."""
        self._process.join(patience_seconds)
        if self.code is None:
            self._process.kill()
            raise AssertionError(f'it hangs: {self.errors}')
        return self.code


def run(function: Callable[..., int | None], *arguments: Any, patience_seconds: float = PATIENCE_SECONDS) -> str:
    """The output of a process that is to end well."""
    process = Process(function, *arguments)
    code = process.finish(patience_seconds)
    assert code == 0, process.errors
    return process.output


def _call(paths: list[Path], function: Callable[..., int | None], arguments: tuple[Any, ...]) -> None:
    for descriptor, path in enumerate(paths, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), descriptor)
    sys.exit(function(*arguments))
