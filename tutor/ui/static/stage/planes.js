// A plane: a coloured grid under points and paths. The cells are painted into one small canvas, so that a grid costs as little as a line.

const NEUTRAL = { light: ['#ffffff', '#e2e8f0', '#cbd5e1', '#94a3b8'], dark: ['#0f172a', '#1e293b', '#334155', '#64748b'] };  // under paths
const DIVERGING = { light: ['#0072B2', '#8cc0de', '#f5f5f4', '#f0b08a', '#D55E00'], dark: ['#3aa0dc', '#1d5a80', '#1c1f26', '#8a4a1f', '#f08a3c'] };
const NAN = 65535;

const scaleOf = grid => grid.diverging ? DIVERGING[dark() ? 'dark' : 'light'] : grid.bands ? NEUTRAL[dark() ? 'dark' : 'light'] : SHADES;

// 16-bit cells (see demos/core/charts.py) as positions 0 … 1 on the scale, NaN where there is no value.
function positions(cells) {
  const bytes = Uint8Array.from(atob(cells), character => character.charCodeAt(0));
  const whole = new Uint16Array(bytes.buffer);
  return Float32Array.from(whole, value => value === NAN ? NaN : value / (NAN - 1));
}

function valueAt(grid, position) {
  if (Number.isNaN(position)) return null;
  return grid.log ? grid.low * (grid.high / grid.low) ** position : grid.low + (grid.high - grid.low) * position;
}

// The positions of a grid or a picture, decoded once.
const decoded = grid => grid.positions ??= positions(grid.cells);

// Positions between the cells, `factor` times as many each way, for smooth contours.
function refined(cells, rows, columns, factor) {
  const [tall, wide] = [rows * factor, columns * factor];
  const fine = new Float32Array(tall * wide);
  for (let i = 0; i < tall; i++) {
    const y = Math.max(0, Math.min(rows - 1, (i + 0.5) / factor - 0.5));
    const [top, down] = [Math.floor(y), Math.min(rows - 1, Math.floor(y) + 1)];
    for (let j = 0; j < wide; j++) {
      const x = Math.max(0, Math.min(columns - 1, (j + 0.5) / factor - 0.5));
      const [left, right] = [Math.floor(x), Math.min(columns - 1, Math.floor(x) + 1)];
      const upper = cells[top * columns + left] * (1 - x + left) + cells[top * columns + right] * (x - left);
      const lower = cells[down * columns + left] * (1 - x + left) + cells[down * columns + right] * (x - left);
      fine[i * wide + j] = upper * (1 - y + top) + lower * (y - top);
    }
  }
  return [fine, tall, wide];
}

// A canvas with a pixel (or a square of them, so that edges stay sharp when stretched) for each cell; `upwards`: row 0 at the bottom.
function painted(cells, rows, columns, scale, { bands = 0, upwards = false } = {}) {
  let factor = 1;
  if (bands) [cells, rows, columns] = refined(cells, rows, columns, Math.max(1, Math.round(240 / Math.max(rows, columns))));
  else factor = Math.max(1, Math.round(400 / Math.max(rows, columns)));
  const canvas = make('canvas');
  [canvas.width, canvas.height] = [columns * factor, rows * factor];
  const pen = canvas.getContext('2d');
  const picture = pen.createImageData(canvas.width, canvas.height);
  const table = Array.from({ length: 256 }, (_, i) => along(scale, i / 255));
  for (let y = 0; y < canvas.height; y++) {
    const row = Math.floor((upwards ? canvas.height - 1 - y : y) / factor);
    for (let x = 0; x < canvas.width; x++) {
      let position = cells[row * columns + Math.floor(x / factor)];
      if (Number.isNaN(position)) continue;
      if (bands) position = Math.min(bands - 1, Math.floor(position * bands)) / (bands - 1);
      const [red, green, blue] = table[Math.round(position * 255)];
      const at = 4 * (y * canvas.width + x);
      picture.data[at] = red; picture.data[at + 1] = green; picture.data[at + 2] = blue; picture.data[at + 3] = 255;
    }
  }
  pen.putImageData(picture, 0, 0);
  return canvas;
}

