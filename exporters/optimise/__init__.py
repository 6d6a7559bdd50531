"""Passes over a frozen graph that make it faster, or its file smaller, and leave its answer as it is.

`optimise` says which there are; each of the other files is about one of them.
"""

from exporters.optimise.passes import COMPUTE_TYPES, RUNTIMES, optimise
from exporters.optimise.weights import STORED_TYPES, store

__all__ = ['COMPUTE_TYPES', 'RUNTIMES', 'STORED_TYPES', 'optimise', 'store']
