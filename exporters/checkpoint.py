"""A checkpoint of just the inference variables, name-based, so that it loads like one of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

PREFIX = 'model.ckpt'


def write(concrete: Any, variables_by_name: Mapping[str, tf.Variable], path: str, *, step: int) -> None:
    """Writes `<path>.index` and `<path>.data-*`.

    Args:
      concrete: from `core.servable.Servable.trace`; variables that it does not read (auxiliary heads) are left out.
      variables_by_name: the model's, by slim name.
      path: the prefix to write.
      step: saved as int64 `global_step`.
    """
    read = {variable.ref() for variable in concrete.variables}
    tensors = {name: v.read_value() for name, v in variables_by_name.items() if v.ref() in read}
    tensors['global_step'] = tf.constant(step, tf.int64)
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=path, tensor_names=names, shape_and_slices=[''] * len(names), tensors=[tensors[n] for n in names]
    )
