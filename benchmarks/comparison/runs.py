"""One training and evaluation for each extractor and seed."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import runner
from builders import config_loader
from core.errors import UserError


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
    def piece(self) -> runner.Piece:
        """What the runner carries out."""
        return runner.Piece(
            name=f'{self.extractor}, seed {self.seed}',
            folder=self.folder,
            fingerprint=self.fingerprint,
            work=functools.partial(_train_and_evaluate, self),
        )


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
    return runner.finished([run.piece for run in runs])


def complete(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The results of all, starting what is not finished; progress on stderr."""
    return runner.complete([run.piece for run in runs])


def _train_and_evaluate(run: Run) -> dict[str, Any]:
    config = ['--config_path', run.config_path, *(word for text in run.overrides for word in ('--set', text))]
    folder, name = str(run.folder), run.piece.name
    runner.run_script('train.py', [*config, '--logdir', folder, '--max_checkpoints_to_keep', '2'], name=name)
    runner.run_script('eval.py', [*config, '--train_dir', folder, '--eval_dir', f'{folder}/eval'], name=name)
    metrics = json.loads((run.folder / 'eval' / 'metrics.json').read_text(encoding='utf-8'))
    if metrics['step'] != run.num_steps:
        raise UserError(f'{name}: training ended at step {metrics["step"]} of {run.num_steps}; start it again')
    return {
        **{'extractor': run.extractor, 'seed': run.seed, 'step': run.num_steps},
        **{key: metrics[key] for key in ('mean_iou', 'pixel_accuracy', 'class_iou')},
    }
