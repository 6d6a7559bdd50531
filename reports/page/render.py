"""Writes `<eval_dir>/report/index.html` from the JSON files of an evaluation."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import tensorflow as tf
from markupsafe import Markup

from core.errors import DataError
from reports.page import figures, sections
from reports.page.picture_files import report_dir

PAGE = 'index.html'
_TEMPLATE = Path(__file__).parent / 'template'
_VIEWS = (('label', 'Label'), ('prediction', 'Prediction'), ('overlay', 'Overlay'), ('error', 'Errors'))


def write(eval_dir: str) -> str:
    """Makes the page of the last evaluation in `eval_dir`; returns its path.

    Reads `metrics.json`, and `comparison.json` where there is one. The page is written beside and renamed.

    Raises:
      DataError: `metrics.json` is missing, no JSON, or not of eval.py.
    """
    metrics = _read(os.path.join(eval_dir, 'metrics.json'))
    missing = [key for key in ('mean_iou', 'class_iou', 'confusion_matrix') if key not in metrics]
    if missing:
        raise DataError(f'{eval_dir}/metrics.json: no {missing[0]}, so not of eval.py; run eval.py again')
    folder = report_dir(eval_dir)
    tf.io.gfile.makedirs(folder)
    path = os.path.join(folder, PAGE)
    temporary = f'{path}.{os.getpid()}.tmp'
    with tf.io.gfile.GFile(temporary, 'w') as f:
        f.write(html(metrics, folder))
    tf.io.gfile.rename(temporary, path, overwrite=True)
    return path


def html(metrics: dict[str, Any], folder: str) -> str:
    """The page as text; `folder` is where it will lie, with its pictures."""
    gallery = sections.gallery(metrics, folder)
    charts = figures.figures(metrics)
    style, script = _asset('page.css'), _asset('page.js')
    shown = [
        ('summary', 'Summary', True),
        ('classes', 'Classes', True),
        ('confusion', 'Confusion', True),
        ('failures', 'Where it fails', bool(charts)),
        ('images', 'Images', bool(gallery)),
        ('run', 'The run', True),
    ]
    categories = sections.category_rows(metrics)
    return (
        _environment()
        .get_template('page.html.j2')
        .render(
            title=_title(metrics),
            subtitle=_subtitle(metrics),
            sections=[{'id': name, 'title': title} for name, title, there in shown if there],
            style=Markup(style),
            script=Markup(script),
            script_hash='sha256-' + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            data={**metrics, 'gallery': gallery},
            level=sections.level_of(metrics),
            has_intervals=bool((metrics.get('intervals') or {}).get('class_iou')),
            interval_note=sections.interval_note(metrics),
            headline=sections.headline(metrics),
            findings=sections.findings(metrics),
            absent=metrics.get('absent_classes') or [],
            class_columns=sections.columns(metrics),
            classes=sections.class_rows(metrics),
            categories=categories,
            has_category_instances=any(row['instance_iou'] is not None for row in categories),
            matrix=sections.matrix(metrics),
            pairs=sections.pairs(metrics),
            figures=charts,
            gallery=gallery,
            gallery_classes=[name for name in metrics['class_iou'] if any(name in e['class_iou'] for e in gallery)],
            num_examples=metrics.get('num_examples') or len(gallery),
            views=_VIEWS,
            run=sections.run(metrics),
        )
    )


def _title(metrics: dict[str, Any]) -> str:
    config = os.path.basename(str(metrics.get('config') or ''))
    return f'Evaluation of {os.path.splitext(config)[0]}' if config else 'Evaluation'


def _subtitle(metrics: dict[str, Any]) -> str:
    parts = []
    if metrics.get('step') is not None:
        parts.append(f'step {metrics["step"]:,}')
    if metrics.get('num_examples') is not None:
        parts.append(f'{metrics["num_examples"]:,} images')
    if metrics.get('eval_input'):
        parts.append(str(metrics['eval_input']))
    return ' · '.join(parts)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies['json.dumps_kwargs'] = {'sort_keys': False}
    environment.filters |= {
        'percent': sections.percent,
        'position': sections.position,
        'decimal': lambda value, digits: f'{value:.{digits}f}',
        'count': lambda value: f'{value:,}',
        'link': quote,
    }
    return environment


def _asset(name: str) -> str:
    return (_TEMPLATE / name).read_text(encoding='utf-8')


def _read(path: str) -> dict[str, Any]:
    try:
        with tf.io.gfile.GFile(path) as f:
            content = json.loads(f.read())
    except tf.errors.NotFoundError as error:
        raise DataError(f'{path}: no such file; run eval.py with this --eval_dir first') from error
    except (ValueError, tf.errors.OpError) as error:
        raise DataError(f'{path}: cannot be read as JSON: {error}') from error
    if not isinstance(content, dict):
        raise DataError(f'{path}: not of eval.py; run eval.py again')
    return content
