"""Contracts and leaf maths.

Every script imports this package before TensorFlow, so it is where TensorFlow's environment is set.
"""

from core import tensorflow_environment

tensorflow_environment.set_defaults()
