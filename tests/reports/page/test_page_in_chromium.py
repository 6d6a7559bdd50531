"""The page as a person uses it, from a file, in headless Chromium: mouse and keyboard, no network, no error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from reports.page import render
from tests.reports.page import evaluation

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
CHROMEDRIVER = shutil.which('chromedriver')
FLAGS = (
    *('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'),
    *('--disable-background-networking', '--disable-component-update', '--disable-dev-shm-usage'),
    '--force-prefers-reduced-motion',  # no smooth scrolling: a place is where it is
)

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason='needs chromium and chromedriver (apt install chromium chromium-driver)'
)


@pytest.fixture(scope='module')
def evaluated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('chromium') / 'eval ü#1'  # a folder whose name a link must quote
    evaluation.make(folder)
    render.write(str(folder))
    return folder


@pytest.fixture(scope='module')
def metrics(evaluated) -> dict:
    return json.loads((evaluated / 'metrics.json').read_text())


@pytest.fixture(scope='module')
def browser(tmp_path_factory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f'--user-data-dir={tmp_path_factory.mktemp("profile")}'):
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    driver = webdriver.Chrome(options=options, service=Service(str(CHROMEDRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, evaluated) -> Iterator[webdriver.Chrome]:
    yield from _visit(browser, evaluated)


def _visit(browser, eval_dir: Path) -> Iterator[webdriver.Chrome]:
    """Its page, opened anew; nothing may have been complained of or asked of the network when a test is through."""
    browser.get_log('performance')
    browser.set_window_size(1280, 900)
    browser.get((eval_dir / 'report' / 'index.html').as_uri())
    yield browser
    assert [entry for entry in browser.get_log('browser') if entry['level'] in ('WARNING', 'SEVERE')] == []
    messages = [json.loads(entry['message'])['message'] for entry in browser.get_log('performance')]
    requests = [m['params'] for m in messages if m['method'] == 'Network.requestWillBeSent']
    # The browser's own first tab may still be asking for its parts.
    asked = {r['request']['url'] for r in requests if not r['documentURL'].startswith('chrome')}
    assert asked and all(url.startswith(('file://', 'data:')) for url in asked)
    failed = [m['params'] for m in messages if m['method'] == 'Network.loadingFailed']
    assert [f for f in failed if not f.get('canceled')] == []


def _all(page, selector: str) -> list[WebElement]:
    return page.find_elements(By.CSS_SELECTOR, selector)


def _one(page, selector: str) -> WebElement:
    return page.find_element(By.CSS_SELECTOR, selector)


def _shown(page, selector: str) -> list[WebElement]:
    return [element for element in _all(page, selector) if element.is_displayed()]


def _column(page, number: int) -> list[str]:
    return [e.get_attribute('data-value') or '' for e in _shown(page, f'#class-table tbody tr > :nth-child({number})')]


def _focused(page) -> WebElement:
    return page.switch_to.active_element


def _press(page, *keys: str) -> None:
    for key in keys:
        ActionChains(page).send_keys(key).perform()


def _names(page, entries: list[dict]) -> list[str]:
    """File names of the shown cards; equal to those of `entries` is what a test compares."""
    return [e.get_attribute('textContent') or '' for e in _shown(page, '#gallery .name')]


def test_classes_sort_by_every_column(page, metrics):
    headings = _all(page, '#class-table thead th')
    sortable = [i for i, heading in enumerate(headings) if heading.find_elements(By.TAG_NAME, 'button')]
    assert len(sortable) >= 7
    for i in sortable:
        heading = headings[i]
        heading.find_element(By.TAG_NAME, 'button').click()
        numeric = heading.get_attribute('data-kind') == 'number'
        assert heading.get_attribute('aria-sort') == ('descending' if numeric else 'ascending')
        values = [float(v) for v in _column(page, i + 1)] if numeric else _column(page, i + 1)
        assert values == sorted(values, reverse=numeric) and len(values) == 8
        heading.find_element(By.TAG_NAME, 'button').send_keys(Keys.ENTER)
        values = [float(v) for v in _column(page, i + 1)] if numeric else _column(page, i + 1)
        assert values == sorted(values, reverse=not numeric)
        assert len(_all(page, '#class-table [aria-sort]')) == 1
    assert {c: float(v) for c, v in zip(_column(page, 1), _column(page, 3), strict=True)} == metrics['class_iou']


def test_classes_filter_by_name(page):
    field = _one(page, '#class-filter')
    field.send_keys('P')
    assert _column(page, 1) == ['pavement', 'person', 'pole']
    assert _one(page, '#class-status').text == '3 of 8 classes'
    field.send_keys('<x')
    assert _column(page, 1) == [] and _one(page, '#class-status').text == '0 of 8 classes'


def test_a_cell_of_the_matrix_leads_to_its_images(page, metrics):
    pair = max(metrics['confusion_pairs'], key=lambda pair: pair['pixels'])
    names = list(metrics['class_iou'])
    at = names.index(pair['label']) * len(names) + names.index(pair['prediction'])
    _all(page, '#matrix tbody td')[at].click()
    pixels = {}
    for entry in metrics['gallery']:
        for confusion in entry['confusions']:
            if (confusion['label'], confusion['prediction']) == (pair['label'], pair['prediction']):
                pixels[entry['filename']] = confusion['pixels']
    assert pixels and _names(page, metrics['gallery']) == sorted(pixels, key=lambda name: -pixels[name])
    scores = [element.text for element in _shown(page, '#gallery .score')]
    assert scores == [f'{n:,} px' for n in sorted(pixels.values(), reverse=True)]
    worst = max(pixels, key=lambda name: pixels[name])
    assert _focused(page).find_element(By.CLASS_NAME, 'name').get_attribute('textContent') == worst
    clear = _one(page, '#pair-clear')
    assert clear.text == f'✕ only {pair["label"]} → {pair["prediction"]}'
    clear.click()
    assert len(_shown(page, '#gallery li')) == len(metrics['gallery'])


def test_a_pair_of_the_list_leads_to_its_images(page, metrics):
    button = _one(page, '#pairs button')
    button.click()
    pair = metrics['confusion_pairs'][0]
    assert _one(page, '#pair-clear').text == f'✕ only {pair["label"]} → {pair["prediction"]}'
    assert _shown(page, '#gallery li')


def test_the_matrix_by_keyboard(page, metrics):
    names = list(metrics['class_iou'])
    cells = _all(page, '#matrix tbody td')
    assert [cell.get_attribute('tabindex') for cell in cells].count('0') == 1
    page.execute_script('arguments[0].focus()', cells[0])
    _press(page, Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert _focused(page) == cells[2 * len(names) + 1]
    text = _one(page, '#cell-text').text
    share = metrics['confusion_share'][2][1]
    assert text.startswith(f'{names[2]} predicted as {names[1]}: {100 * share:.2f} % of {names[2]}, ')
    assert f'{metrics["confusion_matrix"][2][1]:,} pixels' in text
    _press(page, Keys.ENTER)
    assert _one(page, '#pair-clear').text == f'✕ only {names[2]} → {names[1]}'
    assert [cell.get_attribute('tabindex') for cell in cells].count('0') == 1


def test_the_gallery_sorts_and_filters(page, metrics):
    entries = metrics['gallery']
    scores = {entry['filename']: entry['mean_iou'] for entry in entries}
    assert _names(page, entries) == sorted(scores, key=lambda name: scores[name])
    sort = Select(_one(page, '#gallery-sort'))
    sort.select_by_value('best')
    assert _names(page, entries) == sorted(scores, key=lambda name: -scores[name])
    Select(_one(page, '#gallery-kind')).select_by_value('best')
    best = [entry['filename'] for entry in entries if 'best' in entry['kept_as']]
    assert _names(page, entries) == sorted(best, key=lambda name: -scores[name]) and len(best) == 3
    Select(_one(page, '#gallery-kind')).select_by_value('')
    sort.select_by_value('worst')
    Select(_one(page, '#gallery-class')).select_by_visible_text('person')
    person = {entry['filename']: entry['class_iou']['person'] for entry in entries if 'person' in entry['class_iou']}
    assert _names(page, entries) == sorted(person, key=lambda name: person[name])
    shown = [element.text for element in _shown(page, '#gallery .score')]
    assert shown == [f'{100 * iou:.1f} %' for iou in sorted(person.values())]
    Select(_one(page, '#gallery-class')).select_by_visible_text('any')
    _one(page, '#gallery-name').send_keys('<SCRIPT>')
    assert set(_names(page, entries)) == {name for name in scores if '<script>' in name} != set()
    assert _one(page, '#gallery-status').text == f'{len(_names(page, entries))} of {len(entries)} pictures'


def _pixel(page, x: float, y: float = 0.5) -> str:
    """What lies on top at a place of the stage, as shares of its sides."""
    script = """
      const box = document.getElementById('stage').getBoundingClientRect();
      const [x, y] = [box.left + arguments[0] * box.width, box.top + arguments[1] * box.height];
      return document.elementsFromPoint(x, y)[0].className;
    """
    return page.execute_script(script, x, y)


def test_the_viewer_by_mouse(page, metrics):
    worst = min(metrics['gallery'], key=lambda entry: entry['mean_iou'])
    _shown(page, '#gallery button')[0].click()
    assert _one(page, '#viewer-title').text == worst['filename']
    over = _one(page, '#stage .over')
    views = {'label': 'label', 'prediction': 'prediction', 'overlay': 'prediction', 'error': 'error'}
    for view, file in views.items():
        _one(page, f'#viewer [value={view}]').click()
        assert (over.get_attribute('src') or '').endswith(worst['files'][file])
        WebDriverWait(page, 5).until(
            lambda p: p.execute_script('return arguments[0].naturalWidth', over) == worst['width']
        )
        assert _one(page, '#stage').get_attribute('data-view') == view
    slider = _one(page, '#cut')
    assert (_pixel(page, 0.25), _pixel(page, 0.75)) == ('over', 'base')
    ActionChains(page).move_to_element(slider).click_and_hold().move_by_offset(200, 0).release().perform()
    assert int(slider.get_attribute('value') or 0) > 60
    stage = _one(page, '#stage')
    ActionChains(page).move_to_element_with_offset(stage, -stage.size['width'] // 4, 0).click().perform()
    assert 20 <= int(slider.get_attribute('value') or 0) <= 30
    assert (_pixel(page, 0.15), _pixel(page, 0.4)) == ('over', 'base')
    facts = _one(page, '#viewer-facts').text
    assert f'{100 * worst["mean_iou"]:.1f} %' in facts and f'{worst["width"]} \u00d7 {worst["height"]}' in facts
    for name, iou in worst['class_iou'].items():
        assert f'{name} {100 * iou:.1f} %' in facts
    _one(page, '#viewer-close').click()
    assert not _one(page, '#viewer').is_displayed()


def test_gallery_and_viewer_by_keyboard(page, metrics):
    _one(page, '#gallery-sort').send_keys(Keys.TAB)
    buttons = _shown(page, '#gallery button')
    assert _focused(page) == buttons[0]
    assert page.execute_script('return getComputedStyle(document.activeElement).outlineStyle') == 'solid'
    _press(page, Keys.ARROW_RIGHT)
    assert _focused(page) == buttons[1]
    _press(page, Keys.ARROW_DOWN)
    below = buttons.index(_focused(page))
    assert below > 2 and buttons[below].location['x'] == buttons[1].location['x']
    _press(page, Keys.HOME, Keys.ARROW_LEFT)
    assert _focused(page) == buttons[0]
    _press(page, Keys.ENTER)
    names = _names(page, metrics['gallery'])
    title = _one(page, '#viewer-title')
    assert title.text == names[0]
    assert not _one(page, '#viewer-previous').is_enabled()
    _one(page, '#viewer-next').send_keys(Keys.ENTER)
    assert title.text == names[1]
    _press(page, Keys.ARROW_RIGHT)
    assert title.text == names[2]
    _press(page, Keys.ARROW_LEFT)
    assert title.text == names[1]
    slider = _one(page, '#cut')
    before = int(slider.get_attribute('value') or 0)
    slider.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert int(slider.get_attribute('value') or 0) == before + 2 and title.text == names[1]
    cut = page.execute_script("return getComputedStyle(document.getElementById('stage')).getPropertyValue('--cut')")
    assert cut == f'{before + 2}%'
    _press(page, Keys.ESCAPE)
    assert not _one(page, '#viewer').is_displayed()
    assert _focused(page).find_element(By.CLASS_NAME, 'name').get_attribute('textContent') == names[1]


def test_everything_is_reached_by_tab_in_the_order_of_the_page(page):
    places = []
    for _ in range(80):
        _press(page, Keys.TAB)
        element = _focused(page)
        if element.tag_name == 'body':
            break
        places.append(page.execute_script('return arguments[0].getBoundingClientRect().top + scrollY', element))
        assert element.get_attribute('aria-label') or element.accessible_name, element.get_attribute('outerHTML')
    sections_reached = {int(place // 400) for place in places}
    assert len(places) > 25 and len(sections_reached) > 3
    assert page.execute_script('return document.activeElement === document.body') or len(places) < 80


def test_pictures_and_links_resolve(page):
    page.execute_script("for (const image of document.images) image.loading = 'eager'")
    images = _all(page, '#gallery img')
    WebDriverWait(page, 10).until(lambda p: p.execute_script('return [...document.images].every((i) => i.complete)'))
    assert images and all(page.execute_script('return arguments[0].naturalWidth', image) > 0 for image in images)
    for link in _all(page, 'nav a'):
        target = _one(page, (link.get_attribute('href') or '').rpartition('/')[2].partition('index.html')[2])
        link.click()
        assert abs(page.execute_script('return arguments[0].getBoundingClientRect().top', target)) < 900


@pytest.fixture(scope='module')
def compared(tmp_path_factory) -> Path:
    return evaluation.make_comparison(tmp_path_factory.mktemp('two')) / 'ab'


@pytest.fixture
def comparison_page(browser, compared) -> Iterator[webdriver.Chrome]:
    yield from _visit(browser, compared)


def test_two_evaluations_side_by_side(comparison_page, compared):
    page = comparison_page
    found = json.loads((compared / 'comparison.json').read_text())
    heading = _all(page, '#comparison-classes thead button')[3]
    heading.click()
    names = [e.get_attribute('data-value') for e in _all(page, '#comparison-classes tbody th')]
    assert names == sorted(found['class_iou'], key=lambda name: -found['class_iou'][name]['difference'])
    gallery = page.execute_script("return JSON.parse(document.getElementById('data').textContent).gallery")
    assert _names(page, gallery) == [entry['filename'] for entry in gallery]
    Select(_one(page, '#gallery-sort')).select_by_value('best')
    best = max(gallery, key=lambda entry: entry['mean_iou'] - entry['a']['mean_iou'])
    shown = _shown(page, '#gallery button')[0]
    assert shown.find_element(By.CLASS_NAME, 'name').get_attribute('textContent') == best['filename']
    change = f'{100 * best["a"]["mean_iou"]:.1f} \u2192 {100 * best["mean_iou"]:.1f} %'
    assert shown.find_element(By.CLASS_NAME, 'score').text == change
    shown.click()
    base, over = _one(page, '#stage .base'), _one(page, '#stage .over')
    views = {'b-over-a': ('prediction-a', 'prediction'), 'prediction-a': ('image', 'prediction-a')}
    for view, files in {**views, 'error-a': ('image', 'error-a'), 'error': ('image', 'error')}.items():
        _one(page, f'#viewer [value={view}]').click()
        for image, file in zip((base, over), files, strict=True):
            assert (image.get_attribute('src') or '').endswith(best['files'][file])
            WebDriverWait(page, 5).until(lambda p, i=image: p.execute_script('return arguments[0].naturalWidth', i) > 0)
    assert change in _one(page, '#viewer-facts').text


def test_hostile_names_run_nothing(page, metrics):
    assert any('<script>' in entry['filename'] for entry in metrics['gallery'])
    assert page.execute_script('return window.hacked') is None
    assert [e for e in _names(page, metrics['gallery']) if '<script>' in e]


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1280, 390])
def test_narrow_and_wide_light_and_dark(page, scheme, width):
    media = {'features': [{'name': 'prefers-color-scheme', 'value': scheme}]}
    page.execute_cdp_cmd('Emulation.setEmulatedMedia', media)
    size = {'width': width, 'height': 900, 'deviceScaleFactor': 1, 'mobile': width < 600}
    page.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size)
    try:
        page.refresh()
        assert page.execute_script('return document.documentElement.scrollWidth') <= width
        ink, paper = page.execute_script("""
          const light = (c) => c.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0);
          const style = getComputedStyle(document.body);
          return [light(style.color), light(style.backgroundColor)];""")
        assert abs(ink - paper) > 450 and (ink > paper) == (scheme == 'dark')
        line = _one(page, 'figure svg [id$=text_1]')
        drawn = page.execute_script("return getComputedStyle(arguments[0].querySelector('text')).fill", line)
        assert drawn.startswith('rgb') and drawn != 'rgb(0, 0, 0)'
        _shown(page, '#gallery button')[0].click()
        box = page.execute_script("return document.getElementById('viewer').getBoundingClientRect().toJSON()")
        assert box['left'] >= 0 and box['right'] <= width
    finally:
        page.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})
        page.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': []})


def test_it_prints_on_white_with_every_number(page):
    page.execute_cdp_cmd('Emulation.setEmulatedMedia', {'media': 'print'})
    try:
        page.execute_script("dispatchEvent(new Event('beforeprint'))")
        assert not _one(page, 'nav').is_displayed() and not _shown(page, '.tools')
        assert all(details.get_attribute('open') for details in _all(page, 'details'))
        assert page.execute_script('return getComputedStyle(document.body).backgroundColor') == 'rgb(255, 255, 255)'
        assert len(page.print_page()) > 10_000
    finally:
        page.execute_cdp_cmd('Emulation.setEmulatedMedia', {'media': ''})
