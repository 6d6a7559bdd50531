"""The page as a file: what it holds, what it leaves out, what it does with hostile text."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from core.errors import DataError
from reports.page import __main__ as command
from reports.page import charts, content, render, sections
from tests import commands
from tests.reports.page import evaluation

HOSTILE = (
    '</script><script>alert(1)</script>',
    'a"onclick="b',
    "it's $x^$",
    '&amp;',
    'ö€ - 車',
    '{{ 1 + 1 }}',
    'x' * 80,
    '0',
)


class _Page(HTMLParser):
    """Tags with their attributes, and the text of each script."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or '' for name, value in attrs}))
        if tag == 'script':
            self.scripts.append('')

    def handle_data(self, data):
        if self.tags and self.lasttag == 'script' and self.cdata_elem == 'script':
            self.scripts[-1] += data

    def ids(self) -> list[str]:
        return [str(attributes['id']) for _, attributes in self.tags if 'id' in attributes]


@pytest.fixture(scope='module')
def evaluated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('page') / 'eval'
    evaluation.make(folder)
    render.write(str(folder))
    return folder


@pytest.fixture(scope='module')
def text(evaluated) -> str:
    return (evaluated / 'report' / 'index.html').read_text(encoding='utf-8')


def test_every_score_of_the_json_is_shown(evaluated, text):
    metrics = json.loads((evaluated / 'metrics.json').read_text())
    assert f'{100 * metrics["mean_iou"]:.2f}' in text
    low, high = metrics['intervals']['mean_iou']
    assert f'{100 * low:.1f} to {100 * high:.1f}' in text
    for name, iou in metrics['class_iou'].items():
        row = text[text.index(f'<tr data-class="{name}">') :].partition('</tr>')[0]
        assert f'>{100 * iou:.1f}<' in row and f'>{100 * metrics["class_precision"][name]:.1f}<' in row
        low, high = metrics['intervals']['class_iou'][name]
        assert f'{100 * low:.1f} to {100 * high:.1f}' in row


def test_the_numbers_of_every_chart_stand_below_it(evaluated, text):
    metrics = json.loads((evaluated / 'metrics.json').read_text())

    def rows(title):
        table = text[text.index(f'<h3>{title}</h3>') :].partition('<table>')[2].partition('</table>')[0]
        cells = [re.findall(r'<t[hd][^>]*>(.*?)</t[hd]>', row) for row in table.split('</tr>')]
        return {html.unescape(row[0]): row[1:] for row in cells if row}

    for title, bins in (
        ('Near the borders', metrics['boundary']['trimap']),
        ('By distance from the border', metrics['boundary']['by_distance']),
        ('By size of the object', [b for b in metrics['size'] if b['num_objects']]),
    ):
        found = rows(title)
        assert found['mean IoU %'] == [sections.percent(b['mean_iou']) for b in bins]
        for name in metrics['class_iou']:
            assert found[f'{name} %'] == [sections.percent(b['class_iou'][name]) for b in bins]
    bins = [b for b in metrics['calibration']['bins'] if b['accuracy'] is not None]
    calibration = [[key, values[0]] for key, values in rows('Calibration').items()][1:]
    assert calibration == [[sections.percent(b['confidence']), sections.percent(b['accuracy'])] for b in bins]


def test_the_page_embeds_the_json(evaluated, text):
    metrics = json.loads((evaluated / 'metrics.json').read_text())
    embedded = json.loads(_Page(text).scripts[0])
    gallery = {entry['filename']: entry for entry in embedded.pop('gallery')}
    assert gallery == {entry['filename']: entry for entry in metrics.pop('gallery')}
    assert embedded == metrics


def test_nothing_is_loaded_from_elsewhere(evaluated, text):
    page = _Page(text)
    assert {tag for tag, _ in page.tags} & {'link', 'iframe', 'object', 'base'} == {'link'}
    sources = [a[key] for _, a in page.tags for key in ('src', 'href') if a.get(key)]
    files = [source for source in sources if not source.startswith(('#', 'data:,'))]
    assert files and all((evaluated / 'report' / source).is_file() for source in files)
    assert not re.search(r'@import|url\((?!#)', text)


def test_ids_are_unique_and_references_resolve(text):
    page = _Page(text)
    assert len(page.ids()) == len(set(page.ids()))
    references = [a['href'][1:] for _, a in page.tags if a.get('href', '').startswith('#')]
    references += re.findall(r'url\(#([^)]+)\)', text)
    references += [a['xlink:href'][1:] for _, a in page.tags if a.get('xlink:href')]
    assert references and set(references) <= set(page.ids())


def test_hostile_names_are_text(tmp_path):
    evaluation.make(tmp_path, num_images=5, names=HOSTILE)
    path = render.write(str(tmp_path))
    page = _Page(Path(path).read_text(encoding='utf-8'))
    assert len(page.scripts) == 2
    assert not [a for _, a in page.tags if any(name.startswith('on') for name in a)]
    assert list(json.loads(page.scripts[0])['class_iou']) == list(HOSTILE)
    assert [a['data-class'] for tag, a in page.tags if tag == 'tr' and 'data-class' in a] == list(HOSTILE)


