// Progress, charts, verdict and figures of an experiment, drawn from one JSON frame. ECharts is loaded when the first chart is due.

const HEIGHTS = { lines: 320, bars: 320, plane: 400 };
const charts = [];  // the ECharts instances, in the order of the frame
let frame = null;

let library = null;
function echartsLibrary() {
  if (window.echarts) return Promise.resolve();
  library = library || new Promise((done, failed) => {
    const script = document.createElement('script');
    script.src = (window.gradio_config?.root || '') + words().library;
    script.onload = done;
    script.onerror = () => { library = null; failed(new Error(script.src)); };
    document.head.appendChild(script);
  });
  return library;
}

function option(chart, width, height) {
  const options = { lines: lineOption, bars: barOption, plane: planeOption, images: imageOption };
  return Object.assign({ animation: false, textStyle: { fontFamily: fontFamily() } }, options[chart.kind](chart, width, height));
}

// A legend of many rows makes its chart higher instead of its plane lower.
function heightOf(chart, width) {
  if (chart.kind === 'images') return imageLayout(chart, width).height;
  const names = { lines: () => lineNames(chart, width).items, bars: () => barNames(chart), plane: () => planeNames(chart) }[chart.kind]();
  return HEIGHTS[chart.kind] + LEGEND_ROW * Math.max(0, legendRows(names, width) - 1);
}

function figureFor(box) {
  const figure = make('figure', 'stage-chart');
  figure.append(make('h4'), make('div', 'stage-canvas'), make('p', 'stage-reading'), make('figcaption'));
  figure.children[1].setAttribute('role', 'img');
  figure.children[2].hidden = true;
  box.append(figure);
  return figure;
}

// What lies under the pointer in a grid or a picture is told below the chart.
function tellReading(figure, i) {
  const [canvas, reading] = [figure.children[1], figure.children[2]];
  const tell = event => {
    const chart = shownCharts[i];
    const pixel = [event.offsetX, event.offsetY];
    const text = chart?.kind === 'plane' ? readPlane(chart, charts[i], pixel) : chart?.kind === 'images' ? readImages(chart, canvas.clientWidth, pixel) : null;
    reading.textContent = text || '\u00a0';
  };
  charts[i].getZr().on('mousemove', tell);
  charts[i].getZr().on('mouseout', () => { reading.textContent = '\u00a0'; });
}

let shownCharts = [];

function drawCharts(wanted = frame.charts || []) {
  const box = root.querySelector('.stage-charts');
  while (box.children.length > wanted.length) { box.lastChild.remove(); charts.splice(box.children.length).forEach(chart => chart?.dispose()); }
  shownCharts = wanted;
  const halves = wanted.map((chart, i) => Boolean(chart.equal) || (i > 0 && wanted.length > 2));
  if (halves.filter(Boolean).length % 2) halves[halves.lastIndexOf(true)] = false;  // none stands alone beside nothing
  wanted.forEach((chart, i) => {
    const figure = box.children[i] || figureFor(box);
    const [title, canvas, reading, caption] = figure.children;
    figure.classList.toggle('half', halves[i]);
    title.textContent = chart.title;
    caption.textContent = chart.summary;
    canvas.setAttribute('aria-label', chart.title + '. ' + chart.summary);
    reading.hidden = !(chart.kind === 'images' || chart.grid);
    if (!canvas.clientWidth) return;  // in a tab that is not shown: the resize observer calls again
    const width = canvas.clientWidth;
    const height = heightOf(chart, width) + 'px';
    const resized = canvas.style.height !== height;
    canvas.style.height = height;
    if (!charts[i]) {
      charts[i] = window.echarts.init(canvas);
      tellReading(figure, i);
    } else if (resized || charts[i].getWidth() !== width) charts[i].resize();
    charts[i].setOption(option(withPinned(chart, i), width, canvas.clientHeight), true);
  });
}

