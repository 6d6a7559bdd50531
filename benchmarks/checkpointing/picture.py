"""Memory over the timeline of a step, plain against planned."""

from __future__ import annotations

from typing import Any

_LABELS = {'plain': 'plain', 'auto': 'a third of a forward pass again', 'memory': 'least memory'}


def draw(runs: dict[str, dict[str, Any]], path: str) -> None:
    """Writes a PNG of the `timeline` of each request."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 4), layout='constrained')
    for request, run in runs.items():
        seconds, megabytes = zip(*run['timeline'], strict=True)
        axes.plot(seconds, [m / 1000 for m in megabytes], label=_LABELS[request])
    axes.set(xlabel='CPU seconds into one training step', ylabel='GB above the process before it', ylim=(0, None))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