const ends = spec => spec.names.length ? [-0.5, spec.names.length - 0.5] : [spec.low, spec.high];

function gridSeries(chart) {
  const { grid } = chart;
  const canvas = painted(decoded(grid), grid.rows, grid.columns, scaleOf(grid), { bands: grid.bands, upwards: true });
  const [left, right] = ends(chart.x);
  const [bottom, top] = ends(chart.y);
  return {
    type: 'custom', silent: true, z: 0, clip: true, tooltip: { show: false }, data: [[left, bottom]],
    renderItem: (_, api) => {
      const [[x1, y1], [x2, y2]] = [api.coord([left, bottom]), api.coord([right, top])];
      return { type: 'image', style: { image: canvas, x: x1, y: y2, width: x2 - x1, height: y1 - y2 } };
    },
  };
}

// The colour scale with its ends and its name (in a row of its own where it is narrow), as graphics above the plane.
function scaleBar(grid, left, narrow) {
  const scale = scaleOf(grid);
  const stops = scale.map((colour, i) => ({ offset: i / (scale.length - 1), color: colour }));
  const text = { fill: textColour(), fontFamily: fontFamily(), fontSize: 12 };
  const label = grid.label + (grid.log ? words().log_scale : '');
  const write = (from, top, what) => ({ type: 'text', silent: true, left: from, top, style: { ...text, text: what } });
  const start = left + Math.max(30, textWidth(number(grid.low)) + 8);
  return [
    write(left, 6, number(grid.low)),
    { type: 'rect', silent: true, left: start, top: 8, shape: { width: 110, height: 10 }, style: { fill: { type: 'linear', x: 0, y: 0, x2: 1, y2: 0, colorStops: stops } } },
    ...(narrow ? [write(start + 118, 6, number(grid.high)), write(left, 24, label)] : [write(start + 118, 6, `${number(grid.high)}   ${label}`)]),
  ];
}

function pointSeries(cloud, onGrid) {
  const colour = cloud.group === null ? roleColour(cloud.role) : GROUPS[cloud.group % GROUPS.length];
  const symbol = cloud.group === null ? 'circle' : SYMBOLS[cloud.group % SYMBOLS.length];
  const rows = cloud.x.map((x, i) => [x, cloud.y[i]]).filter(row => row.every(value => typeof value === 'number'));
  return {
    type: 'scatter', name: cloud.name, data: rows, symbol, symbolSize: 6, z: 3, clip: true, color: colour, large: false,
    itemStyle: cloud.pinned ? { color: 'transparent', borderColor: colour, borderWidth: 1 } : { color: colour, opacity: 0.8, borderColor: background(), borderWidth: onGrid ? 1 : 0.4 },
  };
}

// A class is named in the middle of its points.
function groupLabels(chart) {
  const data = chart.points.filter(cloud => cloud.group !== null && cloud.x.length && !cloud.pinned).map(cloud => {
    const middle = values => { const sorted = values.filter(value => typeof value === 'number').sort((a, b) => a - b); return sorted[sorted.length >> 1]; };
    return { value: [middle(cloud.x), middle(cloud.y)], label: { formatter: cloud.name } };
  });
  return {
    type: 'scatter', silent: true, z: 6, symbolSize: 0.01, data: data.filter(item => item.value.every(Number.isFinite)), tooltip: { show: false },
    label: { show: true, position: 'inside', color: textColour(), fontSize: 14, fontWeight: 'bold', textBorderColor: background(), textBorderWidth: 3 },
  };
}

// A path ends in a dot: where it is now.
function pathEnd(line) {
  let last = line.x.length - 1;
  while (last >= 0 && !(typeof line.x[last] === 'number' && typeof line.y[last] === 'number')) last--;
  const at = last < 0 ? [] : [[line.x[last], line.y[last]]];
  return { type: 'scatter', silent: true, z: 5, symbolSize: 10, clip: true, data: at, itemStyle: { color: lineColour(line), borderColor: background(), borderWidth: 1.5 }, tooltip: { show: false } };
}