def test_a_hostile_config_path_is_text(tmp_path):
    metrics = evaluation.make(tmp_path, num_images=2)
    metrics['config'] = 'x/<img src=x onerror=alert(1)>.config'
    text = render.html(content.of_evaluation(metrics, str(tmp_path)))
    assert html.escape('<img src=x onerror=alert(1)>') in text and '<img src=x' not in text


def test_the_script_holds_what_the_policy_allows(text):
    policy = next(a['content'] for _, a in _Page(text).tags if a.get('http-equiv') == 'Content-Security-Policy')
    digest = base64.b64encode(hashlib.sha256(_Page(text).scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in str(policy) and "default-src 'none'" in str(policy)


@pytest.mark.parametrize('name', ['--><script>alert(1)</script>', '<b>', '$x^$', 'x' * 200, 'ö€ 車', '_hidden', '&lt;'])
def test_a_hostile_name_in_a_chart_is_text(name):
    series = {'mean': [0.1, None], name: [0.5, 0.2]}
    svg = charts.curves('c', places=['1', '<2>'], series=series, colors={}, x_label='x', y_label='y')
    page = _Page(svg)
    assert not {tag for tag, _ in page.tags} & {'script', 'b'}
    shown = [html.unescape(text).lstrip('\u200b') for text in re.findall(r'<text [^>]*>(.*?)</text>', svg)]
    assert '<2>' in shown and any(text.rstrip('…') == name[: len(text.rstrip('…'))] and len(text) > 2 for text in shown)


def test_an_evaluation_in_which_nothing_is_defined(tmp_path):
    metrics = evaluation.make(tmp_path, num_images=2)
    nothing = dict.fromkeys(metrics['class_iou'])
    names = list(nothing)
    metrics |= {'mean_iou': None, 'class_iou': nothing, 'gallery': [], 'absent_classes': names, 'confusion_pairs': []}
    metrics |= {'confusion_matrix': [[0] * 8] * 8, 'confusion_share': [[None] * 8] * 8, 'intervals': None}
    text = render.html(content.of_evaluation(metrics, str(tmp_path)))
    assert text.count('>-<') >= 8 and 'NaN' not in text and 'nan' not in text.partition('<main')[2].partition('<svg')[0]


def test_what_was_not_measured_is_left_out(tmp_path):
    basic = ('mean_iou', 'pixel_accuracy', 'mean_accuracy', 'class_iou', 'class_accuracy', 'class_share')
    full = evaluation.make(tmp_path, num_images=2)
    metrics = {key: full[key] for key in (*basic, 'confusion_matrix', 'num_pixels', 'num_examples', 'step')}
    metrics |= {'intervals': None, 'calibration': None, 'gallery': []}
    text = render.html(content.of_evaluation(metrics, str(tmp_path)))
    page = _Page(text)
    assert {'summary', 'classes', 'confusion', 'run'} <= set(page.ids())
    assert not {'failures', 'images', 'viewer'} & set(page.ids())
    assert 'interval' not in text.partition('<main')[2].partition('<footer')[0].replace('class="interval"', '').replace(
        'with its interval', ''
    )


def test_an_absent_class_has_a_dash(tmp_path):
    metrics = evaluation.make(tmp_path, num_images=2)
    metrics['class_iou']['pole'] = None
    metrics['intervals']['class_iou']['pole'] = None
    metrics['absent_classes'] = ['pole']
    text = render.html(content.of_evaluation(metrics, str(tmp_path)))
    row = text[text.index('<tr data-class="pole">') :].partition('</tr>')[0]
    assert 'data-value="">-<' in row
    assert 'Not in this data, so without a score: pole.' in text


def test_pictures_that_are_gone_are_left_out(tmp_path):
    metrics = evaluation.make(tmp_path, num_images=3)
    report = tmp_path / 'report'
    gone = metrics['gallery'][1]
    (report / gone['files']['error']).unlink()
    assert [e['filename'] for e in sections.gallery(metrics, str(report))] == sorted(
        (e['filename'] for e in metrics['gallery'] if e is not gone),
        key={e['filename']: e['mean_iou'] for e in metrics['gallery']}.__getitem__,
    )


@pytest.mark.parametrize(
    ('content', 'word'),
    [
        (None, 'no metrics.json and no comparison.json there; run eval.py'),
        ('{', 'cannot be read as JSON'),
        ('[]', 'no mean_iou, so not of this eval.py'),
        ('{}', 'no mean_iou'),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, content, word):
    if content is not None:
        (tmp_path / 'metrics.json').write_text(content)
    with pytest.raises(DataError, match=word) as raised:
        render.write(str(tmp_path))
    assert str(tmp_path) in str(raised.value) and '\n' not in str(raised.value)
    assert not (tmp_path / 'report' / 'index.html').exists()


def test_the_command(evaluated, tmp_path, capsys):
    page = evaluated / 'report' / 'index.html'
    before = page.read_bytes()
    page.unlink()
    assert commands.exit_code(command.main, ['--eval_dir', str(evaluated)]) == 0
    assert capsys.readouterr().out == f'wrote {page}\n'
    assert page.read_bytes() == before  # the same input gives the same bytes
    assert commands.exit_code(command.main, ['--eval_dir', str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith('error: ')
