// The stage of an experiment: progress, charts, verdict, figures, downloads. Runs inside a gr.HTML (`element`, `props`, `watch` are Gradio's).
// Everything is drawn from one JSON frame; text goes in as text, never as HTML. ECharts is loaded when the first chart is due.

const COLOURS = { baseline: '#7A7A7A', first: '#0072B2', second: '#D55E00', third: '#009E73', fourth: '#CC79A7', warning: '#E69F00' };
const SHADES = ['#440154', '#414487', '#2A788E', '#22A884', '#7AD151', '#C9D420'];  // viridis without its palest yellow
const CHART_HEIGHT = 320;
const root = element.querySelector('.stage');
const charts = [];  // the ECharts instances, in the order of the frame
let frame = null;

const dark = () => document.body.classList.contains('dark');
const textColour = () => getComputedStyle(root).getPropertyValue('--body-text-color').trim() || (dark() ? '#eee' : '#222');
const words = () => props.words || {};

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function number(value) {
  if (value === null || value === undefined) return '–';
  if (typeof value === 'string') return value === '-inf' ? '−∞' : '∞';
  if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)) return value.toExponential(2);
  return Number(value.toPrecision(3)).toString();
}

const withUnit = (text, unit) => unit ? text + '\u2009' + unit : text;

function shade(position) {
  const place = Math.max(0, Math.min(1, position)) * (SHADES.length - 1);
  const index = Math.min(SHADES.length - 2, Math.floor(place));
  const [from, to] = [SHADES[index], SHADES[index + 1]].map(hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16)));
  return 'rgb(' + from.map((channel, i) => Math.round(channel + (to[i] - channel) * (place - index))).join(',') + ')';
}

// A line's colour as text: Okabe-Ito's colours reach a contrast of 4.5 to 1 neither on white nor on black.
function textOf(colour) {
  const [share, towards] = dark() ? [0.45, 255] : [0.3, 0];
  return '#' + [1, 3, 5].map(i => Math.round(parseInt(colour.slice(i, i + 2), 16) * (1 - share) + towards * share).toString(16).padStart(2, '0')).join('');
}

const lineColour = line => line.shade !== null ? shade(line.shade) : line.role === 'theory' ? textColour() : COLOURS[line.role];

// --- ECharts options -------------------------------------------------------------------------------------------------------------------------

function axis(spec, extra) {
  const faint = dark() ? '#3a3f47' : '#e4e4e7';
  return Object.assign({
    type: spec.log ? 'log' : 'value', name: spec.label, nameLocation: 'middle',
    nameTextStyle: { color: textColour(), fontSize: 13 }, min: spec.low ?? undefined, max: spec.high ?? undefined, scale: true,
    axisLabel: { color: textColour(), hideOverlap: true, formatter: spec.log ? number : value => Math.abs(value) >= 1e5 ? number(value) : String(Number(value.toPrecision(6))) },
    axisLine: { show: true, lineStyle: { color: textColour() } }, splitLine: { lineStyle: { color: faint } }, minorSplitLine: { show: false },
  }, extra);
}

// The y value at which a run that left the frame is drawn: the top of the axis, or of what there is.
function top(chart) {
  if (chart.y.high !== null) return chart.y.high;
  const finite = chart.lines.flatMap(line => line.y).filter(value => typeof value === 'number');
  return finite.length ? Math.max(...finite) : 1;
}

function band(line) {
  const corners = line.x.map((x, i) => [x, line.low[i], line.high[i]]).filter(row => row.every(value => typeof value === 'number'));
  return {
    type: 'custom', silent: true, z: 1, clip: true, name: line.name, color: lineColour(line), data: corners.length > 1 ? [corners[0]] : [], tooltip: { show: false },
    renderItem: (_, api) => ({
      type: 'polygon', style: { fill: lineColour(line), opacity: 0.2 },
      shape: { points: [...corners.map(([x, low]) => api.coord([x, low])), ...corners.slice().reverse().map(([x, , high]) => api.coord([x, high]))] },
    }),
  };
}

