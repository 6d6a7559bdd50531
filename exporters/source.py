"""What every form is written from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A traced servable, and the two folders that converters start from.

    Attributes:
      concrete: from `core.servable.Servable.trace`.
      frozen_graph: path of its frozen graph, the operations as they were traced.
      saved_model: path of its SavedModel.
      manifest: JSON about the model, kept inside each form.
      calibration: batches uint8 [N, H, W, channels] of what the network will see, for int8 and mixed arithmetic.
      optimised: whether forms of `core.export_forms.OPTIMISED` are rewritten by `exporters.optimise`.
      compute, weights: types of the frozen graph's arithmetic and stored weights, see there.
    """

    concrete: Any
    frozen_graph: str
    saved_model: str
    manifest: str
    calibration: Callable[[], Iterable[np.ndarray]] | None = None
    optimised: bool = True
    compute: str = 'float32'
    weights: str = 'float32'

    @property
    def outputs(self) -> Sequence[str]:
        """Names of what the servable answers, in the order of its flat outputs."""
        return sorted(self.concrete.structured_outputs)

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """(batch, height, width, channels), None where free."""
        return tuple(self.concrete.inputs[0].shape)
