'use strict';
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId('data').textContent);
const percent = (x) => (x === null || x === undefined ? '-' : (100 * x).toFixed(1));
const element = (tag, text, className) => Object.assign(document.createElement(tag), {textContent: text, className: className || ''});
const matches = (text, typed) => text.toLowerCase().includes(typed.trim().toLowerCase());

// Class tables: sort by a heading, filter by name.
for (const button of document.querySelectorAll('table.sortable thead button')) {
  button.addEventListener('click', () => {
    const header = button.closest('th'), table = header.closest('table'), numeric = header.dataset.kind === 'number';
    const first = numeric ? 'descending' : 'ascending';
    const order = header.getAttribute('aria-sort') === first ? (numeric ? 'ascending' : 'descending') : first;
    for (const other of header.parentNode.children) other.removeAttribute('aria-sort');
    header.setAttribute('aria-sort', order);
    const sign = order === 'ascending' ? 1 : -1, value = (row) => row.cells[header.cellIndex].dataset.value;
    const compare = (a, b) => {
      if (!numeric) return sign * a.localeCompare(b);
      return a === '' || b === '' ? (a === '') - (b === '') : sign * (a - b);  // undefined scores stay last
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => compare(value(a), value(b))));
  });
}
byId('class-filter')?.addEventListener('input', (event) => {
  const rows = [...byId('class-table').tBodies[0].rows];
  for (const row of rows) row.hidden = !matches(row.dataset.class, event.target.value);
  byId('class-status').textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} classes`;
});

// One tab stop for a group of cells or cards; arrow keys move within it.
function rove(items, current) {
  for (const item of items) item.tabIndex = item === current ? 0 : -1;
}
function step(items, event, columns) {
  const moves = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -items.length, End: items.length};
  if (!(event.key in moves)) return;
  event.preventDefault();
  const at = items.indexOf(event.target), to = at + moves[event.key];
  const edge = ['Home', 'End'].includes(event.key), next = items[edge ? Math.max(0, Math.min(items.length - 1, to)) : to];
  if (next) { rove(items, next); next.focus(); }
}

// Confusion matrix and its list of pairs: a choice leads to the images.
const matrix = byId('matrix');
if (matrix) {
  const names = [...matrix.tHead.rows[0].cells].slice(1).map((cell) => cell.title);
  const cells = [...matrix.querySelectorAll('tbody td')];
  const say = (event) => { if (event.target.ariaLabel) byId('cell-text').textContent = event.target.ariaLabel; };
  const choose = (event) => {
    const at = cells.indexOf(event.target);
    if (at < 0) return;
    rove(cells, event.target);
    showPair(names[Math.floor(at / names.length)], names[at % names.length]);
  };
  rove(cells, cells[0]);
  for (const type of ['focusin', 'mouseover']) matrix.addEventListener(type, say);
  matrix.addEventListener('click', choose);
  matrix.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' && event.key !== ' ') return step(cells, event, names.length);
    event.preventDefault();
    choose(event);
  });
}
byId('pairs')?.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (button) showPair(button.dataset.label, button.dataset.prediction);
});

// Gallery: which cards, in which order.
let pair = null;
const cards = byId('gallery') ? [...byId('gallery').children] : [];
const entryOf = (card) => data.gallery[card.dataset.index];
const shownCards = () => [...byId('gallery').children].filter((card) => !card.hidden);
const pixelsOf = (entry) => entry.confusions.find((c) => c.label === pair[0] && c.prediction === pair[1])?.pixels || 0;

function arrange() {
  if (!cards.length) return;
  const kind = byId('gallery-kind').value, className = byId('gallery-class').value, order = byId('gallery-sort').value;
  const iou = (scores) => (className ? scores.class_iou[className] : scores.mean_iou);
  const said = (entry) => (entry.a ? `${percent(iou(entry.a))} → ` : '') + `${percent(iou(entry))} %`;
  const score = (entry) => iou(entry) - (entry.a ? iou(entry.a) : 0);  // of two evaluations: in which order, by change
  const wanted = (entry) => (!kind || entry.kept_as.includes(kind)) && (!className || className in entry.class_iou)
    && matches(entry.filename, byId('gallery-name').value) && (!pair || pixelsOf(entry) > 0);
  const compare = (a, b) => {
    if (order === 'name') return a.filename.localeCompare(b.filename, undefined, {numeric: true});
    if (pair) return pixelsOf(b) - pixelsOf(a);
    return (order === 'best' ? -1 : 1) * (score(a) - score(b));
  };
  for (const card of cards) {
    const entry = entryOf(card), shown = card.querySelector('.score');
    card.hidden = !wanted(entry);
    shown.textContent = pair ? `${pixelsOf(entry).toLocaleString('en')} px` : said(entry);
    shown.title = pair ? `pixels of ${pair[0]} predicted as ${pair[1]}` : className ? `IoU of ${className} in this image` : 'mean IoU of this image';
    card.firstElementChild.setAttribute('aria-label', `${entry.filename}, ${shown.title} ${shown.textContent}`);
  }
  byId('gallery').append(...cards.sort((a, b) => compare(entryOf(a), entryOf(b))));
  const shown = shownCards();
  rove(cards.map((card) => card.firstElementChild), shown[0]?.firstElementChild);
  byId('gallery-status').textContent = `${shown.length} of ${cards.length} pictures` + (shown.length || !pair ? '' : elsewhere());
  byId('pair-clear').hidden = !pair;
  if (pair) byId('pair-clear').textContent = `✕ only ${pair[0]} → ${pair[1]}`;
}
function elsewhere() {
  const known = data.confusion_pairs?.find((p) => p.label === pair[0] && p.prediction === pair[1]);
  return known?.images?.length ? `; most of it is in ${known.images.join(', ')}` : '; none of this confusion was kept';
}
function showPair(label, prediction) {
  if (!cards.length) return;
  pair = label === prediction ? null : [label, prediction];
  byId('gallery-kind').value = byId('gallery-name').value = '';
  byId('gallery-class').value = pair ? '' : label;
  arrange();
  byId('images').scrollIntoView();
  (shownCards()[0]?.firstElementChild || byId('pair-clear')).focus({preventScroll: true});
}
if (cards.length) {
  for (const type of ['input', 'change']) byId('gallery-tools').addEventListener(type, arrange);
  byId('pair-clear').addEventListener('click', () => { pair = null; arrange(); byId('gallery-kind').focus(); });
  byId('gallery').addEventListener('keydown', (event) => {
    const columns = getComputedStyle(byId('gallery')).gridTemplateColumns.split(' ').length;
    step(shownCards().map((card) => card.firstElementChild), event, columns);
  });
  byId('gallery').addEventListener('click', (event) => {
    const card = event.target.closest('li');
    if (card) open(card);
  });
  arrange();
}

// Viewer: one picture, a view over it, a slider between both.
const viewer = byId('viewer'), stage = byId('stage');
let current = null;

function open(card) {
  current = card;
  const entry = entryOf(card);
  byId('viewer-title').textContent = entry.filename || 'image without a name';
  stage.querySelector('.base').alt = entry.filename;
  byId('viewer-facts').replaceChildren(...facts(entry));
  const shown = shownCards(), at = shown.indexOf(card);
  byId('viewer-previous').disabled = at <= 0;
  byId('viewer-next').disabled = at >= shown.length - 1;
  for (const input of viewer.querySelectorAll('[name=view]')) input.parentNode.hidden = !fileOf(entry, input.value);
  look();
  if (!viewer.open) viewer.showModal();
}
const fileOf = (entry, view) => entry.files[['overlay', 'b-over-a'].includes(view) ? 'prediction' : view];
function look() {
  const view = viewer.querySelector('[name=view]:checked').value, over = stage.querySelector('.over');
  stage.dataset.view = view;
  stage.querySelector('.base').src = entryOf(current).files[view === 'b-over-a' ? 'prediction-a' : 'image'];
  over.src = fileOf(entryOf(current), view) || '';
  over.alt = view;
  stage.style.setProperty('--cut', `${byId('cut').value}%`);
}
function facts(entry) {
  const size = `${entry.width} × ${entry.height}` + (entry.group ? `, ${entry.group}` : '');
  const said = (of) => (entry.a ? `${percent(of(entry.a))} → ` : '') + `${percent(of(entry))} %`;
  const classes = Object.keys(entry.class_iou).sort((a, b) => entry.class_iou[a] - entry.class_iou[b]);
  const rows = classes.map((name) => [name, said((scores) => scores.class_iou[name])]);
  const wrong = entry.confusions.map((c) => [`${c.label} → ${c.prediction}`, `${c.pixels.toLocaleString('en')} px`]);
  const general = [['mean IoU', said((scores) => scores.mean_iou)], ['pixel accuracy', said((scores) => scores.pixel_accuracy)]];
  return [element('p', size, 'about'), tableOf('This image', general), tableOf('IoU by class', rows), tableOf('Confusions', wrong)];
}
function tableOf(title, rows) {
  const table = element('table', '');
  table.append(element('caption', title));
  for (const [name, value] of rows) {
    const row = table.insertRow(), head = element('th', name, 'text'), color = data.class_colors?.[name];
    head.scope = 'row';
    if (color) { const swatch = element('span', '', 'swatch'); swatch.style.setProperty('--color', color); head.prepend(swatch); }
    row.append(head, element('td', value));
  }
  return table;
}
function turn(by) {
  const shown = shownCards(), next = shown[shown.indexOf(current) + by];
  if (next) open(next);
}
if (viewer) {
  byId('cut').addEventListener('input', look);
  for (const input of viewer.querySelectorAll('[name=view]')) input.addEventListener('change', look);
  byId('viewer-previous').addEventListener('click', () => turn(-1));
  byId('viewer-next').addEventListener('click', () => turn(1));
  byId('viewer-close').addEventListener('click', () => viewer.close());
  viewer.addEventListener('close', () => current?.firstElementChild.focus());
  viewer.addEventListener('keydown', (event) => {
    if (event.target.matches('input') || !['ArrowLeft', 'ArrowRight'].includes(event.key)) return;
    event.preventDefault();
    turn(event.key === 'ArrowRight' ? 1 : -1);
  });
  const drag = (event) => {
    if (event.type === 'pointermove' && !event.buttons) return;
    const box = stage.getBoundingClientRect();
    byId('cut').value = Math.round((100 * (event.clientX - box.left)) / box.width);
    look();
  };
  stage.addEventListener('pointerdown', drag);
  stage.addEventListener('pointermove', drag);
}

addEventListener('beforeprint', () => { for (const details of document.querySelectorAll('details')) details.open = true; });
