"""Several artefacts timed in one run: a process for each, one inference of each in turn, on the same machine."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError
from engine.timing.artefact import Artefact

_ROOT = Path(__file__).resolve().parent.parent.parent


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """threads: of each process. warm_up: inferences before those that count. rounds: inferences that count."""

    threads: int = 2
    warm_up: int = 2
    rounds: int = 10


class Worker:
    """The process of one artefact; see `engine.timing.worker`. Close it, or use `workers`."""

    def __init__(self, artefact: Artefact, image: str, settings: Settings):
        self.artefact = artefact
        told = {
            'artefact': dataclasses.asdict(artefact),
            'image': image,
            'threads': settings.threads,
            'warm_up': settings.warm_up,
        }
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'engine.timing.worker', json.dumps(told)],
            cwd=_ROOT,
            env=os.environ | {'OMP_NUM_THREADS': str(settings.threads), 'TF_CPP_MIN_LOG_LEVEL': '3'},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.about = self._answer()

    def ask(self, command: str) -> Any:
        """One line of the protocol; UserError if the process has died."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer that is missing then tells why
            self._process.stdin.write(command + '\n')
            self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self._errors.seek(0)
        said = [text for text in self._errors.read().decode(errors='replace').splitlines() if text.strip()]
        self.close()
        reason = said[-1].removeprefix('error: ') if said else 'out of memory?'
        raise UserError(f'{self.artefact.name}: its process ended with exit code {code}: {reason}')


@contextlib.contextmanager
def workers(
    artefacts: Sequence[Artefact],
    image: np.ndarray,
    settings: Settings,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[list[Worker]]:
    """A loaded and warm process for each artefact, on one image uint8 [1, H, W, C]."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        path = os.path.join(folder, 'image.npy')
        np.save(path, image)
        started = []
        for artefact in artefacts:  # one after another: loading is not to disturb the loading of the next
            progress(f'loading {artefact.name}')
            worker = Worker(artefact, path, settings)
            stack.callback(worker.close)
            started.append(worker)
        yield started


def measure(
    started: Sequence[Worker], settings: Settings, progress: Callable[[str], None] = lambda _: None
) -> list[dict[str, Any]]:
    """A row for each worker, see `summary`, from `settings.rounds` rounds in which each runs once, in turn."""
    times: list[list[dict[str, float]]] = [[] for _ in started]
    for number in range(settings.rounds):
        for worker, own in zip(started, times, strict=True):
            own.append(worker.ask('run'))
        progress(f'round {number + 1} of {settings.rounds}')
    return [
        {'name': worker.artefact.name, **summary(own), **worker.ask('memory')}
        for worker, own in zip(started, times, strict=True)
    ]


def summary(times: Sequence[dict[str, float]]) -> dict[str, float]:
    """Milliseconds (median, 95th percentile, least; of processor time the median), and images a second."""
    seconds = [one['seconds'] for one in times]
    median = statistics.median(seconds)
    return {
        'median_ms': round(1e3 * median, 2),
        'p95_ms': round(1e3 * float(np.percentile(seconds, 95)), 2),
        'least_ms': round(1e3 * min(seconds), 2),
        'processor_ms': round(1e3 * statistics.median(one['processor_seconds'] for one in times), 2),
        'images_per_second': round(1 / median, 2),
    }


def predictions(worker: Worker) -> np.ndarray:
    """Its class ids of the image, [H, W]."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'predictions.npy')
        worker.ask(f'save {path}')
        return np.load(path)
