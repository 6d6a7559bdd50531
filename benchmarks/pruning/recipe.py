"""The trainings, cuts and evaluations that the table of docs/compression.md is made of, as pieces for the runner."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import runner
from benchmarks.runner import Piece
from builders import config_loader
from core.errors import UserError
from protos.pipeline_pb2 import PipelineConfig

BASE, CONTINUED, SCRATCH, ITERATED = 'base', 'continued', 'scratch', 'iterated'
L1, L1_REFITTED, RANDOM_REFITTED = 'l1', 'l1_refitted', 'random_refitted'
TAYLOR_REFITTED, LATENCY_REFITTED = 'taylor_refitted', 'latency_refitted'
DISTILLED_REFITTED = 'distilled_refitted'
ROWS = (
    *(BASE, CONTINUED, SCRATCH, L1, L1_REFITTED, RANDOM_REFITTED),
    *(TAYLOR_REFITTED, DISTILLED_REFITTED, ITERATED, LATENCY_REFITTED),
)
ITERATIONS = 4
# Times the config's highest learning rate: the net has lost its state and has a third of the steps to come back.
# Found on seed 1 of the shipped config (docs/compression.md).
RETRAINING_RATE = 2.0
# Of the names of cuts whose kernels are solved for.
REFIT = '_refitted'


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every piece shares.

    Attributes:
      overrides: of the shipped config, as `--set` takes them.
      num_steps: S of the net that is compressed; retraining takes a third, the small net from scratch both.
      factor: share of filters that stay.
      refit_batches: training batches on which kernels are solved for.
      size: height and width of the image that arithmetic and latency are for.
    """

    config_path: str
    overrides: Sequence[str] = ()
    num_steps: int = 2000
    seed: int = 1
    factor: float = 0.5
    refit_batches: int = 6
    size: tuple[int, int] = (360, 480)
    output_dir: Path

    @property
    def retrain_steps(self) -> int:
        return round(self.num_steps / 3)

    def pieces(self) -> list[Piece]:
        """Every training and cut in the order to do them. Raises ConfigError for a mistake in the config."""
        base = self._from_scratch(BASE, self.num_steps)
        plain = {kind: self._cut(kind, base) for kind in ('taylor', 'latency', 'l1', 'random')}
        refitted = {
            row: self._cut(kind, base, refit=True, like=cut if kind == 'latency' else None)
            for row, (kind, cut) in zip(
                (TAYLOR_REFITTED, LATENCY_REFITTED, L1_REFITTED, RANDOM_REFITTED), plain.items(), strict=True
            )
        }
        trained = [
            piece
            for (row, cut), before in zip(refitted.items(), plain.values(), strict=True)
            for piece in (before, cut, self._retrained(row, cut))
        ]
        scratch = self._from_scratch(SCRATCH, self.num_steps + self.retrain_steps, narrower=True)
        distilled = self._retrained(DISTILLED_REFITTED, refitted[TAYLOR_REFITTED], teacher=base)
        l1, continued = self._retrained(L1, plain['l1']), self._retrained(CONTINUED, base)
        return [base, *trained, scratch, l1, distilled, self._iterated(base), continued]

    def config(self, num_steps: int, *, narrower: bool = False) -> tuple[list[str], PipelineConfig]:
        """The overrides for a training from scratch of `num_steps`, and the config that they make."""
        shipped = config_loader.load(self.config_path, self.overrides)
        kind = shipped.model.WhichOneof('model') or ''
        own = [*self.overrides]
        if narrower:
            scale = (getattr(shipped.model, kind).filter_scale or 1.0) * self.factor
            own.append(f'model.{kind}.filter_scale={scale:g}')
        if shipped.train_config.random_seed != self.seed:
            own.append(f'train_config.random_seed={self.seed}')
        own += schedule(shipped, num_steps)
        config = config_loader.load(self.config_path, own, purpose='train')
        config_loader.validate(config, 'eval')
        return own, config

    def _from_scratch(self, name: str, num_steps: int, *, narrower: bool = False) -> Piece:
        overrides, config = self.config(num_steps, narrower=narrower)
        folder = self.output_dir / name
        train = functools.partial(_train, name, folder, self.config_path, overrides, expected=config)
        return self._piece(name, folder, config.SerializeToString(deterministic=True).hex(), [], train)

    def _cut(self, kind: str, base: Piece, *, refit: bool = False, like: Piece | None = None) -> Piece:
        """A cut of `kind`; of the share of filters that the cut `like` has found, if given."""
        name = f'cuts/{kind}{REFIT if refit else ""}'
        folder = self.output_dir / name
        flags = [*self._cut_flags(kind), '--recalibrate_batches', '0', '--seed', str(self.seed)]
        # The config beside the checkpoint: paths and batch size are those of the training.
        start = ['--config_path', str(base.folder / 'pipeline.config'), '--input_checkpoint', str(base.folder)]
        batches = ['--refit_batches', str(self.refit_batches if refit else 0)]

        def compress() -> None:
            target = []
            if like:
                found = json.loads((like.folder / 'compression.json').read_text(encoding='utf-8'))
                target = ['--compression_factor', str(found['share']), '--divisor', str(found['options']['divisor'])]
            elif kind == 'latency':
                target = self._latency_target(name, start)
            given = [*start, '--output_dir', str(folder), *flags, *batches, *target]
            runner.run_script('compress.py', given, name=name)

        return self._piece(name, folder, [*flags, *batches], [base, *([like] if like else [])], compress)

    def _cut_flags(self, kind: str) -> list[str]:
        size = ['--latency_size', '{},{}'.format(*self.size), '--latency_images', '20']
        uniform = [*size, '--compression_factor', f'{self.factor:g}']
        return {
            'l1': [*uniform, '--criterion', 'l1'],
            'taylor': [*uniform, '--criterion', 'taylor'],
            'random': [*uniform, '--criterion', 'random'],
            'latency': [*size, '--criterion', 'taylor', '--scope', 'global'],
        }[kind]

    def _iterated(self, base: Piece) -> Piece:
        """All cuts and trainings by one command, which goes on where it was stopped."""
        folder, steps = self.output_dir / ITERATED, round(self.retrain_steps / ITERATIONS)
        flags = [*self._cut_flags('taylor'), '--latency_images', '0', '--refit_batches', str(self.refit_batches)]
        flags += ['--seed', str(self.seed), '--iterations', str(ITERATIONS), '--retrain_steps', str(max(1, steps))]
        rate = beginning_rate(self.config(self.num_steps)[1], RETRAINING_RATE)
        flags += [word for text in rate for word in ('--set', text)]
        start = ['--config_path', str(base.folder / 'pipeline.config'), '--input_checkpoint', str(base.folder)]

        def compress() -> None:
            runner.run_script('compress.py', [*start, '--output_dir', str(folder), *flags], name=ITERATED)

        return self._piece(ITERATED, folder, flags, [base], compress)

    def _latency_target(self, name: str, start: Sequence[str]) -> list[str]:
        """What the uniform cut takes, measured right before: the machine is as busy then as it will be in a minute."""
        uniform = self.output_dir / 'cuts' / 'uniform_for_latency'
        report = uniform / 'compression.json'
        if not report.exists():
            flags = [*self._cut_flags('l1'), '--recalibrate_batches', '0', '--refit_batches', '0']
            runner.run_script('compress.py', [*start, '--output_dir', str(uniform), *flags], name=name)
        milliseconds = json.loads(report.read_text(encoding='utf-8'))['after']['latency_ms']
        return ['--target_latency_ms', f'{milliseconds:g}']

    def _retrained(self, name: str, cut: Piece, *, teacher: Piece | None = None) -> Piece:
        folder = self.output_dir / name
        fixed = [
            *schedule(
                self.config(self.num_steps)[1], self.retrain_steps, shorter_warmup=True, rate_factor=RETRAINING_RATE
            ),
            f'train_config.fine_tune_checkpoint={cut.folder}',
            'train_config.fine_tune_checkpoint_type=segmentation',
        ]
        if teacher:
            fixed.append(f'train_config.distillation.config_path={teacher.folder / "pipeline.config"}')
            fixed.append(f'train_config.distillation.checkpoint={teacher.folder}')
        train = functools.partial(_train, name, folder, str(cut.folder / 'pipeline.config'), fixed)
        return self._piece(name, folder, fixed, [cut], train)

    def _piece(self, name: str, folder: Path, own: Any, made_from: Sequence[Piece], work: Callable[[], None]) -> Piece:
        content = json.dumps([own, [piece.fingerprint for piece in made_from]])
        return Piece(
            name=f'{name}, seed {self.seed}',
            folder=folder,
            fingerprint=hashlib.sha256(content.encode()).hexdigest(),
            work=functools.partial(_work, name, folder, work),
        )


