"""One case in this process: trace, plan, then take and measure training steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.checkpointing import networks
from benchmarks.checkpointing.cases import Case
from core.errors import UsageError
from core.optimizers import Momentum
from core.schedules import constant
from engine import devices, memory
from engine.train_state import TrainState
from engine.train_step import make_train_step
from recompute.budget import parse_budget
from recompute.plan import Mode, Planner, Request

_MODES = {'plain': Mode.NONE, 'auto': Mode.AUTO, 'speed': Mode.SPEED, 'memory': Mode.MEMORY}
_NUM_SAMPLES = 500
_SAMPLE_SECONDS = 0.02

Batch = Mapping[str, tf.Tensor]


def request(text: str) -> Request:
    """`plain`, a mode of train_mem_saving.py, or a budget."""
    return Request(mode=_MODES[text]) if text in _MODES else Request(**parse_budget(text, '--request'))


def measure(case: Case) -> dict[str, Any]:
    """What the case comes to; {'refused': why} where the planner finds no plan.

    Peaks are resident memory in MB above that of the process before its first step, which then holds variables,
    optimiser slots, the batch and the traced step. `seconds` are wall time of each timed step, `cpu_seconds` what the
    process computed meanwhile: the fairer number where other programs run.
    """
    devices.keep_order_of_sums()
    devices.use_bfloat16(case.bfloat16)
    tf.random.set_seed(1)
    planner = Planner(request(case.request), bfloat16=case.bfloat16)
    step, batch = _step(case, planner)
    started = time.perf_counter()
    try:
        step.get_concrete_function(batch)
    except UsageError as error:
        return {'refused': str(error)}
    tracing = time.perf_counter() - started
    plan = planner.plan
    assert plan is not None
    before = memory.resident_bytes()
    _reset_peak()
    clock, loss = _timed(step, batch, case.steps)
    result = {
        'peak_mb': (memory.peak_bytes() - before) / 1e6,
        'resident_mb': before / 1e6,
        'predicted_peak_mb': plan.peak_bytes / 1e6,
        'activations_kept': plan.kept_activation_bytes / max(1, plan.plain_activation_bytes),
        'extra_work': plan.extra_work,
        'planning_seconds': plan.planning_seconds,
        'tracing_seconds': tracing - plan.planning_seconds,
        'seconds': [wall for wall, _ in clock],
        'cpu_seconds': [cpu for _, cpu in clock],
        'loss': loss,
    }
    return {**result, 'timeline': _timeline(lambda: step(batch), before)} if case.timeline else result


def _timed(step: Callable[[Batch], Any], batch: Batch, count: int) -> tuple[list[tuple[float, float]], float]:
    """(wall, CPU) seconds of all steps but the first, and the last loss."""
    clock, loss = [], 0.0
    for _ in range(count):
        wall, cpu = time.perf_counter(), time.process_time()
        loss = float(step(batch)['total_loss'])
        clock.append((time.perf_counter() - wall, time.process_time() - cpu))
    return clock[1:] or clock, loss


def _reset_peak() -> None:
    """The kernel's high-water mark starts again from what is resident now."""
    with open('/proc/self/clear_refs', 'w') as file:
        file.write('5')


def _timeline(run: Callable[[], Any], before: int) -> list[tuple[float, float]]:
    """(seconds of CPU time, MB above `before`) through one step."""
    found: list[tuple[float, float]] = []
    done = threading.Event()
    started = time.process_time()

    def sample() -> None:
        while not done.wait(_SAMPLE_SECONDS):
            found.append((time.process_time() - started, (memory.resident_bytes() - before) / 1e6))

    thread = threading.Thread(target=sample)
    thread.start()
    float(run()['total_loss'])
    done.set()
    thread.join()
    return found[:: max(1, len(found) // _NUM_SAMPLES)]


def _step(case: Case, planner: Planner) -> tuple[Any, Batch]:
    strategy = devices.make_strategy(num_clones=1, clone_on_cpu=False)
    optimizer = Momentum(learning_rate=constant(learning_rate=0.001), momentum=0.9)
    with strategy.scope():
        model = networks.build(case)
        model.build()
        state = TrainState(model, optimizer)
    step = make_train_step(
        model=model,
        optimizer=optimizer,
        state=state,
        strategy=strategy,
        add_regularization_loss=True,
        planner=planner,
    )
    rng = np.random.default_rng(0)
    shape = (case.batch, case.height, case.width)
    return step, {
        'image': tf.constant(rng.uniform(0, 255, (*shape, 3)).astype(np.float32)),
        'label': tf.constant(rng.integers(0, networks.NUM_CLASSES, shape).astype(np.int32)),
    }