function divergence(line, chart, labelled) {
  const left = line.y.map(y => y === 'inf' || (chart.y.high !== null && typeof y === 'number' && y > chart.y.high));
  const xs = line.x.filter((x, i) => left[i] && !left[i - 1]);  // one arrow where the line leaves, not one a point
  return {
    type: 'scatter', name: line.name, silent: true, symbol: 'arrow', symbolSize: 10, z: 5, itemStyle: { color: lineColour(line) }, clip: false,
    data: xs.map((x, i) => ({ value: [x, top(chart)], label: { show: i === 0 && labelled, position: 'bottom', formatter: words().diverged, color: textColour() } })),
  };
}

function lineSeries(line, chart, direct) {
  const points = line.x.map((x, i) => [x, typeof line.y[i] === 'number' ? line.y[i] : null]);
  const colour = lineColour(line);
  const series = {
    name: line.name, data: points, color: colour, itemStyle: { color: colour }, z: 3, clip: true,
    type: line.style === 'dots' ? 'scatter' : 'line', symbolSize: line.style === 'line' ? 0 : 7, showSymbol: line.style !== 'line',
    lineStyle: { color: colour, width: line.shade !== null ? 1.3 : 2.2, type: line.role === 'theory' ? 'dashed' : 'solid' },
  };
  if (direct && line.style !== 'dots') {
    series.endLabel = { show: true, formatter: () => line.name, color: line.shade !== null || line.role === 'theory' ? textColour() : textOf(colour), fontSize: 12, width: 130, overflow: 'break' };
    series.labelLayout = { moveOverlap: 'shiftY' };
  }
  return series;
}

function rules(chart) {
  return {
    type: 'line', name: '', data: [], silent: true, tooltip: { show: false },
    markLine: {
      silent: true, symbol: 'none', data: chart.rules.map((rule, i) => ({
        xAxis: rule.x, lineStyle: { type: 'dashed', width: 1.5, color: rule.role === 'theory' ? textColour() : COLOURS[rule.role] },
        label: { formatter: rule.name, position: 'end', rotate: 0, color: textColour(), fontSize: 12, distance: 4, align: chart.rules.length === 1 ? 'center' : i % 2 ? 'left' : 'right' },
      })),
    },
  };
}

function lineOption(chart, width) {
  const named = chart.lines.filter(line => line.shade === null);
  const many = chart.lines.length > named.length;
  const direct = width >= 620 && (many || named.length <= 4);
  const legend = !direct && named.length > 1 || many && named.length > 0;
  const yName = { nameGap: 48, name: width < 480 ? '' : chart.y.label };
  return {
    grid: { left: width < 480 ? 52 : 72, right: direct ? (many ? 70 : 150) : 20, top: (legend ? 40 : 16) + (width < 480 ? 16 : 0) + (chart.rules.length ? 12 : 0), bottom: 54 },
    xAxis: axis(chart.x, { nameGap: 30 }),
    yAxis: Object.assign(axis(chart.y, yName), width < 480 ? { name: chart.y.label, nameLocation: 'end', nameGap: 8, nameTextStyle: { align: 'left', color: textColour(), padding: [0, 0, 0, -44] } } : {}),
    legend: { show: Boolean(legend), top: 0, textStyle: { color: textColour() }, data: named.map(line => line.name), type: 'scroll' },
    tooltip: { trigger: many ? 'item' : 'axis', valueFormatter: number, confine: true },
    series: [
      ...chart.lines.filter(line => line.low.length).map(band),
      ...chart.lines.map(line => lineSeries(line, chart, direct)),
      // Of many curves only the last one gets the word: arrows stand side by side.
      ...chart.lines.map((line, i) => divergence(line, chart, line.shade === null || i === chart.lines.length - 1)).filter(series => series.data.length),
      ...(chart.rules.length ? [rules(chart)] : []),
    ],
  };
}

