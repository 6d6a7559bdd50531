"""Which checkpoints of a training directory to evaluate, in which order, and when there are no more."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterator

import tensorflow as tf

from core.errors import CheckpointError
from engine import checkpoints, eval_results


def newest(train_dir: str) -> str:
    """The newest checkpoint that is not damaged (see `checkpoints.newest_sound`); CheckpointError if there is none."""
    path = checkpoints.newest_sound(train_dir)
    if path is None:
        raise CheckpointError(f'{train_dir}: no checkpoint (model.ckpt-<step>) in this directory; check --train_dir')
    return path


def starting_at(train_dir: str, checkpoint: str, *, evaluated: Collection[int] = ()) -> list[str]:
    """`checkpoint` and all later ones of `train_dir`, in step order.

    Args:
      checkpoint: a step, a name in `train_dir` (`model.ckpt-200`), or a path to it.
      evaluated: steps that are left out; `checkpoint` itself may be gone if its step is one of them.
    """
    found = checkpoints.all_checkpoints(train_dir)
    name = os.path.basename(checkpoint.removesuffix('.index'))
    name = f'model.ckpt-{name}' if name.isdecimal() else name
    names, first = [os.path.basename(path) for path in found], checkpoints.step_of(name)
    if name not in names and first not in evaluated:
        there = f'there are {", ".join(names[:3])}{", ..., " + names[-1] if len(names) > 3 else ""}'
        raise CheckpointError(f'{train_dir}: no checkpoint {name}; {there if names else "there is none"}')
    steps = {path: checkpoints.step_of(path) or 0 for path in found}
    return [path for path, step in steps.items() if step >= (first or 0) and step not in evaluated]


def evaluated_steps(eval_dir: str, train_dir: str) -> list[int]:
    """The steps, rising, whose results in `eval_dir` are of checkpoints of `train_dir`, and of no other."""
    steps = []
    for step in eval_results.evaluated_steps(eval_dir):
        with tf.io.gfile.GFile(eval_results.path_of_step(eval_dir, step)) as file:
            try:
                path = str(json.loads(file.read()).get('checkpoint', ''))
            except (ValueError, AttributeError):
                continue
        if os.path.abspath(os.path.dirname(path)) == os.path.abspath(train_dir):
            steps.append(step)
    return steps


def follow_on(
    train_dir: str,
    eval_dir: str,
    *,
    first_checkpoint: str | None = None,
    last_step: int = 0,
    poll_seconds: float = 10.0,
    timeout_seconds: float = 0.0,
) -> Iterator[str]:
    """`follow` from the newest checkpoint or `first_checkpoint`, but behind what an earlier process left in `eval_dir`.

    Prints a note if there is such.
    """
    evaluated = evaluated_steps(eval_dir, train_dir)
    if evaluated:
        print(
            f'note: {len(evaluated)} checkpoints up to step {evaluated[-1]} are scored in {eval_dir} already; '
            'going on from there (remove metrics-*.json to score them again)',
            flush=True,
        )
    if first_checkpoint:
        first = starting_at(train_dir, first_checkpoint, evaluated=evaluated)
    else:
        found = checkpoints.latest(train_dir)
        first = [found] if found and not evaluated else []
    return follow(
        train_dir,
        first=first,
        evaluated=evaluated,
        last_step=last_step,
        poll_seconds=poll_seconds,
        timeout_seconds=timeout_seconds,
    )


def follow(
    train_dir: str,
    *,
    first: list[str],
    evaluated: Collection[int] = (),
    last_step: int = 0,
    poll_seconds: float = 10.0,
    timeout_seconds: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """Yields `first`, then each new checkpoint of `train_dir` once, in step order.

    Args:
      train_dir: may appear later.
      evaluated: steps that are done already, by an earlier process: those, and what is older, are not yielded again.
      last_step: ends after a checkpoint of this step or beyond; 0 never does.
      poll_seconds: between two looks.
      timeout_seconds: ends when nothing new came for so long; 0 waits for ever.
      sleep: waits that many seconds.
    """
    seen, waited, waiting = max(evaluated, default=-1), 0.0, list(first)
    while True:
        for path in waiting:
            seen, waited = max(seen, checkpoints.step_of(path) or 0), 0.0
            yield path
        if last_step and seen >= last_step:
            return
        waiting = [path for path in checkpoints.all_checkpoints(train_dir) if (checkpoints.step_of(path) or 0) > seen]
        if not waiting:
            if timeout_seconds and waited >= timeout_seconds:
                return
            sleep(poll_seconds)
            waited += poll_seconds
