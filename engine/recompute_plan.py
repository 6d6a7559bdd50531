"""The recompute plan of a training: asked for by flags or config, told in the log, left as `recompute_plan.json`."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import tensorflow as tf

from engine import memory
from protos.train_pb2 import GradientCheckpointing
from recompute.budget import parse_budget
from recompute.plan import Mode, Plan, Request

_LOGGER = logging.getLogger(__name__)

FILE_NAME = 'recompute_plan.json'
# Of what is free before the step: what TensorFlow's workspaces and the input pipeline take besides.
_USABLE = 0.9
_ROOM_TO_MOVE = 1.5


def request_from_config(message: GradientCheckpointing) -> Request:
    """What `train_config.gradient_checkpointing` asks for. Raises UsageError for a budget that cannot be read."""
    place, mode = 'train_config.gradient_checkpointing', Mode(GradientCheckpointing.Mode.Name(message.mode).lower())
    if message.checkpoint_node:
        return Request(mode=mode, nodes=list(message.checkpoint_node), said_as=f'{place}.checkpoint_node')
    if message.memory_budget:
        field = f'{place}.memory_budget'
        return Request(mode=mode, **parse_budget(message.memory_budget, field), said_as=field)
    return Request(mode=mode)


def is_plain(request: Request) -> bool:
    """Whether nothing is to be recomputed."""
    return request.mode is Mode.NONE and request.budget is None and request.share is None and not request.nodes


def to_reserve(plan: Plan) -> int:
    """What the allocator is asked for before the first step: the plan's peak and some room to move."""
    return int(_ROOM_TO_MOVE * plan.peak_bytes)


def report(plan: Plan, logdir: str | None, *, replicas: int, plain: bool, num_parts: int = 1) -> dict[str, Any]:
    """Logs the plan or the estimate, writes `recompute_plan.json` of a plan; returns what it holds.

    The plan is that of one of `num_parts` of a replica's batch.
    """
    room = memory.available_bytes()
    fits = plan.largest_batch(int(_USABLE * room)) * replicas * num_parts if room else None
    content = {
        **plan.as_json(),
        'replicas': replicas,
        'resident_bytes_before': memory.resident_bytes(),
        'available_bytes': room,
        'largest_batch_that_fits': fits,
    }
    if not plain:
        _LOGGER.info('recompute plan:\n%s', plan.table())
        if logdir:
            _write(content, os.path.join(logdir, FILE_NAME))
    _LOGGER.info(
        'predicted peak: %.1f GB for a step above the %.1f GB of the process%s',
        replicas * plan.peak_bytes / 1e9,
        memory.resident_bytes() / 1e9,
        f'; {room / 1e9:.1f} GB are free, enough for a batch of {fits}' if room else '',
    )
    if room and replicas * plan.peak_bytes > room:
        _LOGGER.warning(
            'this step may not fit into memory: choose a train_config.batch_size of at most %s%s',
            fits,
            ', or train_mem_saving.py' if plain else ', or a smaller --memory_budget',
        )
    return content


def _write(content: dict[str, Any], path: str) -> None:
    temporary = f'{path}.unfinished'
    with tf.io.gfile.GFile(temporary, 'w') as file:
        file.write(json.dumps(content, indent=2) + '\n')
    tf.io.gfile.rename(temporary, path, overwrite=True)
