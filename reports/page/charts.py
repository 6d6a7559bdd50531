"""Charts of the page as SVG that takes its colours from the page's style sheet, light or dark."""

from __future__ import annotations

import io
import itertools
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Stand-ins that matplotlib draws with, each replaced by a variable of page.css.
_INK, _MUTED, _LINE, _ACCENT, _SOFT, _BAD = (f'#0102{i:02x}' for i in range(6))
_VARIABLES = {_INK: 'ink', _MUTED: 'muted', _LINE: 'line', _ACCENT: 'accent', _SOFT: 'accent-soft', _BAD: 'bad'}
_STYLE: dict[Any, Any] = {
    'svg.fonttype': 'none',
    'text.parse_math': False,  # a dollar in a name is a dollar
    'font.family': 'DejaVu Sans',
    'font.size': 9,
    'text.color': _INK,
    'axes.labelcolor': _MUTED,
    'axes.edgecolor': _LINE,
    'xtick.color': _MUTED,
    'ytick.color': _MUTED,
    'grid.color': _LINE,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'legend.frameon': False,
}
_SIZE = (4.6, 3.0)
_LONGEST = 24  # letters of a name in a legend


def reliability(name: str, *, confidence: Sequence[float], accuracy: Sequence[float], share: Sequence[float]) -> Markup:
    """Accuracy over confidence with the diagonal of a calibrated network, and how many pixels are where.

    Args:
      name: of the chart, unique on the page.
      confidence, accuracy: of each bin, 0..1.
      share: of all pixels, 0..1.
    """
    with _figure(name, rows=2, height_ratios=(3, 1)) as (figure, (top, bottom)):
        top.plot([0, 1], [0, 1], color=_MUTED, linestyle='--', linewidth=1, label='calibrated')
        top.plot(confidence, accuracy, color=_ACCENT, marker='o', markersize=4, label='this network')
        top.set(ylabel='accuracy', xlim=(0, 1), ylim=(0, 1))
        top.legend(ncols=2, loc='upper center', bbox_to_anchor=(0.5, 1.2), fontsize=8)
        bottom.bar(confidence, share, width=0.6 / max(len(confidence), 1), color=_SOFT)
        bottom.set(xlabel='confidence', ylabel='pixels', xlim=(0, 1))
    return _svg(figure, name)


def curves(
    name: str,
    *,
    places: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    colors: Mapping[str, str],
    x_label: str,
    y_label: str,
) -> Markup:
    """Scores in 0..1 over bins; None leaves a gap. The first series stands out.

    Args:
      places: what the bins are called.
      series: by name, one value a bin.
      colors: of the series after the first, '#rrggbb'.
    """
    with _figure(name) as (figure, (axes,)):
        for (label, values), marker in zip(series.items(), itertools.cycle('osD^v')):
            first = marker == 'o'
            axes.plot(
                range(len(places)),
                _with_gaps(values),
                color=_ACCENT if first else colors.get(label, _MUTED),
                marker=marker,
                markeredgecolor=_INK,
                markeredgewidth=0 if first else 0.5,
                markersize=5,
                linewidth=2.4 if first else 1.2,
                label=_legend_text(label),
            )
        axes.set_xticks(range(len(places)), places, fontsize=8 if len(places) < 7 else 7)
        axes.set(xlabel=x_label, ylabel=y_label, ylim=(0, 1))
        axes.legend(ncols=2, loc='upper center', bbox_to_anchor=(0.5, 1.17), fontsize=8)
    return _svg(figure, name)


@contextmanager
def _figure(
    name: str, *, rows: int = 1, height_ratios: Sequence[float] = (1,)
) -> Iterator[tuple[Figure, Sequence[Axes]]]:
    with matplotlib.rc_context({**_STYLE, 'svg.hashsalt': name}):
        figure = Figure(figsize=_SIZE, layout='constrained')
        figure.patch.set_alpha(0)
        grid = figure.subplots(rows, 1, squeeze=False, sharex=True, gridspec_kw={'height_ratios': height_ratios})
        for axes in grid[:, 0]:
            axes.patch.set_alpha(0)
            axes.grid(axis='y', linewidth=0.6)
            axes.set_axisbelow(True)
        yield figure, list(grid[:, 0])


def _svg(figure: Figure, name: str) -> Markup:
    """The drawing alone: its own ids, its colours as variables; the text in it is escaped by matplotlib."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({**_STYLE, 'svg.hashsalt': name}), warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph')  # the browser has fonts for it
        figure.savefig(buffer, format='svg', metadata={'Date': None, 'Creator': None, 'Format': None, 'Type': None})
    text = buffer.getvalue().decode('utf-8')
    text = text[text.index('<svg') :]
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf'\g<1>{name}-', text)
    text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f'var(--{variable})')
    return Markup(text)


def _legend_text(name: str) -> str:
    """Not too long, and shown: matplotlib leaves out names that begin with an underscore."""
    short = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + '…'
    return f'\u200b{short}' if short.startswith('_') else short


def _with_gaps(values: Sequence[float | None]) -> list[float]:
    return [float('nan') if value is None else value for value in values]
