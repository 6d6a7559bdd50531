"""Pieces of work that take minutes each, each done once, whatever interrupts it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError

_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One result that is kept in one folder.

    Attributes:
      name: for messages.
      folder: where `result.json` lies; made when it is carried out.
      fingerprint: of everything that the result depends on; another one's result is not taken for this piece's.
      work: makes the result, a JSON object; done again from the beginning if it was interrupted, so it is made of
        scripts that go on where they stopped.
      described: is told in one line of a finished result.
    """

    name: str
    folder: Path
    fingerprint: str
    work: Callable[[], dict[str, Any]]
    described: Callable[[dict[str, Any]], str] = lambda result: f'mIoU {100 * result["mean_iou"]:.1f}'

    @property
    def result_path(self) -> Path:
        return self.folder / 'result.json'

    def result(self) -> dict[str, Any] | None:
        """What an earlier call left, or None; UserError if another config did."""
        if not self.result_path.exists():
            return None
        result = json.loads(self.result_path.read_text(encoding='utf-8'))
        if result['fingerprint'] != self.fingerprint:
            raise UserError(
                f'{self.result_path}: is the result of another config; choose another --output_dir, or remove it'
            )
        return result


def finished(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """The results that are there."""
    return [result for piece in pieces if (result := piece.result())]


def complete(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """The results of all, in order, doing what is not finished; progress on stderr."""
    todo = [piece for piece in pieces if not piece.result()]
    say(f'{len(pieces) - len(todo)} of {len(pieces)} runs are finished')
    minutes: list[float] = []
    for number, piece in enumerate(todo, 1):
        say(f'[{number}/{len(todo)}] {piece.name}{_time_left(minutes, len(todo) - number + 1)}')
        result = _carry_out(piece)
        minutes.append(result['minutes'])
        say(f'[{number}/{len(todo)}] {piece.name}: {piece.described(result)}, {result["minutes"]:.1f} minutes')
    return finished(pieces)


def _carry_out(piece: Piece) -> dict[str, Any]:
    piece.folder.mkdir(parents=True, exist_ok=True)
    with _stopwatch(piece.folder / 'seconds.json') as seconds_path:
        worked = piece.work()
    result = {
        **worked,
        'fingerprint': piece.fingerprint,
        'minutes': round(json.loads(seconds_path.read_text(encoding='utf-8')) / 60, 2),
        'cpus': len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(),
    }
    write_json(piece.result_path, result)
    return result


def run_script(script: str, flags: Sequence[str], *, name: str) -> None:
    """Runs a script of the repository; interrupted, it lets it save what it has and then goes on being interrupted.

    Args:
      script: `train.py`, or a module such as `-m benchmarks.x`.
      name: of the piece that it is for. Raises UserError if the script fails.
    """
    # A session of its own: Ctrl-C reaches this process alone, which then asks the script to end, once.
    start = [sys.executable, *script.split()] if script.startswith('-m') else [sys.executable, str(_ROOT / script)]
    process = subprocess.Popen([*start, *flags], stdout=sys.stderr, start_new_session=True)
    try:
        with termination_as_interrupt():
            code = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if code:
        raise UserError(f'{name}: {script} failed with exit code {code}, see above; start again to go on from there')


@contextlib.contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt in its block, so that processes started there are ended as on Ctrl-C."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _stopwatch(path: Path) -> Iterator[Path]:
    """Adds the seconds of its block to the number in a file, when it is interrupted as well."""
    started = time.monotonic()
    try:
        yield path
    finally:
        before = json.loads(path.read_text(encoding='utf-8')) if path.exists() else 0.0
        write_json(path, before + time.monotonic() - started)


def write_json(path: Path, content: Any) -> None:
    """Writes beside and renames."""
    beside = path.with_name(f'{path.name}.tmp')
    beside.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    beside.replace(path)


def _time_left(minutes: Sequence[float], num_left: int) -> str:
    return f', about {statistics.mean(minutes) * num_left:.0f} minutes left' if minutes else ''


def say(line: str) -> None:
    """Progress, at once."""
    print(line, file=sys.stderr, flush=True)
