"""The planner against brute force and against the square-root rule; no step is run."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.checkpointing import networks
from benchmarks.checkpointing.cases import Case
from recompute import planner
from recompute.activations import Activations
from recompute.chains import equal_segments, plain_chain
from recompute.forward import ForwardGraph
from recompute.needed import trace_backward
from recompute.segments import SegmentOptions


def equals_brute_force(rng: np.random.Generator) -> bool:
    """One chain of 2 to 12 stages of unequal bytes and work, and a random budget, against every set of kept stages."""
    length = int(rng.integers(2, 13))
    sizes, work = rng.integers(1, 30, length), rng.integers(1, 100, length)
    budget = int(rng.integers(sizes.max(), sizes.sum() + 1))
    keeps = (np.arange(2**length)[:, None] >> np.arange(length)) & 1
    # Stage by stage: bytes kept so far, bytes to be computed again in the segment at hand, the largest sum of both.
    kept, again, peak = (np.zeros(2**length, np.int64) for _ in range(3))
    for stage in range(length):
        kept += keeps[:, stage] * sizes[stage]
        peak = np.maximum(peak, kept + again)
        again = np.where(keeps[:, stage] == 1, 0, again + sizes[stage])
        peak = np.maximum(peak, kept + again)
    allowed = ((1 - keeps) * work).sum(1)[peak <= budget]
    solution = planner.least_cost(plain_chain(sizes.tolist(), work.tolist()), length, budget)
    if solution is None or not allowed.size:
        return solution is None and not allowed.size
    return solution.cost == allowed.min() and solution.peak <= budget


def square_root_rule(case: Case) -> dict[str, Any]:
    """Work of the optimal plan over that of equal segments, at the memory that these take."""
    activations = trace(case)
    options = SegmentOptions(activations)
    segments = options.all(with_gradients=False)
    rule = equal_segments(segments, options.length)
    best = planner.least_cost(segments, options.length, rule.peak)
    assert best is not None
    return {
        'case': case.network,
        'segments_of_the_rule': len(rule.choices),
        'peak_of_plain': round(rule.peak / activations.plain_bytes, 3),
        'forward_work_of_the_rule': round(rule.cost / activations.total_work, 3),
        'forward_work_of_the_plan': round(best.cost / activations.total_work, 3),
        'plan_over_rule': round(best.cost / rule.cost, 3),
    }


def trace(case: Case) -> Activations:
    """The activations of a case's forward pass."""
    model = networks.build(case)
    model.build()
    variables = list(model.trainable_variables)
    shape = (case.batch, case.height, case.width)
    graph = tf.__internal__.FuncGraph('forward')
    with graph.as_default(), model.entered():
        predictions = model.predict(model.preprocess(tf.zeros([*shape, 3])), is_training=True)
        forward = ForwardGraph(tf.add_n(list(model.loss(predictions, tf.zeros(shape, tf.int32)).values())))
        return Activations(forward, trace_backward(forward, variables, gradients_wait=False))
