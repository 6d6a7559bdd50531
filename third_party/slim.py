"""tf-slim 1.1 on TensorFlow 2.21: the only file that imports tf_slim.

Dilated convolutions of slim run as space-to-batch, a plain convolution, and batch-to-space; here they run as one
operation wherever its gradient exists, see `_NativeDilation`.

`VariableStore` is what makes slim's `get_variable` work inside `tf.function`: it owns variables by name and hands them
out again on the next call. It also knows the layers whose widths differ from what their network asks for.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import third_party.legacy_layers  # noqa: F401  # isort: skip

# For losses that nobody here uses, tf_slim imports scikit-learn where it is installed, which takes most of a second.
_hides_sklearn = 'sklearn' not in sys.modules
if _hides_sklearn:
    sys.modules['sklearn'] = None  # pyright: ignore[reportArgumentType]
try:
    import tf_slim as _slim
finally:
    if _hides_sklearn:
        del sys.modules['sklearn']

import tensorflow as tf
from tensorflow.python.keras.layers import convolutional as _layers
from tensorflow.python.ops import variable_scope as _variable_scope
from tensorflow.python.util import _pywrap_util_port
from tf_keras.src.legacy_tf_layers.variable_scope_shim import _EagerVariableStore
from tf_slim.layers import layers as _slim_layers


class _NativeDilation:
    """`nn_ops` as slim's layers see it, whose 2-D convolution takes dilation rates as they are.

    Equal but for the order of sums, without two more copies of the features, and faster (several times at rate 16,
    whose tiles are mostly padding). TensorFlow's own CPU kernels have no gradient for it; oneDNN's and cuDNN's have.

    Inputs whose channels do not fill oneDNN's blocks of 16 stay with the old way: there its bfloat16 gradient of the
    kernel is wrong without a word (NaN, infinite or arbitrary numbers in the last block, and writes beyond its memory;
    seen with TensorFlow 2.21 at 20, 24, 40, 56 and 88 channels, never at multiples of 16).
    """

    _BLOCK = 16

    def __init__(self, wrapped: Any):
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def convolution_v2(self, inputs: tf.Tensor, filters: tf.Tensor, **settings: Any) -> tf.Tensor:
        """`tf.nn.convolution`, except that two dilation rates above 1 do not split the work."""
        dilated = any(rate > 1 for rate in settings.get('dilations') or ())
        plane = len(filters.shape) == 4 and settings.get('data_format') in (None, 'NHWC')
        if not dilated or not plane or inputs.shape[-1] % self._BLOCK:
            return self._wrapped.convolution_v2(inputs, filters, **settings)
        return tf.nn.conv2d(inputs, filters, **settings)


def has_native_dilation() -> bool:
    """Whether dilated convolutions have gradients as one operation on this machine."""
    return bool(_pywrap_util_port.IsMklEnabled() or tf.config.list_physical_devices('GPU'))


if has_native_dilation():
    _layers.nn_ops = _NativeDilation(_layers.nn_ops)


class _SynchronizedStatistics:
    """`nn` as slim's batch norm sees it, whose statistics in training are those of all replicas.

    That is so where the current store has `gather_replicas`; elsewhere it is TensorFlow's own fused operation. Means
    and variances of replicas, of equal counts, are put together as Chan, Golub and LeVeque do (STAN-CS-79-773), which
    loses no digits where a mean is large. The gradient passes through the exchange.
    """

    def __init__(self, wrapped: Any):
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def fused_batch_norm(
        self, x: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor, epsilon: float = 0.001, **settings: Any
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """(normalised [B, H, W, C], batch mean [C], unbiased batch variance [C]), see `tf.nn.fused_batch_norm`."""
        store = _variable_scope._get_default_variable_store()
        gather = store.gather_replicas if isinstance(store, VariableStore) else None
        if gather is None or not settings.get('is_training', True) or settings.get('data_format', 'NHWC') != 'NHWC':
            return self._wrapped.fused_batch_norm(x, scale, offset, epsilon=epsilon, **settings)
        own = tf.stack(tf.nn.moments(x, [0, 1, 2]))
        means, variances = tf.unstack(gather(own), axis=1)
        mean = tf.reduce_mean(means, 0)
        variance = tf.reduce_mean(variances + tf.math.squared_difference(means, mean), 0)
        count = tf.cast(tf.size(x) // tf.size(mean) * tf.shape(means)[0], tf.float32)
        unbiased = variance * (count / tf.maximum(count - 1.0, 1.0))
        return tf.nn.batch_normalization(x, mean, variance, offset, scale, epsilon), mean, unbiased


class _NotedAverages:
    """`moving_averages` as slim's batch norm sees it: the current store may want to move averages itself, later."""

    def __init__(self, wrapped: Any):
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def assign_moving_average(self, variable: tf.Variable, value: tf.Tensor, decay: float, **settings: Any) -> Any:
        """The operation that moves `variable`, or one that does nothing because the store has taken note."""
        store = _variable_scope._get_default_variable_store()
        note = store.note_average if isinstance(store, VariableStore) else None
        if note is not None and note(variable, value, decay):
            return tf.no_op()
        return self._wrapped.assign_moving_average(variable, value, decay, **settings)


