"""What is measured: a network, its input, and what is asked of the plan."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One process that takes training steps.

    Attributes:
      model: `pspnet` or `icnet`, on ResNet-50; `chainN`: N residual blocks.
      request: plain, auto, speed, memory, or a budget as `--memory_budget` takes it.
      steps: measured, the first of which is not timed unless it is the only one; 0 plans only.
      bfloat16: compute in it.
      timeline: sample the resident memory through one more step, in a process that returns what it frees at once.
    """

    model: str
    height: int
    width: int
    batch: int
    request: str = 'plain'
    filter_scale: float = 1.0
    steps: int = 4
    timeline: bool = False
    bfloat16: bool = False

    @property
    def network(self) -> str:
        """What it shares with the other requests of the same network and input."""
        scale = '' if self.filter_scale == 1 else f'_{self.filter_scale}'
        precision = '_bfloat16' if self.bfloat16 else ''
        return f'{self.model}{scale}_{self.height}x{self.width}_batch_{self.batch}{precision}'

    @property
    def name(self) -> str:
        return f'{self.network}_{self.request}'

    def asking(self, request: str) -> Case:
        """The same network, planned otherwise."""
        return dataclasses.replace(self, request=request)


PSPNET = Case(model='pspnet', height=713, width=713, batch=2, steps=2)
ICNET = Case(model='icnet', height=1025, width=1025, batch=4, steps=3)
