"""A checkpoint of just the inference variables, name-based, so that it loads like one of training."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

PREFIX = 'model.ckpt'


def write(variables_by_name: Mapping[str, tf.Variable], path: str, *, step: int) -> None:
    """Writes `<path>.index` and `<path>.data-*`.

    Args:
      variables_by_name: by slim name; see `core.servable.inference_variables`.
      path: the prefix to write.
      step: saved as int64 `global_step`.
    """
    tensors = {name: variable.read_value() for name, variable in variables_by_name.items()}
    tensors['global_step'] = tf.constant(step, tf.int64)
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=path, tensor_names=names, shape_and_slices=[''] * len(names), tensors=[tensors[n] for n in names]
    )
