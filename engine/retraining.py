"""The config of the trainings between the cuts of an iterative compression."""

from __future__ import annotations

from typing import Any

from protos.pipeline_pb2 import PipelineConfig

_LENGTHS = ('decay_steps', 'half_cycle_steps', 'total_steps', 'first_period_steps')


def config_of(
    config: PipelineConfig, *, cut: str, last_step: int, num_steps: int, evaluate_every: int
) -> PipelineConfig:
    """The config that trains on after a cut.

    Args:
      config: of the cut network.
      cut: folder of its checkpoint, which training starts from where the log folder holds none.
      last_step: where this training ends.
      num_steps: of all trainings together; the learning rate's schedule is stretched to them.
      evaluate_every: steps, unless the config says; 0 evaluates never.
    """
    changed = PipelineConfig()
    changed.CopyFrom(config)
    train_config = changed.train_config
    optimizer = train_config.optimizer
    stretch(
        getattr(optimizer, optimizer.WhichOneof('optimizer') or '').learning_rate, train_config.num_steps, num_steps
    )
    train_config.num_steps = last_step
    train_config.fine_tune_checkpoint = cut
    train_config.fine_tune_checkpoint_type = 'segmentation'
    train_config.eval_interval = (train_config.eval_interval or evaluate_every) if evaluate_every else 0
    train_config.patience = 0
    return changed


def stretch(learning_rate: Any, old_steps: int, new_steps: int) -> None:
    """Multiplies every number of steps of a schedule, warm-up included, by new / old; 0 old steps leave it.

    Args:
      learning_rate: the message `LearningRate`, changed in place.
    """
    if not old_steps:
        return
    shape = getattr(learning_rate, learning_rate.WhichOneof('learning_rate') or '')
    fields = shape.DESCRIPTOR.fields_by_name
    for name in _LENGTHS:
        if name in fields:
            setattr(shape, name, max(1, round(getattr(shape, name) * new_steps / old_steps)))
    if 'boundary' in fields:
        boundaries = list(shape.boundary)
        del shape.boundary[:]
        last = 0
        for boundary in boundaries:
            last = max(last + 1, round(boundary * new_steps / old_steps))
            shape.boundary.append(last)
    if learning_rate.warmup.num_steps:
        learning_rate.warmup.num_steps = max(1, round(learning_rate.warmup.num_steps * new_steps / old_steps))
