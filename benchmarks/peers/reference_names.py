"""The names of TensorFlow 1.x that the public reference implementation imports, on TensorFlow 2.21 and tf-slim 1.1.

Its own files run as they are. What is put in their way, and nothing else:

- `tensorflow` is `tensorflow.compat.v1` with a `contrib` of the few names used, slim among them;
- widths arrive at slim's convolutions as floats, which Python 2 rounded;
- `slim.learning.train` and `slim.assign_from_checkpoint_fn` are given by the caller: the reference cannot train without
  a checkpoint to begin with;
- `protos` is compiled from its own .proto files.

To be installed in a process that imports nothing of this project's packages of the same names.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]


class _Names(types.ModuleType):
    """A module of some names of its own; all others are those of another module."""

    def __init__(self, name: str, fallback: Any, **own: Any):
        super().__init__(name)
        self.__path__: list[str] = list(getattr(fallback, '__path__', []))
        self.__dict__.update(own)
        self._fallback = fallback

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fallback, name)


def install(reference_dir: Path, protos_dir: Path, *, train: Callable[..., Any]) -> Any:
    """Makes the files of `reference_dir` importable; returns TensorFlow as they see it.

    Args:
      reference_dir: a checkout.
      protos_dir: an empty folder for the compiled protos.
      train: takes the place of `slim.learning.train`, which it is given as `original`.
    """
    _run_file(_ROOT / 'third_party' / 'legacy_layers.py')
    import tensorflow
    import tf_slim
    from tf_slim.data import prefetch_queue, tfexample_decoder
    from tf_slim.nets import resnet_utils

    _restore_control_flow()
    slim = _Names(
        'tensorflow.contrib.slim',
        tf_slim,
        conv2d=_whole_widths(tf_slim.conv2d),
        separable_conv2d=_whole_widths(tf_slim.separable_conv2d),
        learning=_Names('learning', tf_slim.learning, train=functools.partial(train, original=tf_slim.learning.train)),
        assign_from_checkpoint_fn=lambda *arguments, **settings: None,
        prefetch_queue=prefetch_queue,
        tfexample_decoder=tfexample_decoder,
        nets=_Names('tensorflow.contrib.slim.nets', tf_slim.nets, resnet_utils=resnet_utils),
    )
    v1 = tensorflow.compat.v1
    v1.disable_v2_behavior()  # its sessions, and no slower so
    data = types.SimpleNamespace(parallel_interleave=v1.data.experimental.parallel_interleave)
    contrib = _Names('tensorflow.contrib', None, slim=slim, data=data)
    names = _Names('tensorflow', v1, contrib=contrib, __path__=tensorflow.__path__)
    sys.modules.update(
        {
            'tensorflow': names,
            'tensorflow.contrib': contrib,
            'tensorflow.contrib.slim': slim,
            'tensorflow.contrib.slim.nets': slim.nets,
        }
    )
    sys.path.insert(0, str(reference_dir))
    _compile_protos(reference_dir, protos_dir)
    return names


def _run_file(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def _restore_control_flow() -> None:
    """slim's decoder of pictures looks for `case` and `cond` where TensorFlow 2.21 no longer has them."""
    from tensorflow.python.ops import control_flow_ops
    from tensorflow.python.ops.cond import cond
    from tensorflow.python.ops.control_flow_case import case

    for function in (case, cond):
        setattr(control_flow_ops, function.__name__, function)


def _whole_widths(layer: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(layer)  # slim's argument scopes know the layer by an attribute that this keeps
    def whole(inputs: Any, num_outputs: float | None, *arguments: Any, **settings: Any) -> Any:
        return layer(inputs, None if num_outputs is None else int(num_outputs), *arguments, **settings)

    return whole


def _compile_protos(reference_dir: Path, protos_dir: Path) -> None:
    files = sorted(path.relative_to(reference_dir) for path in (reference_dir / 'protos').glob('*.proto'))
    command = [sys.executable, '-m', 'grpc_tools.protoc', '-I.', f'--python_out={protos_dir}', *map(str, files)]
    subprocess.run(command, cwd=reference_dir, check=True)
    package = types.ModuleType('protos')
    package.__path__ = [str(protos_dir / 'protos')]
    sys.modules['protos'] = package
