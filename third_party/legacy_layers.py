"""What has to be true before `import tf_slim` (1.1) works on TensorFlow 2.21. Importing this module makes it so.

Three things are in the way:

- TensorFlow's lazy loaders look for `tf_keras.legacy_tf_layers`; tf_keras ships it as `tf_keras.src.legacy_tf_layers`;
- that only happens with TF_USE_LEGACY_KERAS=1, which has to be set before TensorFlow is first imported;
- slim's batch_norm reads `tensorflow.python.framework.ops.Tensor`, an alias that 2.21 no longer has.
"""

from __future__ import annotations

import os
import sys
import warnings

# As in core/tensorflow_environment.py, which whoever runs this file alone has not imported.
os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')

import tensorflow as tf

# TensorFlow's own lazy loader asks for this flag each time a Keras symbol is touched, so a process that imported
# TensorFlow first is still served, as long as it has not touched tf.keras.
if os.environ['TF_USE_LEGACY_KERAS'] not in ('1', 'true', 'True'):
    raise ImportError('tf-slim needs TF_USE_LEGACY_KERAS=1; unset the variable or set it to 1')


def _register_legacy_layers() -> None:
    import tf_keras.src.legacy_tf_layers as legacy
    from tf_keras.src.legacy_tf_layers import base, convolutional, core, normalization, pooling

    sys.modules.setdefault('tf_keras.legacy_tf_layers', legacy)
    for module in (base, convolutional, core, normalization, pooling):
        short = module.__name__.rsplit('.', 1)[-1]
        sys.modules.setdefault(f'tf_keras.legacy_tf_layers.{short}', module)


def _restore_tensor_alias() -> None:
    from tensorflow.python.framework import ops

    if not hasattr(ops, 'Tensor'):
        ops.Tensor = tf.Tensor  # pyright: ignore[reportAttributeAccessIssue]


# slim's own calls into these layers are what the warnings are about; a user can do nothing with them.
warnings.filterwarnings('ignore', message='`layer.(apply|updates)`', category=UserWarning)

_register_legacy_layers()
_restore_tensor_alias()
