"""The charts of the page, each with its numbers as a table, from `metrics.json`."""

from __future__ import annotations

import dataclasses
from typing import Any

from markupsafe import Markup

from reports.page import charts
from reports.page.sections import Metrics, percent

_NUM_LOWEST = 3  # classes that a chart shows beside the mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing with the numbers it was made from, as text."""

    title: str
    caption: str
    svg: Markup
    columns: list[str]
    rows: list[list[str]]


def figures(metrics: Metrics) -> list[Figure]:
    """Boundaries, sizes and calibration, as far as they were measured."""
    makers = (_trimap, _rings, _sizes, _calibration)
    return [figure for figure in (maker(metrics) for maker in makers) if figure]


def _trimap(metrics: Metrics) -> Figure | None:
    bands = (metrics.get('boundary') or {}).get('trimap')
    if not bands:
        return None
    return _scores(
        'trimap',
        bands,
        metrics,
        title='Near the borders',
        caption='IoU of the pixels near a border between two labels: the mean, and the lowest classes.',
        places=[f'{band["distance_px"]:g}' for band in bands],
        x_label='pixels from a border, at most',
        more=[('share', 'pixels %')],
    )


def _rings(metrics: Metrics) -> Figure | None:
    bands = (metrics.get('boundary') or {}).get('by_distance')
    if not bands:
        return None
    return _scores(
        'rings',
        bands,
        metrics,
        title='By distance from the border',
        caption='IoU of the pixels of each ring around the borders; the last ring is everything beyond.',
        places=[_span(*band['distance_px']) for band in bands],
        x_label='pixels from a border',
        more=[('share', 'pixels %')],
    )


def _sizes(metrics: Metrics) -> Figure | None:
    bins = [b for b in metrics.get('size') or [] if b['num_objects']]
    if not bins:
        return None
    return _scores(
        'sizes',
        bins,
        metrics,
        title='By size of the object',
        caption='IoU of connected areas of one class, by how many pixels they have.',
        places=[_span(*b['pixels']) for b in bins],
        x_label='pixels of the object',
        more=[('num_objects', 'objects')],
    )


def _calibration(metrics: Metrics) -> Figure | None:
    calibration = metrics.get('calibration')
    bins = [b for b in (calibration or {}).get('bins') or [] if b['accuracy'] is not None]
    if not calibration or not bins:
        return None
    svg = charts.reliability(
        'calibration',
        confidence=[b['confidence'] for b in bins],
        accuracy=[b['accuracy'] for b in bins],
        share=[b['share'] for b in bins],
    )
    return Figure(
        title='Calibration',
        caption='How often the network is right at each confidence; below the dashed line it is too sure of itself. '
        f'Expected calibration error {percent(calibration["ece"], 2)} %.',
        svg=svg,
        columns=['confidence %', 'accuracy %', 'pixels %'],
        rows=[[percent(b['confidence']), percent(b['accuracy']), percent(b['share'], 2)] for b in bins],
    )


def _scores(
    name: str,
    bins: list[dict[str, Any]],
    metrics: Metrics,
    *,
    title: str,
    caption: str,
    places: list[str],
    x_label: str,
    more: list[tuple[str, str]],
) -> Figure:
    """Mean IoU and the IoU of the lowest classes over the bins; the table has every class."""
    series = {'mean': [b['mean_iou'] for b in bins]}
    series |= {name: [b['class_iou'].get(name) for b in bins] for name in _lowest(metrics)}
    colors = {name: color for name, color in (metrics.get('class_colors') or {}).items() if name in series}
    rows = [['mean IoU %', *(percent(b['mean_iou']) for b in bins)]]
    rows += [[f'{of} %', *(percent(b['class_iou'].get(of)) for b in bins)] for of in metrics['class_iou']]
    rows += [[text, *(_amount(b[key]) for b in bins)] for key, text in more if all(key in b for b in bins)]
    return Figure(
        title=title,
        caption=caption,
        svg=charts.curves(name, places=places, series=series, colors=colors, x_label=x_label, y_label='IoU'),
        columns=[x_label, *places],
        rows=rows,
    )


def _amount(value: float) -> str:
    return f'{value:,}' if isinstance(value, int) else percent(value)


def _lowest(metrics: Metrics) -> list[str]:
    defined = {name: iou for name, iou in metrics['class_iou'].items() if iou is not None}
    return sorted(defined, key=lambda name: defined[name])[:_NUM_LOWEST] if len(defined) > _NUM_LOWEST else []


def _span(low: float, high: float | None) -> str:
    """A bin in words that an axis has room for; the JSON has the exact ends."""
    return f'{_short(low)}+' if high is None else f'{_short(low)} to {_short(high)}'


def _short(number: float) -> str:
    return f'{number:g}' if number < 1000 else f'{number / 1000:.2g}k'
