"""Choices of compression by their names on the command line; imports nothing."""

from __future__ import annotations

# What makes a filter worth keeping.
L1, L2, BATCH_NORM_SCALE = 'l1', 'l2', 'batch_norm_scale'
GEOMETRIC_MEDIAN, TAYLOR, RANDOM = 'geometric_median', 'taylor', 'random'
CRITERIA = (L1, L2, BATCH_NORM_SCALE, GEOMETRIC_MEDIAN, TAYLOR, RANDOM)

# What counts where several layers share channels.
SHORTCUT, MEAN, MAX = 'shortcut', 'mean', 'max'
AGGREGATES = (SHORTCUT, MEAN, MAX)

# What is ranked together.
UNIFORM, GLOBAL, SENSITIVITY = 'uniform', 'global', 'sensitivity'
SCOPES = (UNIFORM, GLOBAL, SENSITIVITY)