const planeNames = chart => [...chart.lines, ...chart.points.filter(cloud => cloud.group === null)];

function planeOption(chart, width, height) {
  const narrow = isNarrow(width);
  const named = planeNames(chart);
  const names = Math.max(0, ...chart.y.names.map(textWidth));
  const title = narrow ? 14 : 40;  // beside the names, if not above them
  const left = Math.max(narrow ? 52 : 78, Math.min(narrow ? 0.3 * width : 190, names + title));
  const scale = !chart.grid ? 0 : narrow ? 42 : 24;
  const rows = legendRows(named, width - (narrow ? 8 : left));
  const aslant = chart.x.names.some(name => textWidth(name) > (width - left - 22) / chart.x.names.length) ? 40 : 0;
  const [rules, below] = [rulesHeight(chart, width), nameBelow(chart.x, width - left - 22)];
  const area = { left, right: 22, top: 20 + scale + (rows && 6 + rows * LEGEND_ROW) + (narrow ? 14 : 0) + rules, bottom: 38 + NAME_ROW * below.rows + aslant };
  if (chart.equal) {
    const [wide, tall] = [chart.x, chart.y].map(spec => { const [low, high] = ends(spec); return high - low; });
    const unit = Math.min((width - area.left - area.right) / wide, (height - area.top - area.bottom) / tall);
    Object.assign(area, { right: undefined, bottom: undefined, width: unit * wide, height: unit * tall });
  }
  const quiet = { splitLine: { show: !chart.grid, lineStyle: { color: dark() ? '#3a3f47' : '#e4e4e7' } } };
  return {
    grid: area,
    xAxis: axis(chart.x, { ...below.name, ...quiet, ...(aslant ? { nameGap: 30 + aslant, axisLabel: { color: textColour(), rotate: 35, formatter: value => chart.x.names[value] ?? '' } } : {}) }),
    yAxis: axis(chart.y, { ...nameBeside(left, narrow, rules), ...quiet, ...(names > left - title ? { axisLabel: { color: textColour(), width: left - title, overflow: 'truncate', formatter: value => chart.y.names[value] ?? '' } } : {}) }),
    legend: legendOf(named, { top: scale, left: narrow ? 8 : area.left }),
    graphic: chart.grid ? scaleBar(chart.grid, narrow ? 8 : area.left, narrow) : [],
    tooltip: { trigger: 'item', confine: true, valueFormatter: number, formatter: item => `${item.seriesName ? echarts.format.encodeHTML(item.seriesName) + '<br>' : ''}(${number(item.value[0])}, ${number(item.value[1])})` },
    series: [
      ...(chart.grid ? [gridSeries(chart)] : []),
      ...chart.points.map(cloud => pointSeries(cloud, Boolean(chart.grid))),
      ...chart.lines.map(line => lineSeries(line, chart, false)),
      ...chart.lines.filter(line => line.style === 'line' && line.role !== 'theory').map(pathEnd),
      groupLabels(chart),
      ...(chart.rules.length ? [ruleLines(chart, width)] : []),
    ],
  };
}

// What the grid holds under a pixel of the chart, as a line of text; null outside.
function readPlane(chart, instance, pixel) {
  if (!chart.grid || !instance.containPixel('grid', pixel)) return null;
  const at = instance.convertFromPixel('grid', pixel);
  const share = [chart.x, chart.y].map((spec, i) => {
    const [low, high] = ends(spec);
    return spec.log ? Math.log(at[i] / low) / Math.log(high / low) : (at[i] - low) / (high - low);
  });
  const { rows, columns } = chart.grid;
  const [column, row] = [Math.floor(share[0] * columns), Math.floor(share[1] * rows)];
  if (row < 0 || column < 0 || row >= rows || column >= columns) return null;
  const shown = (spec, value) => spec.names.length ? spec.names[Math.round(value)] : number(value);
  const value = valueAt(chart.grid, decoded(chart.grid)[row * columns + column]);
  return `${chart.x.label}: ${shown(chart.x, at[0])}, ${chart.y.label}: ${shown(chart.y, at[1])} → ${chart.grid.label}: ${number(value)}`;
}
