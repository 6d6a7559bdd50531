"""An exported graph as a function, whatever form it was stored in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedGraph:
    """Call it with images uint8 [N, H, W, input_channels]; ValueError for another shape.

    Attributes:
      run: images -> {output name: array}.
      input_channels: of an image.
    """

    run: Callable[[np.ndarray], dict[str, np.ndarray]]
    input_channels: int

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return self.run(images)
