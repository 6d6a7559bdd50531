"""One case in this process: trace, plan, then take and measure training steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.checkpointing import networks
from benchmarks.checkpointing.cases import Case
from benchmarks.peers import cases, own_step
from benchmarks.peers.timing import times
from core.errors import UsageError
from engine import memory, recompute_plan
from engine.train_step import TOTAL_LOSS
from recompute.budget import parse_budget
from recompute.plan import Mode, Plan, Planner, Request

_MODES = {'plain': Mode.NONE, 'auto': Mode.AUTO, 'speed': Mode.SPEED, 'memory': Mode.MEMORY}
_NUM_SAMPLES = 500
_SAMPLE_SECONDS = 0.02


def request(text: str) -> Request:
    """`plain`, a mode of train_mem_saving.py, or a budget."""
    return Request(mode=_MODES[text]) if text in _MODES else Request(**parse_budget(text, '--request'))


def measure(case: Case) -> dict[str, Any]:
    """What the case comes to; {'refused': why} where the planner finds no plan; without steps, the plan's own figures.

    Peaks are resident memory in MB above that of the process before its first step, which then holds variables,
    optimiser slots, the batch and the traced step. `seconds` are wall time of each timed step, `cpu_seconds` what the
    process computed meanwhile: the fairer number where other programs run.
    """
    own_step.prepare(bfloat16=case.bfloat16)
    planner = Planner(request(case.request), bfloat16=case.bfloat16)
    step, _, batch = own_step.make_step(lambda: networks.build(case), *_batch(case), planner=planner)
    started = time.perf_counter()
    try:
        step.get_concrete_function(batch)
    except UsageError as error:
        return {'refused': str(error)}
    tracing = time.perf_counter() - started
    plan = planner.plan
    assert plan is not None
    memory.reserve(recompute_plan.to_reserve(plan))
    if not case.steps:
        return {'predicted_peak_mb': plan.peak_bytes / 1e6, 'extra_work': plan.extra_work}
    planned = step if case.request == 'plain' else memory.frugal_at_first(step)
    return _steps(case, plan, planned, batch, tracing - plan.planning_seconds)


def _steps(case: Case, plan: Plan, step: Callable[[Any], Any], batch: Any, tracing_seconds: float) -> dict[str, Any]:
    """Takes the steps, and hands back what they came to."""
    before = memory.resident_bytes()
    _reset_peak()
    losses: list[float] = []
    warm = min(1, case.steps - 1)
    clock = times(lambda: losses.append(float(step(batch)[TOTAL_LOSS])), case.steps - warm, warm=warm)
    result = {
        'peak_mb': (memory.peak_bytes() - before) / 1e6,
        'resident_mb': before / 1e6,
        'predicted_peak_mb': plan.peak_bytes / 1e6,
        'activations_kept': plan.kept_activation_bytes / max(1, plan.plain_activation_bytes),
        'extra_work': plan.extra_work,
        'planning_seconds': plan.planning_seconds,
        'tracing_seconds': tracing_seconds,
        'seconds': [wall for wall, _ in clock],
        'cpu_seconds': [cpu for _, cpu in clock],
        'loss': losses[-1],
    }
    return {**result, 'timeline': _timeline(lambda: step(batch), before)} if case.timeline else result


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
    float(run()[TOTAL_LOSS])
    done.set()
    thread.join()
    return found[:: max(1, len(found) // _NUM_SAMPLES)]


def _batch(case: Case) -> tuple[Any, Any]:
    return cases.random_batch(cases.Case(case.model, case.filter_scale, case.height, case.width, case.batch))
