"""One training and evaluation for each extractor and seed, each once, whatever interrupts it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders import config_loader
from core.errors import UserError

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One extractor, one seed, one folder.

    Attributes:
      overrides: of the config, as `--set` takes them, extractor and seed included.
      fingerprint: of the config with the overrides applied; a result of another one is not taken for this run's.
    """

    extractor: str
    seed: int
    config_path: str
    overrides: tuple[str, ...]
    num_steps: int
    fingerprint: str
    folder: Path

    @property
    def name(self) -> str:
        return f'{self.extractor}, seed {self.seed}'

    @property
    def result_path(self) -> Path:
        return self.folder / 'result.json'


def plan(
    *, config_path: str, overrides: Sequence[str], extractors: Sequence[str], seeds: Sequence[int], output_dir: Path
) -> list[Run]:
    """Every run, seed by seed. Raises ConfigError for a mistake in any, before one is started."""
    architecture = config_loader.load(config_path, overrides).model.WhichOneof('model')
    runs = []
    for seed in seeds:
        for extractor in extractors:
            own = [
                *(*overrides, f'model.{architecture}.feature_extractor.type={extractor}'),
                f'train_config.random_seed={seed}',
            ]
            config = config_loader.load(config_path, own, purpose='train')
            config_loader.validate(config, 'eval')
            runs.append(
                Run(
                    extractor=extractor,
                    seed=seed,
                    config_path=config_path,
                    overrides=tuple(own),
                    num_steps=config.train_config.num_steps,
                    fingerprint=hashlib.sha256(config.SerializeToString(deterministic=True)).hexdigest(),
                    folder=output_dir / extractor / f'seed_{seed}',
                )
            )
    return runs


def finished(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The results that are there; UserError for one that another config left."""
    return [result for result in map(_read_result, runs) if result]


def complete(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The results of all, starting what is not finished; progress on stderr."""
    todo = [run for run in runs if not _read_result(run)]
    _say(f'{len(runs) - len(todo)} of {len(runs)} runs are finished')
    minutes: list[float] = []
    for number, run in enumerate(todo, 1):
        _say(f'[{number}/{len(todo)}] {run.name}{_time_left(minutes, len(todo) - number + 1)}')
        result = _carry_out(run)
        minutes.append(result['minutes'])
        _say(f'[{number}/{len(todo)}] {run.name}: mIoU {100 * result["mean_iou"]:.1f}, {result["minutes"]:.1f} minutes')
    return finished(runs)


def _read_result(run: Run) -> dict[str, Any] | None:
    if not run.result_path.exists():
        return None
    result = json.loads(run.result_path.read_text(encoding='utf-8'))
    if result['fingerprint'] != run.fingerprint:
        raise UserError(
            f'{run.result_path}: is the result of another config; choose another --output_dir, or remove it'
        )
    return result


def _carry_out(run: Run) -> dict[str, Any]:
    run.folder.mkdir(parents=True, exist_ok=True)
    config = ['--config_path', run.config_path, *(word for text in run.overrides for word in ('--set', text))]
    keep = ['--max_checkpoints_to_keep', '2']
    with _stopwatch(run.folder / 'seconds.json') as seconds_path:
        _run_script('train.py', [*config, '--logdir', str(run.folder), *keep], run)
        _run_script('eval.py', [*config, '--train_dir', str(run.folder), '--eval_dir', str(run.folder / 'eval')], run)
    metrics = json.loads((run.folder / 'eval' / 'metrics.json').read_text(encoding='utf-8'))
    if metrics['step'] != run.num_steps:
        raise UserError(f'{run.name}: training ended at step {metrics["step"]} of {run.num_steps}; start it again')
    result = {
        **{'extractor': run.extractor, 'seed': run.seed, 'step': run.num_steps, 'fingerprint': run.fingerprint},
        **{key: metrics[key] for key in ('mean_iou', 'pixel_accuracy', 'class_iou')},
        'minutes': round(json.loads(seconds_path.read_text(encoding='utf-8')) / 60, 2),
        'cpus': len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(),
    }
    _write_json(run.result_path, result)
    return result


def _run_script(script: str, flags: Sequence[str], run: Run) -> None:
    """Runs a script of the repository; interrupted, it lets it save what it has and then goes on being interrupted."""
    # A session of its own: Ctrl-C reaches this process alone, which then asks the script to end, once.
    process = subprocess.Popen([sys.executable, str(_ROOT / script), *flags], stdout=sys.stderr, start_new_session=True)
    try:
        with _termination_as_interrupt():
            code = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if code:
        raise UserError(
            f'{run.name}: {script} failed with exit code {code}, see above; start again to go on from there'
        )


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[None]:
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
        _write_json(path, before + time.monotonic() - started)


def _write_json(path: Path, content: Any) -> None:
    beside = path.with_name(f'{path.name}.tmp')
    beside.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    beside.replace(path)


def _time_left(minutes: Sequence[float], num_left: int) -> str:
    return f', about {statistics.mean(minutes) * num_left:.0f} minutes left' if minutes else ''


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
