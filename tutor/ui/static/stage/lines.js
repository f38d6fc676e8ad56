// Lines with bands over common axes, and groups of bars, as options of ECharts.

const isRound = limit => limit === null || limit === Number(limit.toPrecision(2));

function axis(spec, extra) {
  const faint = dark() ? '#3a3f47' : '#e4e4e7';
  const named = spec.names.length > 0;
  const tick = value => Math.abs(value) >= 1e5 ? number(value) : String(Number(value.toPrecision(6)));
  return Object.assign({
    type: spec.log ? 'log' : 'value', name: spec.label, nameLocation: 'middle',
    nameTextStyle: { color: textColour(), fontSize: 13 }, scale: true,
    ...(named ? { min: -0.5, max: spec.names.length - 0.5, interval: 0.5, axisTick: { show: false } } : { min: spec.low ?? undefined, max: spec.high ?? undefined }),
    // A limit such as 2.233 is no label beside the 2 next to it.
    axisLabel: { color: textColour(), hideOverlap: true, showMinLabel: named || isRound(spec.low) ? null : false, showMaxLabel: named || isRound(spec.high) ? null : false, formatter: spec.log ? number : named ? value => spec.names[value] ?? '' : tick },
    axisLine: { show: true, onZero: false, lineStyle: { color: textColour() } }, splitLine: { lineStyle: { color: faint } }, minorSplitLine: { show: false },
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

// One arrow where a line leaves the frame, not one a point; with the word if it is infinite there.
function divergence(line, chart, labelled) {
  const left = line.y.map(y => y === 'inf' || (chart.y.high !== null && typeof y === 'number' && y > chart.y.high));
  const at = line.x.map((x, i) => i).filter(i => left[i] && !left[i - 1]);
  const first = at.find(i => line.y.slice(i).includes('inf'));
  return {
    type: 'scatter', name: line.name, silent: true, symbol: 'arrow', symbolSize: 10, z: 5, itemStyle: { color: lineColour(line) }, clip: false,
    data: at.map(i => ({ value: [line.x[i], top(chart)], label: { show: i === first && labelled, position: 'bottom', formatter: words().diverged, color: textColour() } })),
  };
}

// One kind of sign for each kind of series, whatever ECharts would draw for it.
function legendOf(items, place) {
  const icon = item => item.role === 'theory' ? 'path://M0 4h6v2H0zM9 4h6v2H9z' : item.style === 'dots' || item.x && item.style === undefined ? 'circle' : 'roundRect';
  return Object.assign({ show: items.length > 0, type: 'scroll', itemWidth: 16, itemHeight: 9, itemGap: 9, textStyle: { color: textColour() }, pageTextStyle: { color: textColour() }, pageIconColor: textColour(), data: items.map(item => ({ name: item.name, icon: icon(item) })) }, place);
}

function lineSeries(line, chart, direct) {
  const points = line.x.map((x, i) => [x, typeof line.y[i] === 'number' ? line.y[i] : null]);
  const colour = lineColour(line);
  const series = {
    name: line.name, data: points, color: colour, itemStyle: { color: colour }, z: 3, clip: true,
    type: line.style === 'dots' ? 'scatter' : 'line', symbolSize: line.style === 'line' ? 0 : 7, showSymbol: line.style !== 'line', symbol: line.style === 'line' ? 'none' : 'circle',
    lineStyle: { color: colour, width: line.shade !== null ? 1.3 : 2.2, type: line.pinned ? 'dotted' : line.role === 'theory' ? 'dashed' : 'solid', opacity: line.pinned ? 0.7 : 1 },
  };
  if (direct && line.style !== 'dots') {
    series.endLabel = { show: true, formatter: () => line.name, color: line.shade !== null || line.role === 'theory' ? textColour() : textOf(colour), fontSize: 12, width: 130, overflow: 'break' };
    series.labelLayout = { moveOverlap: 'shiftY' };
  }
  return series;
}

// The ends of the x axis, or of what is drawn over it; logarithms on a log axis.
function reach(chart) {
  const all = chart.lines.flatMap(line => line.x);
  return [chart.x.low ?? Math.min(...all), chart.x.high ?? Math.max(...all)].map(x => chart.x.log ? Math.log(x) : x);
}

// Names of rules stand above the plane: neighbours one above the other, and those at a side inwards.
const rulesHeight = chart => [0, 12, 26][Math.min(2, chart.rules.length)];

function rules(chart) {
  const [low, high] = reach(chart);
  const order = [...chart.rules].sort((a, b) => a.x - b.x);
  const align = rule => { const share = ((chart.x.log ? Math.log(rule.x) : rule.x) - low) / (high - low); return share < 0.2 ? 'left' : share > 0.8 ? 'right' : 'center'; };
  return {
    type: 'line', name: '', data: [], silent: true, tooltip: { show: false },
    markLine: {
      silent: true, symbol: 'none', data: order.map((rule, i) => ({
        xAxis: rule.x, lineStyle: { type: 'dashed', width: 1.5, color: roleColour(rule.role) },
        label: { formatter: rule.name, position: 'end', rotate: 0, color: textColour(), fontSize: 12, distance: 4 + 14 * (i % 2), align: align(rule) },
      })),
    },
  };
}

// Whether all lines end at the right, where there is room for their names; others are named in a legend.
function endTogether(chart, lines) {
  const place = x => chart.x.log ? Math.log(x) : x;
  const last = lines.filter(line => line.x.length && line.style !== 'dots').map(line => place(line.x[line.x.length - 1]));
  const [low, high] = reach(chart);
  return !last.length || Math.max(...last) - Math.min(...last) <= 0.02 * (high - low);
}

function lineOption(chart, width) {
  const named = chart.lines.filter(line => line.shade === null);
  const many = chart.lines.length > named.length;
  const direct = width >= 620 && (many || (named.length <= 6 && endTogether(chart, named)));
  const legend = !direct && named.length > 1 || many && named.length > 0;
  const yName = { nameGap: 48, name: width < 480 ? '' : chart.y.label };
  return {
    grid: { left: width < 480 ? 52 : 72, right: direct ? (many ? 70 : 150) : 20, top: (legend ? 40 : 16) + (width < 480 ? 16 : 0) + rulesHeight(chart), bottom: 54 },
    xAxis: axis(chart.x, { nameGap: 30 }),
    yAxis: Object.assign(axis(chart.y, yName), width < 480 ? { name: chart.y.label, nameLocation: 'end', nameGap: 8, nameTextStyle: { align: 'left', color: textColour(), padding: [0, 0, 0, -44] } } : {}),
    legend: legendOf(legend ? named : [], { top: 0 }),
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

// Thousands and millions in short, so that the values of neighbouring bars do not run into each other.
function short(value) {
  if (typeof value !== 'number' || Math.abs(value) < 1e4 || Math.abs(value) >= 1e9) return number(value);
  return Math.abs(value) < 1e6 ? number(value / 1e3) + 'k' : number(value / 1e6) + 'M';
}

// Error bars with their values above them, where there is room; a bar without an end is an arrow at the top of the frame.
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
      const below = !endless && group.values[i] < 0;
      const bars = endless || !error(i) ? [] : [[middle, low, middle, high], [middle - 4, low, middle + 4, low], [middle - 4, high, middle + 4, high]];
      const told = endless ? '↑' : short(group.values[i]);
      const pitch = chart.groups.length > 1 ? 1.2 * slot.width : api.size([1, 0])[0];
      const text = { text: !endless && textWidth(told) > pitch + 4 ? '' : told, x: middle, y: below ? low + 6 : high - 6, align: 'center', verticalAlign: below ? 'top' : 'bottom', fontSize: endless ? 18 : 12, fill: endless ? COLOURS[group.role] : textColour() };
      return { type: 'group', children: [
        ...bars.map(([x1, y1, x2, y2]) => ({ type: 'line', shape: { x1, y1, x2, y2 }, style: { stroke: textColour(), lineWidth: 1.5 } })), { type: 'text', style: text },
      ] };
    },
  };
}

// Names that are too wide for their place break between words, or stand aslant if a word itself is too wide.
function categoryLabels(chart, width) {
  const place = width / (chart.categories.length + 1);
  const words = chart.categories.flatMap(name => name > '\u2e80' ? [] : name.split(' '));
  return words.some(word => textWidth(word) > place) ? { rotate: 35 } : { width: place, overflow: 'break' };
}

function barOption(chart, width) {
  const legend = chart.groups.length > 1;
  return {
    grid: { left: width < 480 ? 52 : 72, right: 20, top: legend ? 52 : 30, bottom: 54 },
    xAxis: { type: 'category', data: chart.categories, axisLabel: { color: textColour(), interval: 0, ...categoryLabels(chart, width) }, axisLine: { lineStyle: { color: textColour() } } },
    yAxis: axis(chart.y, { nameGap: 48, scale: false, ...(chart.y.log && chart.y.low ? { startValue: chart.y.low } : {}) }),
    legend: legendOf(legend ? chart.groups : [], { top: 0 }),
    tooltip: { trigger: 'axis', valueFormatter: number, confine: true },
    series: [
      ...chart.groups.map(group => ({
        type: 'bar', name: group.name, barGap: '20%', barCategoryGap: '35%', itemStyle: { color: COLOURS[group.role], opacity: group.pinned ? 0.45 : 1 },
        data: group.values.map(value => typeof value === 'number' ? value : null),
      })),
      ...chart.groups.map((group, i) => errorBars(chart, group, i)),
    ],
  };
}
