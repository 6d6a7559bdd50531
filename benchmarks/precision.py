"""How far gradients in bfloat16 are from those in float32, and what else moves them as far.

Prints one JSON object. Gradients of the losses of a trained network, on the first training batches of its config, are
computed in processes of their own: in float32; in float32 with weights rounded to bfloat16, which is the least that
bfloat16 can do to them; and in bfloat16 as `train.py` does. Each compared with float32, medians over batches:

- `cosine`, `relative_error` and `relative_length` of all gradients as one vector; `least_cosine_of_a_layer`;
- `cosine_of_mean`: of the means over all batches, in which errors that are chance cancel and others do not;
- `another_batch`: the cosine of two batches' gradients in float32, the chance that training has anyway.

    python -m benchmarks.precision --config_path runs/my/pipeline.config --checkpoint runs/my --batches 8
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from builders import config_loader
from core import command_line
from core.errors import UsageError, UserError
from protos.pipeline_pb2 import PipelineConfig

FLOAT32, ROUNDED_WEIGHTS, BFLOAT16 = 'float32', 'rounded_weights', 'bfloat16'
_KINDS = (FLOAT32, ROUNDED_WEIGHTS, BFLOAT16)

Gradients = dict[str, np.ndarray[Any, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_line.make_parser(__doc__ or '')
    command_line.add_config_flags(parser)
    parser.add_argument('--checkpoint', required=True, metavar='PATH', help='a checkpoint, or a folder of them')
    parser.add_argument('--batches', type=int, default=8, metavar='N', help='training batches (default: 8)')
    parser.add_argument('--worker', nargs=2, help=argparse.SUPPRESS)  # compute one kind only, into a folder
    flags = parser.parse_args(arguments)
    if flags.batches < 2:
        raise UsageError(f'--batches: got {flags.batches}, choose 2 or more')
    given = [f'train_config.fine_tune_checkpoint={flags.checkpoint}']
    given += ['train_config.fine_tune_checkpoint_type=segmentation', 'train_config.fine_tune_checkpoint_strict=true']
    config = config_loader.load(flags.config_path, [*flags.overrides, *given], purpose='train')
    if flags.worker:
        kind, folder = flags.worker
        if kind not in _KINDS:
            raise UsageError(f'--worker: got {kind!r}, choose from {list(_KINDS)}')
        _compute(config, kind, Path(folder), flags.batches)
        return 0
    with command_line.quiet_start():
        from core import processor  # loads TensorFlow
    if not processor.has_bfloat16():
        raise UserError('this processor has no bfloat16 (avx512_bf16 or AMX), so train.py computes in float32 on it')
    words = sys.argv[1:] if arguments is None else list(arguments)
    with tempfile.TemporaryDirectory() as folder:
        for kind in _KINDS:
            command = [sys.executable, '-m', 'benchmarks.precision', *words, '--worker', kind, folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                raise UserError(f'{kind}: the process ended with {done.returncode}; see above')
        found = _report(Path(folder), flags.batches)
    named = {'benchmark': 'precision', 'config': os.path.basename(flags.config_path), 'batches': flags.batches}
    print(json.dumps({**named, 'batch_size': config.train_config.batch_size, **found}))
    return 0


def _compute(config: PipelineConfig, kind: str, folder: Path, num_batches: int) -> None:
    """Writes the gradients of each batch, {variable: gradient}, as `<folder>/<kind>-<batch>.npz`.

    Regularisers are left out: bfloat16 has no part in them.
    """
    with command_line.quiet_start():
        import tensorflow as tf

        from builders import model_builder, optimizer_builder
        from core import fields
        from engine import train_lib
        from engine.train_input import TrainInput
        from protos.train_pb2 import TrainConfig

    config.train_config.mixed_precision = TrainConfig.BFLOAT16 if kind == BFLOAT16 else TrainConfig.FLOAT32
    options = train_lib.TrainOptions(logdir=str(folder))
    strategy = train_lib.prepare_devices(config.train_config, options)
    optimizer = optimizer_builder.build(config.train_config.optimizer)
    model, state = train_lib.make_state(config, strategy, optimizer, model_builder.build)
    train_lib.first_values(model, state, config.train_config)
    if kind == ROUNDED_WEIGHTS:
        for variable in state.trainable.values():
            variable.assign(tf.cast(tf.cast(variable, tf.bfloat16), tf.float32))

    @tf.function(autograph=False)
    def gradients(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        with model.entered(), tf.GradientTape() as tape:
            predictions = model.predict(model.preprocess(batch[fields.IMAGE]), is_training=True)
            total = tf.add_n(list(model.loss(predictions, batch[fields.LABEL]).values()))
        found = tape.gradient(total, dict(state.trainable))
        return {name: gradient for name, gradient in found.items() if gradient is not None}

    batches = iter(TrainInput(config, strategy, logdir=str(folder)).batches(0, 0))
    for number in range(num_batches):
        batch = {name: value for name, value in next(batches).items() if name in (fields.IMAGE, fields.LABEL)}
        np.savez(folder / f'{kind}-{number}.npz', **{n.replace('/', '|'): v for n, v in gradients(batch).items()})


def _report(folder: Path, num_batches: int) -> dict[str, Any]:
    """What the files of `_compute` say."""
    exact = [_read(folder, FLOAT32, number) for number in range(num_batches)]
    found: dict[str, Any] = {}
    for kind in (ROUNDED_WEIGHTS, BFLOAT16):
        others = [_read(folder, kind, number) for number in range(num_batches)]
        by_batch = [compare(ours, theirs) for ours, theirs in zip(others, exact, strict=True)]
        found[kind] = {name: round(statistics.median(each[name] for each in by_batch), 4) for name in by_batch[0]}
        found[kind]['cosine_of_mean'] = round(compare(_mean(others), _mean(exact))['cosine'], 4)
    pairs = [compare(one, other)['cosine'] for one, other in itertools.pairwise(exact)]
    return {**found, 'another_batch': {'cosine': round(statistics.median(pairs), 4)}}


def compare(ours: Gradients, exact: Gradients) -> dict[str, float]:
    """How gradients by variable differ: cosine, relative error and length of all of them, least cosine of a variable.

    A variable whose exact gradient is 0 has no cosine.
    """
    whole, expected = (np.concatenate([found[name].ravel() for name in exact]) for found in (ours, exact))
    by_layer = [_cosine(ours[name], exact[name]) for name in exact if np.any(exact[name])]
    return {
        'cosine': _cosine(whole, expected),
        'relative_error': float(np.linalg.norm(whole - expected) / np.linalg.norm(expected)),
        'relative_length': float(np.linalg.norm(whole) / np.linalg.norm(expected)),
        'least_cosine_of_a_layer': min(by_layer),
    }


def _cosine(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    one, other = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one @ other / lengths) if lengths else 0.0


def _mean(gradients: Sequence[Gradients]) -> Gradients:
    return {name: np.mean([each[name] for each in gradients], axis=0) for name in gradients[0]}


def _read(folder: Path, kind: str, number: int) -> Gradients:
    with np.load(folder / f'{kind}-{number}.npz') as file:
        return {name.replace('|', '/'): file[name].astype(np.float64) for name in file.files}


if __name__ == '__main__':
    command_line.run(main)
