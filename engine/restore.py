"""Variables from a checkpoint by name and shape, with a report of what was taken and what was not."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import tensorflow as tf

from core.errors import CheckpointError
from engine.checkpoint_reader import GLOBAL_STEP, TRAINING_PREFIX, Reader, read

_LISTED = 20  # in a table
_NAMED = 3  # in one line
_RGB = 3


@dataclasses.dataclass(frozen=True)
class RestoreReport:
    """What `restore_variables` did, names sorted.

    Attributes:
      path: the checkpoint.
      matched: names restored.
      mismatched: (name, shape in the checkpoint, shape in the model); left at their initial value.
      missing: names of the model that the checkpoint lacks; left at their initial value.
      unused: names of the checkpoint that the model lacks, without `global_step` and optimiser slots.
      inflated: those of `matched` whose kernel for RGB became one for another number of channels.
    """

    path: str
    matched: list[str]
    mismatched: list[tuple[str, list[int], list[int]]]
    missing: list[str]
    unused: list[str]
    inflated: list[str] = dataclasses.field(default_factory=list)

    def table(self, *, refused: bool = False) -> str:
        """Readable text: one line of counts, then up to 20 names of each kind that was not restored.

        Args:
          refused: nothing was assigned, so nothing is said of initial values.
        """
        fit, kept = ('that fit', '') if refused else ('restored', ', left at the initial value')
        lines = [
            f'{self.path}: {len(self.matched)} variables {fit}, {len(self.mismatched)} of another shape, '
            f'{len(self.missing)} missing, {len(self.unused)} unused'
        ]
        shapes = [f'{name}: {theirs} in the checkpoint, {ours} in the model' for name, theirs, ours in self.mismatched]
        lines += _section('kernels for RGB, inflated to other channels', self.inflated)
        lines += _section(f'another shape{kept}', shapes)
        lines += _section(f'missing in the checkpoint{kept}', self.missing)
        lines += _section('in the checkpoint only', self.unused)
        return '\n'.join(lines)

    def misfit(self) -> str | None:
        """One line: how many variables are missing or have another shape, with the first kernels; None if none."""
        count = len(self.matched) + len(self.mismatched) + len(self.missing)
        parts = []
        if self.mismatched:
            first = sorted(self.mismatched, key=lambda found: _is_no_kernel(found[0]))[:_NAMED]
            shapes = [f'{name}: {theirs} in the checkpoint, {ours} in the model' for name, theirs, ours in first]
            parts.append(
                f'{len(self.mismatched)} of its {count} variables have another shape, such as ' + '; '.join(shapes)
            )
        if self.missing:
            missing = ', '.join(sorted(self.missing, key=_is_no_kernel)[:_NAMED])
            parts.append(f'{len(self.missing)} of its {count} variables are missing, such as {missing}')
        return f'{self.path}: the checkpoint does not fit the model: {"; ".join(parts)}' if parts else None


def restore_variables(
    variables: Mapping[str, tf.Variable],
    path: str | os.PathLike,
    *,
    strict: bool = True,
    input_channels: int = _RGB,
) -> RestoreReport:
    """Assigns from the checkpoint `path` every variable whose name and shape it has.

    Args:
      variables: name in the checkpoint -> variable.
      path: prefix, file or directory; see `checkpoints.read`.
      strict: refuse, before anything is assigned, a checkpoint that lacks a variable or has it in another shape.
      input_channels: of the model's images; with other than 3, kernels that see the image are taken from a checkpoint
        for RGB by `inflate_kernel`.

    Raises CheckpointError if the checkpoint is missing or damaged, if nothing matches, or as `strict` says.
    """
    reader = read(path)
    report = compare(variables, reader, input_channels=input_channels)
    if not report.matched:
        raise CheckpointError(
            f'{reader.path}: no variable of the model is in this checkpoint; {_example(variables, reader)}. '
            'Is it of another architecture or extractor?'
        )
    if strict and (report.mismatched or report.missing):
        raise CheckpointError(f'the checkpoint does not fit the model\n{report.table(refused=True)}')
    for name in report.matched:
        variable, value = variables[name], reader.tensor(name)
        if name in report.inflated:
            value = inflate_kernel(value, input_channels)
        variable.assign(tf.cast(value, variable.dtype))
    return report


def inflate_kernel(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A kernel for RGB [h, w, 3, C] as one for other inputs [h, w, channels, C].

    Its mean over red, green and blue is repeated (Wang et al., arXiv:1608.00859, section 3.2, cross-modality
    pre-training) and rescaled by 3 / channels, so that an image whose channels are all equal gives the response that it
    gives as RGB (as Carreira and Zisserman, arXiv:1705.07750, section 2.4, rescale along time).
    """
    mean = kernel.mean(axis=2, keepdims=True)
    return np.repeat(mean * (_RGB / channels), channels, axis=2)


def compare(variables: Mapping[str, tf.Variable], reader: Reader, *, input_channels: int = _RGB) -> RestoreReport:
    """What `restore_variables` would do; assigns nothing."""
    shared = sorted(name for name in variables if name in reader.shapes)
    inflated = [
        name
        for name in shared
        if input_channels != _RGB and _sees_the_image(name, reader.shapes[name], variables[name].shape, input_channels)
    ]
    fits = {name: name in inflated or list(variables[name].shape) == list(reader.shapes[name]) for name in shared}
    return RestoreReport(
        path=reader.path,
        matched=[name for name in shared if fits[name]],
        mismatched=[
            (name, list(reader.shapes[name]), list(variables[name].shape)) for name in shared if not fits[name]
        ],
        missing=sorted(name for name in variables if name not in reader.shapes),
        unused=sorted(name for name in reader.shapes if name not in variables and not _is_training_state(name, reader)),
        inflated=inflated,
    )


def _sees_the_image(name: str, theirs: Sequence[int], ours: Sequence[int], input_channels: int) -> bool:
    """A convolution kernel [h, w, 3, C] there and [h, w, input_channels, C] here."""
    if len(theirs) != 4 or not name.endswith('/weights'):
        return False
    return [*theirs[:2], input_channels, theirs[3]] == list(ours) and theirs[2] == _RGB


def _is_training_state(name: str, reader: Reader) -> bool:
    """A slot is named after another tensor, `<variable>/<slot>`; TensorFlow 1's Adam also stores its two powers."""
    parent = name.rpartition('/')[0]
    known = name in (GLOBAL_STEP, 'beta1_power', 'beta2_power') or name.startswith(TRAINING_PREFIX)
    return known or parent in reader.shapes


def _section(title: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = [f'    ... and {len(names) - _LISTED} more'] if len(names) > _LISTED else []
    return [f'  {title}:', *(f'    {name}' for name in names[:_LISTED]), *more]


def _example(variables: Mapping[str, tf.Variable], reader: Reader) -> str:
    return f'the model has for example {_typical(variables)!r}, the checkpoint {_typical(reader.shapes)!r}'


def _is_no_kernel(name: str) -> bool:
    """Sorts one line for each layer to the front, before those of its batch norm."""
    return not name.endswith('/weights')


def _typical(names: Collection[str]) -> str:
    """The first by name of the scope that holds most of them: of the backbone rather than of a head for training."""
    if not names:
        return 'nothing'
    scopes = Counter(name.partition('/')[0] for name in names)
    (scope, _), *_ = scopes.most_common(1)
    return min(name for name in names if name.partition('/')[0] == scope)
