"""What the command line of a training decides."""

from __future__ import annotations

import dataclasses

from engine.cluster import Cluster
from recompute.plan import Request


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What the command line decides, not the config.

    Attributes:
      logdir: where checkpoints, metrics and summaries go; training resumes from what is there.
      save_interval_secs: seconds between two checkpoints.
      max_checkpoints_to_keep: older ones are removed; 0 keeps all.
      image_summaries: write image | label | prediction every `train_config.summary_every_n_steps`.
      num_clones: devices of this process that share the batch.
      clone_on_cpu: those devices are CPUs.
      cluster: the processes that share the batch; None for this one alone.
      recompute: which activations are computed twice; None: as `train_config.gradient_checkpointing` says.
      log_memory: add the peak so far to each line of metrics, in MB.
      log_examples: write the file names of each step's batch into `examples.jsonl`.
    """

    logdir: str
    save_interval_secs: float = 600
    max_checkpoints_to_keep: int = 15
    image_summaries: bool = False
    num_clones: int = 1
    clone_on_cpu: bool = False
    cluster: Cluster | None = None
    recompute: Request | None = None
    log_memory: bool = False
    log_examples: bool = False

    @property
    def num_replicas(self) -> int:
        """Devices of all processes together."""
        return self.num_clones * (self.cluster.num_workers if self.cluster else 1)