// Error bars with their values above them; a bar without an end is an arrow at the top of the frame.
function errorBars(chart, group, position) {
  const error = i => group.errors[i] ?? 0;
  return {
    type: 'custom', silent: true, z: 4, name: group.name, tooltip: { show: false },
    data: group.values.map((value, i) => [i, value === 'inf' ? (chart.y.high ?? 1) : value]).filter(row => typeof row[1] === 'number'),
    renderItem: (_, api) => {
      const i = api.value(0);
      const endless = group.values[i] === 'inf';
      const slot = api.barLayout({ count: chart.groups.length, barGap: '20%', barCategoryGap: '35%' })[position];
      const at = value => api.coord([i, value])[1];
      const middle = api.coord([i, api.value(1)])[0] + slot.offsetCenter;
      const [low, high] = endless ? [0, at(api.value(1))] : [at(group.values[i] - error(i)), at(group.values[i] + error(i))];
      const bars = endless || !error(i) ? [] : [[middle, low, middle, high], [middle - 4, low, middle + 4, low], [middle - 4, high, middle + 4, high]];
      const text = { text: endless ? '↑' : number(group.values[i]), x: middle, y: high - 6, align: 'center', verticalAlign: 'bottom', fontSize: endless ? 18 : 12, fill: endless ? COLOURS[group.role] : textColour() };
      return { type: 'group', children: [
        ...bars.map(([x1, y1, x2, y2]) => ({ type: 'line', shape: { x1, y1, x2, y2 }, style: { stroke: textColour(), lineWidth: 1.5 } })), { type: 'text', style: text },
      ] };
    },
  };
}

function barOption(chart, width) {
  const legend = chart.groups.length > 1;
  return {
    grid: { left: width < 480 ? 52 : 72, right: 20, top: legend ? 52 : 30, bottom: 54 },
    xAxis: { type: 'category', data: chart.categories, axisLabel: { color: textColour(), interval: 0, width: width / (chart.categories.length + 1), overflow: 'break' }, axisLine: { lineStyle: { color: textColour() } } },
    yAxis: axis(chart.y, { nameGap: 48, scale: false }),
    legend: { show: legend, top: 0, textStyle: { color: textColour() }, data: chart.groups.map(group => group.name) },
    tooltip: { trigger: 'axis', valueFormatter: number, confine: true },
    series: [
      ...chart.groups.map(group => ({
        type: 'bar', name: group.name, barGap: '20%', barCategoryGap: '35%', itemStyle: { color: COLOURS[group.role] },
        data: group.values.map(value => typeof value === 'number' ? value : null),
      })),
      ...chart.groups.map((group, i) => errorBars(chart, group, i)),
    ],
  };
}

const OPTIONS = { lines: lineOption, bars: barOption };

// --- The page --------------------------------------------------------------------------------------------------------------------------------

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