function drawProgress() {
  const bar = root.querySelector('progress');
  bar.value = frame.progress || 0;
  bar.hidden = frame.state !== 'running';
  const parts = [frame.status];
  if (frame.elapsed) parts.push(`${words().elapsed} ${number(frame.elapsed)} ${words().second}`);
  if (frame.state === 'running' && frame.remaining) parts.push(`${words().remaining} ${number(frame.remaining)} ${words().second}`);
  if (frame.device) parts.push(frame.device);
  const line = root.querySelector('.stage-status');
  line.textContent = parts.filter(Boolean).join(' · ');
  line.classList.toggle('stage-error', frame.state === 'error');
}

function drawVerdict() {
  const box = root.querySelector('.stage-verdict');
  box.replaceChildren();
  const verdict = frame.verdict;
  box.hidden = !verdict;
  if (!verdict) return;
  box.append(make('span', 'badge badge-' + verdict.status, words()['status_' + verdict.status]));
  if (verdict.prediction) box.append(make('p', 'stage-prediction', verdict.prediction));
  const list = make('dl');
  const spread = verdict.measured.spread === null ? '' : ' ± ' + number(verdict.measured.spread);
  list.append(make('dt', '', words().measured), make('dd', '', verdict.measured.name + words().colon + withUnit(number(verdict.measured.value) + spread, verdict.measured.unit)));
  const source = make('dd', '', verdict.published + ' ');
  const authors = verdict.source.authors.split(', ');
  const link = make('a', '', `${authors.length > 3 ? authors[0] + words().and_others : verdict.source.authors}, ${verdict.source.year}`);
  link.href = verdict.source.url; link.target = '_blank'; link.rel = 'noopener noreferrer'; link.title = `${verdict.source.authors}: ${verdict.source.title}`;
  source.append(link);
  list.append(make('dt', '', words().published), source);
  box.append(list, make('p', '', verdict.explanation));
}

function drawFigures() {
  const details = root.querySelector('.stage-figures');
  details.hidden = !frame.figures?.length;
  details.querySelector('summary').textContent = words().figures;
  const before = comparable() && pinned !== frame ? pinned.figures : null;
  const table = make('table');
  const head = make('tr');
  const headings = [words().figure_name, words().figure_value, words().figure_spread, ...(before ? [words().pinned] : [])];
  headings.forEach(word => { const cell = make('th', '', word); cell.scope = 'col'; head.append(cell); });
  table.append(head);
  (frame.figures || []).forEach((figure, i) => {
    const row = make('tr');
    row.append(make('td', '', figure.name), make('td', '', withUnit(number(figure.value), figure.unit)), make('td', '', figure.spread === null ? '–' : number(figure.spread)));
    if (before) row.append(make('td', '', before[i] ? withUnit(number(before[i].value), before[i].unit) : '–'));
    table.append(row);
  });
  details.querySelector('.stage-table').replaceChildren(table);
}

function drawButtons() {
  root.querySelector('.stage-downloads').hidden = !frame.charts?.length || frame.state === 'running';
  for (const kind of ['png', 'svg', 'csv']) root.querySelector('.stage-' + kind).textContent = words()['download_' + kind];
}

function draw() {
  drawProgress(); drawVerdict(); drawFigures(); drawButtons(); drawPin(); drawReplay();
  if (frame.charts?.length) echartsLibrary().then(() => drawCharts()).catch(error => { root.querySelector('.stage-status').textContent = String(error); });
  else drawCharts();
}

let due = null;
function redrawSoon() {
  clearTimeout(due);
  due = setTimeout(() => { if (frame?.charts?.length && window.echarts) drawCharts(shownCharts.length ? shownCharts : frame.charts); }, 60);
}
new ResizeObserver(redrawSoon).observe(root);
new MutationObserver(redrawSoon).observe(document.body, { attributes: true, attributeFilter: ['class'] });
// Frames may arrive faster than a slow machine draws: the newest one is drawn, those it overtook are only remembered.
let waiting = false;
function drawSoon() {
  if (waiting) return;
  waiting = true;
  setTimeout(() => requestAnimationFrame(() => { waiting = false; draw(); }), 30);
}
function receive() {
  if (!props.value) return;
  frame = JSON.parse(props.value);
  remember(frame);
  drawSoon();
}
watch('value', receive);
watch('words', () => { if (frame) drawSoon(); });
if (props.value) { frame = JSON.parse(props.value); draw(); }
