"""What the templates need, of one evaluation or of a comparison of two."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from reports.page import comparison as two
from reports.page import figures, sections
from reports.page.picture_files import report_dir
from reports.page.sections import Metrics

_VIEWS = (('label', 'Label'), ('prediction', 'Prediction'), ('overlay', 'Overlay'), ('error', 'Errors'))
_VIEWS_OF_TWO = (
    ('b-over-a', 'Prediction B | A'),
    ('label', 'Label'),
    ('prediction-a', 'Prediction A'),
    ('prediction', 'Prediction B'),
    ('error-a', 'Errors A'),
    ('error', 'Errors B'),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Content:
    """One page.

    Attributes:
      title, subtitle: its head.
      sections: (id, title) in order; the template of each is `<id>.html.j2`.
      context: what the templates use.
      data: the JSON in the page.
    """

    title: str
    subtitle: str
    sections: list[tuple[str, str]]
    context: dict[str, Any]
    data: dict[str, Any]


def of_evaluation(metrics: Metrics, eval_dir: str, comparison: two.Comparison | None = None) -> Content:
    """The page of metrics.json, with a section on the comparison that lies beside it, if there is one."""
    gallery = sections.gallery(metrics, report_dir(eval_dir))
    charts = figures.figures(metrics)
    categories = sections.category_rows(metrics)
    shown = [
        ('summary', 'Summary', True),
        ('comparison', 'Comparison', bool(comparison)),
        ('classes', 'Classes', True),
        ('confusion', 'Confusion', True),
        ('failures', 'Where it fails', bool(charts)),
        ('images', 'Images', bool(gallery)),
        ('run', 'The run', True),
    ]
    context = {
        'level': sections.level_of(metrics),
        'has_intervals': bool((metrics.get('intervals') or {}).get('class_iou')),
        'interval_note': sections.interval_note(metrics),
        'headline': sections.headline(metrics),
        'findings': sections.findings(metrics),
        'absent': metrics.get('absent_classes') or [],
        'class_columns': sections.columns(metrics),
        'classes': sections.class_rows(metrics),
        'categories': categories,
        'has_category_instances': any(row['instance_iou'] is not None for row in categories),
        'matrix': sections.matrix(metrics),
        'pairs': sections.pairs(metrics),
        'figures': charts,
        'run': sections.run(metrics),
        'comparison': comparison and _comparison(comparison, metrics.get('class_colors') or {}),
        **_images(gallery, list(metrics['class_iou']), metrics.get('num_examples') or len(gallery), _VIEWS),
    }
    return Content(
        title=_title(metrics),
        subtitle=_subtitle(metrics),
        sections=[(name, title) for name, title, there in shown if there],
        context=context,
        data={**metrics, 'gallery': gallery, **({'comparison': comparison} if comparison else {})},
    )


def of_comparison(comparison: two.Comparison, eval_dir: str) -> Content:
    """The page of comparison.json alone, with the pictures that both evaluations kept; copies these."""
    a, b = (two.load_side(comparison, side, eval_dir) for side in 'ab')
    gallery = two.gallery(a, b, report_dir(eval_dir)) if a and b else []
    colors = b.get('class_colors') or {}
    shown = [('comparison', 'Comparison', True), ('images', 'Images', bool(gallery)), ('run', 'The runs', True)]
    context = {
        'comparison': _comparison(comparison, colors),
        'run': two.run(comparison),
        **_images(gallery, list(comparison['class_iou']), comparison['num_images'], _VIEWS_OF_TWO),
    }
    return Content(
        title='Comparison of two evaluations',
        subtitle=f'A: {_name(comparison["a"])} · B: {_name(comparison["b"])}',
        sections=[(name, title) for name, title, there in shown if there],
        context=context,
        data={**comparison, 'gallery': gallery, 'class_colors': colors},
    )


def _comparison(comparison: two.Comparison, colors: dict[str, str]) -> dict[str, Any]:
    return {
        'sides': [(side.upper(), _name(comparison[side])) for side in 'ab'],
        'findings': two.findings(comparison),
        'level': f'{100 * comparison["level"]:g} %',
        'means': two.means(comparison),
        'classes': two.class_rows(comparison, colors),
        'changed': comparison['most_changed'],
    }


def _images(gallery: list[dict[str, Any]], names: list[str], num_examples: int, views: Any) -> dict[str, Any]:
    return {
        'gallery': gallery,
        'gallery_classes': [name for name in names if any(name in entry['class_iou'] for entry in gallery)],
        'num_examples': num_examples,
        'views': views,
        'of_two': views is _VIEWS_OF_TWO,
    }


def _title(metrics: Metrics) -> str:
    config = os.path.basename(str(metrics.get('config') or ''))
    return f'Evaluation of {os.path.splitext(config)[0]}' if config else 'Evaluation'


def _subtitle(metrics: Metrics) -> str:
    parts = []
    if metrics.get('step') is not None:
        parts.append(f'step {metrics["step"]:,}')
    if metrics.get('num_examples') is not None:
        parts.append(f'{metrics["num_examples"]:,} images')
    if metrics.get('eval_input'):
        parts.append(str(metrics['eval_input']))
    return ' · '.join(parts)


def _name(side: dict[str, Any]) -> str:
    step = f', step {side["step"]:,}' if side.get('step') is not None else ''
    return f'{os.path.dirname(str(side.get("metrics")))}{step}'