def schedule(
    config: PipelineConfig, num_steps: int, *, shorter_warmup: bool = False, rate_factor: float = 1.0
) -> list[str]:
    """Overrides that make a training of `num_steps` whose learning rate ends where the config's does.

    It begins at `rate_factor` times the config's, where the schedule has one number to begin at.
    """
    path, rate = _learning_rate(config)
    shape = rate.WhichOneof('learning_rate') or ''
    overrides = [f'train_config.num_steps={num_steps}']
    if 'decay_steps' in getattr(rate, shape).DESCRIPTOR.fields_by_name:
        overrides.append(f'{path}.{shape}.decay_steps={num_steps}')
    overrides += beginning_rate(config, rate_factor)
    if shorter_warmup and rate.warmup.num_steps:
        overrides.append(f'{path}.warmup.num_steps={min(rate.warmup.num_steps, max(1, num_steps // 10))}')
    return overrides


def beginning_rate(config: PipelineConfig, factor: float) -> list[str]:
    """The override that multiplies the learning rate's beginning; none where the schedule has no one number for it."""
    path, rate = _learning_rate(config)
    shape = rate.WhichOneof('learning_rate') or ''
    beginning = getattr(getattr(rate, shape), 'initial_learning_rate', None)
    if not beginning or factor == 1.0:
        return []
    return [f'{path}.{shape}.initial_learning_rate={beginning * factor:g}']


