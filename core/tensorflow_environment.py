"""What TensorFlow reads from the environment when it is imported, where the user has not decided: the one place for it.

Importing `core` calls `set_defaults`, and so does whatever imports `core` first, as every script and the tests do.
"""

from __future__ import annotations

import os
import platform


def set_defaults() -> None:
    """Sets what the environment does not have yet; to be called before TensorFlow is imported.

    TF_USE_LEGACY_KERAS: the Keras that slim's layers are made of (`third_party/legacy_layers.py`). Keras 3, its own
    choice, would be loaded besides, with matplotlib and scikit-learn where those are installed.

    TF_ENABLE_ONEDNN_OPTS: oneDNN's kernels on every x86 processor. By default TensorFlow has them only on processors
    with AVX512_VNNI. With AVX2 alone a training step of ICNet took a third of the time with them, and the gradients of
    dilated convolutions exist as one operation nowhere else.

    TF_CPP_MIN_LOG_LEVEL: errors only; among several processes not even those, since a worker that is lost makes the
    others' libraries say so many times before we do.
    """
    os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
    if platform.machine().lower() in ('x86_64', 'amd64'):
        os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3' if 'TF_CONFIG' in os.environ else '2')
