"""Compression in several small cuts, with training after each: the network never loses much at once.

Han et al. (arXiv:1506.02626, section 3.3) and Molchanov et al. (arXiv:1611.06440, section 2) prune in turns with
training. One schedule of the learning rate runs over all trainings: each goes on at the step, and with the optimiser's
slots, that the one before it ended with, cut as the weights were.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import logging
import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from builders import config_loader, input_builder
from compression import selection, tracing
from compression.targets import Amount, Target
from core.errors import UsageError, UserError
from engine import (
    batch_norm_statistics,
    best_checkpoint,
    checkpoints,
    compress_lib,
    compression_plan,
    compression_report,
    devices,
    eval_results,
    inference,
    latency,
    retraining,
    train_evaluation,
    train_lib,
)
from engine.compression_plan import Options, Origin
from engine.compression_report import CompressionReport, IterationRow
from engine.interruption import Interruption

_LOGGER = logging.getLogger(__name__)

CHOICES = 'iterations.json'
ORIGINAL = 'original.config'
CUT = 'cut'
AVERAGES = 'averages'
# Of training data, for batch norm's averages before every cut but the first.
_AVERAGED_BATCHES = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Iterations:
    """How a network is cut in turns with training.

    Attributes:
      number: of cuts.
      retrain_steps: of training after each.
      distill: the whole network teaches; its weight and temperature are those of the config's `distillation`, if any.
    """

    number: int
    retrain_steps: int
    distill: bool = False


def compress(
    config: Any,
    *,
    checkpoint: str,
    output_dir: str,
    options: Options,
    iterations: Iterations,
    pictures: bool = False,
    named: Sequence[tuple[str, str]] = (),
) -> CompressionReport:
    """As `compress_lib.compress`, with a trained network in `output_dir` and what led to it in `iteration-<k>` in it.

    What an earlier call with the same choices has finished is taken as it is; an interrupted training goes on from its
    newest checkpoint.

    Args: as `compress_lib.compress`; `options.soft_apply` has no meaning here.

    Raises also:
      UsageError: no training data, or an `output_dir` that holds an iterative compression of other choices.
      UserError: training ended before its last step, by a signal or the end of the records.
    """
    batch_norm_statistics.check(config, '--iterations')
    input_builder.check_reader(config, 'train')
    config_loader.validate(config, 'train')
    reader = checkpoints.read(checkpoint)
    compress_lib.check_output_dir(output_dir, reader.path)
    _claim(config, reader.path, output_dir, options, iterations)
    final = compression_report.read(os.path.join(output_dir, compress_lib.REPORT))
    if final and checkpoints.all_checkpoints(output_dir):
        return final
    return _Run(config, reader.path, output_dir, options, iterations, pictures, named).run()


class _Run:
    def __init__(
        self,
        config: Any,
        checkpoint: str,
        output_dir: str,
        options: Options,
        iterations: Iterations,
        pictures: bool,
        named: Sequence[tuple[str, str]],
    ):
        self._checkpoint, self._output_dir = checkpoint, output_dir
        self._options, self._iterations = options, iterations
        self._pictures, self._named, self._config = pictures, named, config
        self._evaluated = _has_eval_records(config)
        model = inference.build_model(config)
        graph = tracing.trace(model, size=options.size)
        selection.check_named(graph, named)
        self._origin = Origin.of(config, graph)
        self._whole = compression_plan.whole(model, graph, config, options) if options.target else 0.0

    def run(self) -> CompressionReport:
        rows = []
        for number in range(1, self._iterations.number + 1):
            self._cut(number)
            self._retrain(number)
            gc.collect()  # models and their compiled steps refer to each other
            rows.append(self._row(number))
            _LOGGER.info(compression_report.iterations_table(rows[-1:]))
        self._keep_best()
        return self._publish(rows)

    def _folder(self, number: int) -> str:
        return os.path.join(self._output_dir, f'iteration-{number}')

    def _cut_folder(self, number: int) -> str:
        return os.path.join(self._folder(number), CUT)

    def _last_step(self, number: int) -> int:
        return number * self._iterations.retrain_steps

    def _cut(self, number: int) -> None:
        folder = self._cut_folder(number)
        if checkpoints.all_checkpoints(folder):
            return
        config, checkpoint = self._config, self._checkpoint
        if number > 1:
            config = self._cut_config(number - 1)
            checkpoint = self._averaged(number, config)
        if tf.io.gfile.exists(folder):
            tf.io.gfile.rmtree(folder)
        _LOGGER.info('iteration %d of %d: cut', number, self._iterations.number)
        compress_lib.compress(
            config,
            checkpoint=checkpoint,
            output_dir=folder,
            options=options_of(self._options, number, self._iterations.number, whole=self._whole),
            pictures=self._pictures,
            named=self._named,
            origin=self._origin,
        )

    def _averaged(self, number: int, config: Any) -> str:
        """The checkpoint, of `config`, of the training before cut `number`, with batch norm's averages measured again.

        Those of a short training at a high rate lag behind its weights. Refitted kernels would make what the network
        makes with such averages, which is not what it makes in training.
        """
        folder = os.path.join(self._folder(number), AVERAGES)
        if not checkpoints.all_checkpoints(folder):
            nothing = Options(factor=1.0, size=self._options.size, num_images=0, recalibrate_batches=_AVERAGED_BATCHES)
            checkpoint = checkpoints.latest(self._folder(number - 1)) or ''
            compress_lib.compress(config, checkpoint=checkpoint, output_dir=folder, options=nothing)
        return checkpoints.latest(folder) or ''

    def _cut_config(self, number: int) -> Any:
        return config_loader.load(os.path.join(self._cut_folder(number), compress_lib.CONFIG))

    def _retrain(self, number: int) -> None:
        """From the first cut as a fine-tuning, from the others as if the training before had been of this network."""
        folder, last = self._folder(number), self._last_step(number)
        if self._is_trained(number):
            return
        if number > 1 and not checkpoints.all_checkpoints(folder):
            cut = checkpoints.latest(self._cut_folder(number)) or ''
            checkpoints.copy(cut, os.path.join(folder, os.path.basename(cut)))
        _LOGGER.info('iteration %d of %d: training to step %d', number, self._iterations.number, last)
        config = retraining.config_of(
            self._cut_config(number),
            cut=self._cut_folder(number),
            last_step=last,
            num_steps=self._last_step(self._iterations.number),
            evaluate_every=self._iterations.retrain_steps if self._evaluated else 0,
        )
        if self._iterations.distill:
            config.train_config.distillation.config_path = os.path.join(self._output_dir, ORIGINAL)
            config.train_config.distillation.checkpoint = self._checkpoint
        # The next cut compares logits and may measure times. A wish to stop that comes when training is over, as in its
        # last evaluation, is for the cuts that follow.
        with devices.graph_options_kept(), Interruption() as asked:
            step = train_lib.train(config, train_lib.TrainOptions(logdir=folder, max_checkpoints_to_keep=2))
        if step < last:
            raise UserError(f'{folder}: training ended at step {step} of {last}; the same command goes on from there')
        if asked.requested and number < self._iterations.number:
            raise UserError(f'{asked.requested}: stopped after iteration {number}; the same command goes on from there')

    def _is_trained(self, number: int) -> bool:
        newest, last = checkpoints.latest(self._folder(number)), self._last_step(number)
        if not newest or checkpoints.step_of(newest) != last:
            return False
        return not self._evaluated or self._mean_iou(number, last) is not None

    def _mean_iou(self, number: int, step: int) -> float | None:
        path = eval_results.path_of_step(os.path.join(self._folder(number), train_evaluation.DIRNAME), step)
        if not tf.io.gfile.exists(path):
            return None
        with tf.io.gfile.GFile(path) as file:
            return json.loads(file.read())['mean_iou']

    def _row(self, number: int) -> IterationRow:
        cut = self._cut_report(number)
        last = self._last_step(number)
        return IterationRow(
            iteration=number,
            share=cut.share,
            parameters=cut.after.parameters,
            gflops=cut.after.gflops,
            difference=cut.difference,
            mean_iou_before_training=self._mean_iou(number, last - self._iterations.retrain_steps),
            step=last,
            mean_iou=self._mean_iou(number, last),
        )

    def _cut_report(self, number: int) -> CompressionReport:
        path = os.path.join(self._cut_folder(number), compress_lib.REPORT)
        report = compression_report.read(path)
        if report is None:
            raise UserError(f'{path}: is missing; remove {self._folder(number)}, and it is done again')
        return report

    def _keep_best(self) -> None:
        """Of the last training: networks before it are larger than what was asked for."""
        folder = os.path.join(self._folder(self._iterations.number), best_checkpoint.DIRNAME)
        best = best_checkpoint.read(folder)
        if self._evaluated and best:
            best_checkpoint.keep(
                os.path.join(self._output_dir, best_checkpoint.DIRNAME),
                os.path.join(folder, best.checkpoint),
                metric=best.metric,
                value=best.value,
                step=best.step,
            )

    def _publish(self, rows: list[IterationRow]) -> CompressionReport:
        folder = self._folder(self._iterations.number)
        first, last = self._cut_report(1), self._cut_report(self._iterations.number)
        config = config_loader.load(os.path.join(folder, compress_lib.CONFIG))
        reader = checkpoints.read(folder)
        report = compression_report.joined(first, last, dataclasses.asdict(self._options), rows)
        if self._options.num_images:
            models = [inference.build_model(each) for each in (self._config, config)]
            times = latency.measure(models, size=self._options.size, num_images=self._options.num_images)
            report = report.with_figures('latency_ms', before=times[0], after=times[1])
        tensors = {name: reader.tensor(name) for name in reader.shapes}
        step = self._last_step(self._iterations.number)
        return compress_lib.write(tensors, step, config, report, self._output_dir, None)


def options_of(options: Options, number: int, total: int, *, whole: float = 0.0) -> Options:
    """What cut `number` (1..total) removes: each takes the same share of what is left, the last lands on the target.

    Args:
      options: of all cuts together. A share of filters is meant of the original network in each of them.
      whole: what the target limits, of the original network.
    """
    done = number / total
    if options.target is None:
        return dataclasses.replace(options, factor=options.factor if number == total else options.factor**done)
    goal = options.target.amount.of(whole)
    value = goal if number == total else whole * min(1.0, goal / whole) ** done
    return dataclasses.replace(options, target=Target(options.target.kind, Amount(value)))


def _has_eval_records(config: Any) -> bool:
    if not config.HasField('eval_input_reader'):
        return False
    return any(tf.io.gfile.glob(path) for path in config.eval_input_reader.tf_record_input_reader.input_path)


def _claim(config: Any, checkpoint: str, output_dir: str, options: Options, iterations: Iterations) -> None:
    """Notes in `output_dir` what it is made of. Raises UsageError where that is something else already."""
    choices = {'checkpoint': checkpoint, **dataclasses.asdict(iterations), **dataclasses.asdict(options)}
    choices = json.loads(json.dumps(choices))
    path, original = (os.path.join(output_dir, name) for name in (CHOICES, ORIGINAL))
    if not tf.io.gfile.exists(path):
        config_loader.save(config, original)
        eval_results.write_json(choices, path)
        return
    with tf.io.gfile.GFile(path) as file:
        before = json.loads(file.read())
    changed = [f'{key}={before[key]!r}' for key in choices if key in before and choices[key] != before[key]]
    if config_loader.load(original) != config:
        changed.append('another config')
    if changed:
        raise UsageError(
            f'--output_dir: {output_dir} was begun with {", ".join(changed)}; give the same choices to go on, or '
            'another folder'
        )