def _learning_rate(config: PipelineConfig) -> tuple[str, Any]:
    """The path of the message LearningRate in the config, and the message."""
    optimizer = config.train_config.optimizer
    kind = optimizer.WhichOneof('optimizer') or ''
    return f'train_config.optimizer.{kind}.learning_rate', getattr(optimizer, kind).learning_rate


def _train(
    name: str, folder: Path, config_path: str, overrides: Sequence[str], expected: PipelineConfig | None = None
) -> None:
    """Goes on with what is in `folder`, or does nothing where its last step is there."""
    effective = folder / 'pipeline.config'
    if expected is None:
        expected = config_loader.load(config_path, overrides, purpose='train')
    if effective.exists() and config_loader.load(str(effective)) != expected:
        raise UserError(f'{folder}: holds a training of another config; choose another --output_dir, or remove it')
    words = [word for text in overrides for word in ('--set', text)]
    flags = ['--config_path', config_path, *words, '--logdir', str(folder), '--max_checkpoints_to_keep', '2']
    runner.run_script('train.py', flags, name=name)


def _work(name: str, folder: Path, make: Callable[[], None]) -> dict[str, Any]:
    """Makes the net in `folder`, then scores it on the evaluation records."""
    make()
    place = str(folder)
    flags = ['--config_path', f'{place}/pipeline.config', '--train_dir', place, '--eval_dir', f'{place}/eval']
    runner.run_script('eval.py', [*flags, '--report', 'false'], name=name)
    metrics = json.loads((folder / 'eval' / 'metrics.json').read_text(encoding='utf-8'))
    config = config_loader.load(f'{place}/pipeline.config')
    if not name.startswith('cuts/') and metrics['step'] != config.train_config.num_steps:
        raise UserError(
            f'{name}: training ended at step {metrics["step"]} of {config.train_config.num_steps}; start it again'
        )
    return {
        **{'name': name, 'step': metrics['step'], 'mean_iou': metrics['mean_iou']},
        **{'interval': metrics.get('intervals', {}).get('mean_iou'), 'class_iou': metrics['class_iou']},
    }


def results(pieces: Sequence[Piece]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, result) of each piece that is finished."""
    yield from ((result['name'], result) for result in runner.finished(pieces))
