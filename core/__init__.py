"""Contracts and leaf maths.

Every script imports this package before TensorFlow, so it is where TensorFlow is told which Keras to load: the one
that slim's layers are made of (`third_party/legacy_layers.py`). Keras 3, its own choice, would be loaded besides, with
matplotlib and scikit-learn where those are installed, before anything happens.
"""

import os

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
