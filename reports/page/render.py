"""Writes `<eval_dir>/report/index.html` from the JSON files of an evaluation or of a comparison."""

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
from reports.page import comparison as comparisons
from reports.page import content, sections
from reports.page.content import Content
from reports.page.picture_files import report_dir

PAGE = 'index.html'
_TEMPLATE = Path(__file__).parent / 'template'
_NEEDED = {
    'metrics.json': ('mean_iou', 'class_iou', 'confusion_matrix'),
    'comparison.json': ('a', 'b', 'mean_iou', 'class_iou', 'sign_test', 'most_changed'),
}


def write(eval_dir: str) -> str:
    """Makes the page of what lies in `eval_dir`: metrics.json, comparison.json, or both; returns its path.

    The page is written beside and renamed.

    Raises:
      DataError: neither is there, or one is no JSON or not of eval.py.
    """
    metrics, comparison = (_read(eval_dir, name) for name in _NEEDED)
    if metrics:
        page = content.of_evaluation(metrics, eval_dir, comparison)
    elif comparison:
        page = content.of_comparison(comparison, eval_dir)
    else:
        raise DataError(f'{eval_dir}: no metrics.json and no comparison.json there; run eval.py with this --eval_dir')
    folder = report_dir(eval_dir)
    tf.io.gfile.makedirs(folder)
    path = os.path.join(folder, PAGE)
    temporary = f'{path}.{os.getpid()}.tmp'
    with tf.io.gfile.GFile(temporary, 'w') as f:
        f.write(html(page))
    tf.io.gfile.rename(temporary, path, overwrite=True)
    return path


def html(page: Content) -> str:
    """The page as text, everything but the pictures in it."""
    script = _asset('page.js')
    return (
        _environment()
        .get_template('page.html.j2')
        .render(
            title=page.title,
            subtitle=page.subtitle,
            sections=[{'id': name, 'title': title} for name, title in page.sections],
            style=Markup(_asset('page.css')),
            script=Markup(script),
            script_hash='sha256-' + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            data=page.data,
            **page.context,
        )
    )


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
        'points': comparisons.points,
        'position': sections.position,
        'decimal': lambda value, digits: f'{value:.{digits}f}',
        'count': lambda value: f'{value:,}',
        'link': quote,
    }
    return environment


def _asset(name: str) -> str:
    return (_TEMPLATE / name).read_text(encoding='utf-8')


def _read(eval_dir: str, name: str) -> dict[str, Any] | None:
    """One of the JSON files; None if there is none."""
    path = os.path.join(eval_dir, name)
    try:
        with tf.io.gfile.GFile(path) as f:
            found = json.loads(f.read())
    except tf.errors.NotFoundError:
        return None
    except (ValueError, tf.errors.OpError) as error:
        raise DataError(f'{path}: cannot be read as JSON: {error}') from error
    missing = [key for key in _NEEDED[name] if not isinstance(found, dict) or key not in found]
    if missing:
        raise DataError(f'{path}: no {missing[0]}, so not of this eval.py; run it again')
    return found
