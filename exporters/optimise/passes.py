"""Which passes run, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from core.export_forms import COMPUTE_TYPES
from exporters.optimise import (
    batch_norm,
    cleaning,
    commuting,
    convolutions,
    label_tiles,
    labels,
    mixed,
    pixels,
    precision,
    pyramid,
    resizing,
    rewriting,
)

# Tiles are for TensorFlow alone: OpenVINO enlarges and compares as fast as they are.
_LABELS = {'tensorflow': label_tiles.by_cells_or_tiles, 'openvino': labels.by_cells_portable, 'other': None}
RUNTIMES = tuple(_LABELS)

# Exact but for the order of sums. Each relies on those before it: a batch norm hides behind slim's BatchToSpaceND, a
# bias is there once batch norm is folded, and enlargements meet when the convolution between them has moved.
_RULES = (
    convolutions.native_dilation,
    convolutions.merge_padding,
    batch_norm.fold,
    resizing.halve_by_slicing,
    pixels.as_convolution,
    pyramid.on_grids,
    commuting.convolve_first,
    resizing.merge_enlargements,
)


def optimise(
    graph_def: Any,
    *,
    outputs: Sequence[str],
    compute: str = 'float32',
    runtime: str = 'tensorflow',
    batches: Callable[[], Iterable[np.ndarray]] | None = None,
    tell: Callable[[mixed.Choice], None] = lambda _: None,
) -> Any:
    """A frozen inference graph with the same inputs, outputs and, up to rounding, values, that runs faster.

    Most of it needs a fixed height and width; where they are free, batch norm is folded and the rest stays.

    Args:
      graph_def: frozen; no control flow.
      outputs: names of operations.
      compute: 'bfloat16' runs the convolutions in it: a little less exact, and faster where the processor has it.
        'mixed' runs as many in it as leave the class ids what they are, see `mixed`.
      runtime: what will run it. Class ids are computed by `labels` for TensorFlow and OpenVINO, or by `label_tiles` for
        TensorFlow, with operations that others do not have.
      batches: images uint8 [N, H, W, channels] as the graph takes them, for 'mixed'.
      tell: called with what 'mixed' chose.

    Raises:
      ValueError: another `compute` or `runtime`, or 'mixed' without `batches`.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f'runtime: got {runtime!r}, choose from {list(RUNTIMES)}')
    if compute not in COMPUTE_TYPES:
        raise ValueError(f'compute: got {compute!r}, choose from {list(COMPUTE_TYPES)}')
    graph_def = cleaning.without_control_inputs(graph_def, outputs)
    graph_def = rewriting.rewrite(graph_def, outputs, cleaning.remove_identities)
    graph_def = cleaning.fold_constants(graph_def, outputs)
    for rule in _RULES:
        graph_def = rewriting.rewrite(graph_def, outputs, rule)
    graph_def = cleaning.fold_constants(graph_def, outputs)
    if compute == 'bfloat16':
        graph_def = rewriting.rewrite(graph_def, outputs, pixels.whole_means)
        graph_def = precision.bfloat16(graph_def, outputs)
    elif compute == 'mixed':
        if batches is None:
            raise ValueError('mixed needs images to choose by')
        choice = mixed.choose(graph_def, outputs, batches)
        tell(choice)
        graph_def = precision.bfloat16(graph_def, outputs, choice.bfloat16)
    graph_def = rewriting.rewrite(graph_def, outputs, cleaning.remove_identities)
    rule = _LABELS[runtime]
    return graph_def if rule is None else rewriting.rewrite(graph_def, outputs, rule)