_slim_layers.nn = _SynchronizedStatistics(_slim_layers.nn)
_slim_layers.moving_averages = _NotedAverages(_slim_layers.moving_averages)


class VariableStore(_EagerVariableStore):
    """Variables by slim name, and the widths of layers.

    Args:
      layer_widths: {full scope: number of filters} of layers that are not as wide as their network asks for.

    Attributes:
      nominal_widths: {full scope: number of filters asked for} of every layer built so far whose width is free.
      fixed_layers: full scopes of the layers built so far whose width is not: depthwise ones, and class scores.
      gather_replicas: float [n...] of each replica -> [replicas, n...], the same in all of them; None leaves each
        replica its own batch statistics.
      note_average: (moving average, new value, decay) -> whether it is moved by others, later; None: never.
    """

    def __init__(self, layer_widths: Mapping[str, int] | None = None):
        super().__init__()
        self.layer_widths = dict(layer_widths or {})
        self.nominal_widths: dict[str, int] = {}
        self.fixed_layers: list[str] = []
        self.gather_replicas: Callable[[tf.Tensor], tf.Tensor] | None = None
        self.note_average: Callable[[tf.Variable, tf.Tensor, float], bool] | None = None

    def width_of(self, scope: str, asked: int | None, *, fixed: bool) -> int | None:
        """The filters of the layer at `scope`, whose network asks for `asked`; None is depthwise."""
        if fixed or asked is None:
            if scope not in self.fixed_layers:
                self.fixed_layers.append(scope)
            return asked
        self.nominal_widths[scope] = asked
        return self.layer_widths.get(scope, asked)


def _sized(layer: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """`layer` with the width that the current store has for its scope; `fixed_width=True` keeps the one asked for.

    It has the original's key in argument scopes, so one scope serves both.
    """

    @functools.wraps(layer)
    def sized(
        inputs: tf.Tensor, num_outputs: int | None, *arguments: Any, fixed_width: bool = False, **settings: Any
    ) -> tf.Tensor:
        store, scope = _variable_scope._get_default_variable_store(), settings.get('scope')
        if isinstance(store, VariableStore) and isinstance(scope, str):
            outer = tf.compat.v1.get_variable_scope().name
            full_scope = f'{outer}/{scope}' if outer else scope
            num_outputs = store.width_of(full_scope, num_outputs, fixed=fixed_width)
        return layer(inputs, num_outputs, *arguments, **settings)

    return sized


add_arg_scope = _slim.add_arg_scope
arg_scope = _slim.arg_scope
batch_norm = _slim.batch_norm
conv2d = _sized(_slim.conv2d)
conv2d_transpose = _sized(_slim.conv2d_transpose)
dropout = _slim.dropout
max_pool2d = _slim.max_pool2d
separable_conv2d = _sized(_slim.separable_conv2d)
variance_scaling_initializer = _slim.variance_scaling_initializer


def bundled_nets() -> dict[str, ModuleType]:
    """tf-slim's own definitions by module name: what the extractors are compared with."""
    names = ('inception_v1', 'resnet_v1', 'resnet_v2', 'vgg')
    return {name: importlib.import_module(f'tf_slim.nets.{name}') for name in names}


__all__ = [
    'VariableStore',
    'add_arg_scope',
    'arg_scope',
    'batch_norm',
    'bundled_nets',
    'conv2d',
    'conv2d_transpose',
    'dropout',
    'has_native_dilation',
    'max_pool2d',
    'separable_conv2d',
    'variance_scaling_initializer',
]
