"""Passes over a frozen graph that make it faster, or its file smaller, and leave its answer as it is.

`optimise` says which there are; each of the other files is about one of them.
"""

from exporters.optimise.mixed import Choice
from exporters.optimise.passes import RUNTIMES, optimise
from exporters.optimise.weights import store

__all__ = ['RUNTIMES', 'Choice', 'optimise', 'store']