function drawCharts() {
  const box = root.querySelector('.stage-charts');
  const wanted = frame.charts || [];
  while (box.children.length > wanted.length) { box.lastChild.remove(); charts.pop()?.dispose(); }
  wanted.forEach((chart, i) => {
    let figure = box.children[i];
    if (!figure) {
      figure = make('figure', 'stage-chart');
      figure.append(make('h4'), make('div', 'stage-canvas'), make('figcaption'));
      figure.children[1].style.height = CHART_HEIGHT + 'px';
      figure.children[1].setAttribute('role', 'img');
      box.append(figure);
    }
    const [title, canvas, caption] = figure.children;
    title.textContent = chart.title;
    caption.textContent = chart.summary;
    canvas.setAttribute('aria-label', chart.title + '. ' + chart.summary);
    if (!canvas.clientWidth) return;  // in a tab that is not shown: the resize observer calls again
    if (!charts[i]) charts[i] = window.echarts.init(canvas);
    charts[i].setOption(Object.assign({ animation: false, textStyle: { fontFamily: getComputedStyle(root).fontFamily } }, OPTIONS[chart.kind](chart, canvas.clientWidth)), true);
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
  list.append(make('dt', '', words().measured), make('dd', '', `${verdict.measured.name}: ` + withUnit(number(verdict.measured.value) + spread, verdict.measured.unit)));
  const source = make('dd', '', verdict.published + ' ');
  const link = make('a', '', `${verdict.source.authors}, ${verdict.source.year}`);
  link.href = verdict.source.url; link.target = '_blank'; link.rel = 'noopener noreferrer'; link.title = verdict.source.title;
  source.append(link);
  list.append(make('dt', '', words().published), source);
  box.append(list, make('p', '', verdict.explanation));
}

function drawFigures() {
  const details = root.querySelector('.stage-figures');
  details.hidden = !frame.figures?.length;
  details.querySelector('summary').textContent = words().figures;
  const table = make('table');
  const head = make('tr');
  [words().figure_name, words().figure_value, words().figure_spread].forEach(word => { const cell = make('th', '', word); cell.scope = 'col'; head.append(cell); });
  table.append(head);
  for (const figure of frame.figures || []) {
    const row = make('tr');
    row.append(make('td', '', figure.name), make('td', '', withUnit(number(figure.value), figure.unit)), make('td', '', figure.spread === null ? '–' : number(figure.spread)));
    table.append(row);
  }
  details.querySelector('.stage-table').replaceChildren(table);
}

function draw() {
  if (!props.value) return;
  frame = JSON.parse(props.value);
  drawProgress(); drawVerdict(); drawFigures();
  const buttons = root.querySelector('.stage-downloads');
  buttons.hidden = !frame.charts?.length || frame.state === 'running';
  root.querySelector('.stage-png').textContent = words().download_png;
  root.querySelector('.stage-csv').textContent = words().download_csv;
  if (frame.charts?.length) echartsLibrary().then(drawCharts).catch(error => { root.querySelector('.stage-status').textContent = String(error); });
  else drawCharts();
}

// --- Downloads: made in the browser, nothing is stored on the server --------------------------------------------------------------------------

function save(name, url) {
  const link = make('a');
  link.href = url; link.download = name; link.click();
}

function csv() {
  const cell = value => value === null || value === undefined ? '' : /[",\n]/.test(String(value)) ? '"' + String(value).replace(/"/g, '""') + '"' : String(value);
  const rows = [['kind', 'title', 'series', 'x', 'value', 'low', 'high', 'unit']];
  for (const figure of frame.figures || []) {
    const [low, high] = figure.spread === null ? ['', ''] : [figure.value - figure.spread, figure.value + figure.spread];
    rows.push(['figure', figure.name, '', '', figure.value, low, high, figure.unit]);
  }
  for (const chart of frame.charts) {
    for (const line of chart.lines || []) line.x.forEach((x, i) => rows.push(['chart', chart.title, line.name, x, line.y[i], line.low[i], line.high[i], chart.y.label]));
    for (const group of chart.groups || []) chart.categories.forEach((name, i) => {
      const [value, error] = [group.values[i], group.errors[i]];
      rows.push(['chart', chart.title, group.name, name, value, error === undefined ? '' : value - error, error === undefined ? '' : value + error, chart.y.label]);
    });
  }
  return '\ufeff' + rows.map(row => row.map(cell).join(',')).join('\r\n') + '\r\n';  // the mark makes spreadsheets read UTF-8
}

function png() {
  const images = charts.map(chart => chart.getRenderedCanvas({ pixelRatio: 2, backgroundColor: dark() ? '#0b0f19' : '#ffffff' }));
  const canvas = make('canvas');
  const title = 60;
  canvas.width = Math.max(...images.map(image => image.width));
  canvas.height = images.reduce((sum, image) => sum + image.height + title, 0);
  const pen = canvas.getContext('2d');
  pen.fillStyle = dark() ? '#0b0f19' : '#ffffff';
  pen.fillRect(0, 0, canvas.width, canvas.height);
  let y = 0;
  images.forEach((image, i) => {
    pen.fillStyle = textColour();
    pen.font = 'bold 28px ' + getComputedStyle(root).fontFamily;
    pen.fillText(frame.charts[i].title, 24, y + 40);
    pen.drawImage(image, 0, y + title);
    y += image.height + title;
  });
  return canvas.toDataURL('image/png');
}

root.querySelector('.stage-csv').addEventListener('click', () => {
  const url = URL.createObjectURL(new Blob([csv()], { type: 'text/csv;charset=utf-8' }));
  save(frame.file + '.csv', url);
  setTimeout(() => URL.revokeObjectURL(url), 1000);
});
root.querySelector('.stage-png').addEventListener('click', () => save(frame.file + '.png', png()));

let due = null;
function redrawSoon() {
  clearTimeout(due);
  due = setTimeout(() => { charts.forEach(chart => chart?.resize()); if (frame?.charts?.length && window.echarts) drawCharts(); }, 60);
}
new ResizeObserver(redrawSoon).observe(root);
new MutationObserver(redrawSoon).observe(document.body, { attributes: true, attributeFilter: ['class'] });
// Frames may arrive faster than a slow machine draws: the newest one is drawn, those it overtook are not.
let waiting = false;
function drawSoon() {
  if (waiting) return;
  waiting = true;
  setTimeout(() => requestAnimationFrame(() => { waiting = false; draw(); }), 30);
}
watch('value', drawSoon);
watch('words', drawSoon);
draw();
