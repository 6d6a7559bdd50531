"""`python -m tests.recompute.compare_gradients`: plain and planned steps of every small net, as one JSON object.

A process of its own, since determinism cannot be switched off again. Two steps are compared, so that the averages that
the first one moved are seen by the second.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from engine import devices
from recompute import backward
from recompute.forward import ForwardGraph
from recompute.plan import Mode, Planner, Request
from tests.recompute.nets import NETS, Net, images
from tests.recompute.thorough import HalvingPlanner

REQUESTS = {
    'auto': Request(mode=Mode.AUTO),
    'speed': Request(mode=Mode.SPEED),
    'memory': Request(mode=Mode.MEMORY),
    'share': Request(share=0.9),
    'none': Request(mode=Mode.NONE),
}
NESTED = 'nested'
_STEPS = 2

Step = Callable[[], tuple[tf.Tensor, list[tf.Tensor]]]


def planned_step(net: Net, planner: Planner | None) -> Step:
    """(objective, gradients) by the walk of `recompute.backward`, without a schedule if there is no planner."""

    def step() -> tuple[tf.Tensor, list[tf.Tensor]]:
        objective = net(images())
        variables = list(net.trainable.values())
        forward = ForwardGraph(objective)
        schedule = planner(forward, variables) if planner else None
        found = backward.gradients(forward, variables, schedule)
        assert all(gradient is not None for gradient in found)
        return objective, [tf.convert_to_tensor(gradient) for gradient in found]

    return step


def tape_step(net: Net) -> Step:
    """The same by tf.GradientTape."""

    def step() -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            objective = net(images())
        return objective, tape.gradient(objective, list(net.trainable.values()))

    return step


def outcome(net: Net, step: Step) -> dict[str, np.ndarray]:
    """Everything that a run of a few steps comes to."""
    tf.random.set_seed(11)
    compiled = tf.function(step, autograph=False)
    found: dict[str, np.ndarray] = {}
    for number in range(_STEPS):
        objective, gradients = compiled()
        found[f'{number}/objective'] = objective.numpy()
        named = zip(net.trainable, gradients, strict=True)
        found |= {f'{number}/gradient of {name}': gradient.numpy() for name, gradient in named}
        found |= {f'{number}/average {name}': average.numpy() for name, average in net.averages.items()}
    return found


def compare(name: str, planner: Planner, plain: dict[str, np.ndarray]) -> dict[str, Any]:
    """Names of what differs from plain training, and what the plan was."""
    net = Net(NETS[name])
    planned = outcome(net, planned_step(net, planner))
    assert planner.plan is not None
    return {
        'unequal': sorted(key for key in plain if not np.array_equal(plain[key], planned[key])),
        'compared': len(plain),
        'zero': sorted(key for key, value in planned.items() if 'gradient' in key and not value.any()),
        'extra_work': planner.plan.extra_work,
        'kept': planner.plan.kept_activation_bytes,
        'plain': planner.plan.plain_activation_bytes,
    }


def distance_to_tape(name: str, plain: dict[str, np.ndarray]) -> float:
    """Largest difference of the unplanned walk to the tape, relative to the largest entry of each tensor."""
    net = Net(NETS[name])
    want = outcome(net, tape_step(net))
    return max(float(np.abs(plain[key] - want[key]).max() / np.abs(want[key]).max()) for key in want)


def compare_all(name: str) -> dict[str, Any]:
    """The distance to the tape, and what each kind of plan changes."""
    net = Net(NETS[name])
    plain = outcome(net, planned_step(net, None))
    return {
        'tape': distance_to_tape(name, plain),
        **{mode: compare(name, Planner(request), plain) for mode, request in REQUESTS.items()},
        NESTED: compare(name, HalvingPlanner(), plain),
    }


def main() -> None:
    devices.keep_order_of_sums()
    tf.config.experimental.enable_op_determinism()
    json.dump({name: compare_all(name) for name in NETS}, sys.stdout)


if __name__ == '__main__':
    main()
