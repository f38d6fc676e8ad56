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
  return Object.assign({ show: items.length > 0, type: 'plain', itemWidth: 16, itemHeight: 9, itemGap: 9, textStyle: { color: textColour() }, data: items.map(item => ({ name: item.name, icon: icon(item), itemStyle: { color: roleColour(item.role), opacity: item.pinned ? 0.6 : 1, borderWidth: 0 } })) }, place);
}

const LEGEND_ROW = 20;
const NAME_ROW = 16;

// The name of an x axis below a plane so wide: it breaks between words (or Chinese characters), in as many rows as it takes.
function nameBelow(spec, wide) {
  const rows = [''];
  for (const piece of spec.label.match(/[\u2e80-\uffff]\s*|[^\s\u2e80-\uffff]+\s*/g) || []) {
    if (rows[rows.length - 1] && 1.1 * textWidth(rows[rows.length - 1] + piece.trimEnd()) > wide) rows.push('');
    rows[rows.length - 1] += piece;
  }
  return { rows: rows.length, name: { name: rows.join('\n'), nameGap: 30, nameTextStyle: { color: textColour(), fontSize: 13, lineHeight: NAME_ROW } } };
}

// The name of a y axis: along it, or above it where that leaves too little room; there the names of rules have their place, too.
function nameBeside(left, narrow, rules) {
  return narrow ? { nameLocation: 'end', nameGap: 8 + rules, nameTextStyle: { align: 'left', color: textColour(), padding: [0, 0, 0, 8 - left] } } : { nameGap: Math.max(48, left - 26) };
}

// How many rows a legend takes: its names follow each other, and go on in the next row where the width ends.
function legendRows(items, width) {
  let [rows, used] = [items.length ? 1 : 0, 0];
  for (const item of items) {
    const wanted = 32 + 1.05 * textWidth(item.name);
    if (used && used + wanted > width) { rows += 1; used = 0; }
    used += wanted;
  }
  return rows;
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
    series.endLabel = { show: true, formatter: () => line.name, color: line.shade !== null || line.role === 'theory' ? textColour() : textOf(colour), fontSize: 12, lineHeight: 15, width: 130, overflow: 'break' };
    series.labelLayout = { moveOverlap: 'shiftY' };
  }
  return series;
}

// A value of x as a place along its axis: its logarithm on a log axis.
const placeOn = (spec, x) => spec.log ? Math.log(x) : x;

// The places where the x axis, or what is drawn over it, ends.
function reach(chart) {
  const all = chart.lines.flatMap(line => line.x);
  return [chart.x.low ?? Math.min(...all), chart.x.high ?? Math.max(...all)].map(x => placeOn(chart.x, x));
}

// Names of rules stand above the plane, those at a side inwards; one that would run into its neighbour stands a row higher.
function placedRules(chart, width) {
  const [low, high] = reach(chart);
  let [end, lifted] = [-Infinity, false];
  return [...chart.rules].sort((a, b) => a.x - b.x).map(rule => {
    const share = (placeOn(chart.x, rule.x) - low) / (high - low);
    const align = share < 0.2 ? 'left' : share > 0.8 ? 'right' : 'center';
    const [at, wide] = [share * (width - 90), textWidth(rule.name)];
    const start = at - { left: 0, center: wide / 2, right: wide }[align];
    lifted = start < end + 8 && !lifted;
    end = Math.max(end, start + wide);
    return { rule, align, lifted };
  });
}

const rulesHeight = (chart, width) => !chart.rules.length ? 0 : placedRules(chart, width).some(placed => placed.lifted) ? 26 : 12;

function ruleLines(chart, width) {
  return {
    type: 'line', name: '', data: [], silent: true, tooltip: { show: false },
    markLine: {
      silent: true, symbol: 'none', precision: 15, data: placedRules(chart, width).map(({ rule, align, lifted }) => ({
        xAxis: rule.x, lineStyle: { type: 'dashed', width: 1.5, color: roleColour(rule.role) },
        label: { formatter: rule.name, position: 'end', rotate: 0, color: textColour(), fontSize: 12, distance: lifted ? 18 : 4, align },
      })),
    },
  };
}

// Whether all lines end at the right, where there is room for their names; others are named in a legend.
function endTogether(chart, lines) {
  if (lines.every(line => line.style === 'dots')) return false;
  const last = lines.filter(line => line.x.length && line.style !== 'dots').map(line => placeOn(chart.x, line.x[line.x.length - 1]));
  const [low, high] = reach(chart);
  return !last.length || Math.max(...last) - Math.min(...last) <= 0.02 * (high - low);
}

// The lines of a legend, and whether lines are named at their ends instead.
function lineNames(chart, width) {
  const named = chart.lines.filter(line => line.shade === null);
  const many = chart.lines.length > named.length;
  const direct = width >= 620 && (many || (named.length <= 6 && endTogether(chart, named)));
  return { many, direct, items: !direct && named.length > 1 || many ? named : [] };
}

function lineOption(chart, width) {
  const { many, direct, items } = lineNames(chart, width);
  const rows = legendRows(items, width);
  const narrow = isNarrow(width);
  const [left, right, rules] = [narrow ? 52 : 72, direct ? (many ? 70 : 150) : 20, rulesHeight(chart, width)];
  const below = nameBelow(chart.x, width - left - right);
  return {
    grid: { left, right, top: 16 + (rows && 4 + rows * LEGEND_ROW) + (narrow ? 16 : 0) + rules, bottom: 38 + NAME_ROW * below.rows },
    xAxis: axis(chart.x, { ...below.name, minInterval: chart.lines.every(line => line.x.every(Number.isInteger)) ? 1 : 0 }),
    yAxis: axis(chart.y, nameBeside(left, narrow, rules)),
    legend: legendOf(items, { top: 0 }),
    tooltip: { trigger: many ? 'item' : 'axis', valueFormatter: number, confine: true },
    series: [
      ...chart.lines.filter(line => line.low.length).map(band),
      ...chart.lines.map(line => lineSeries(line, chart, direct)),
      // Of many curves only the last one gets the word: arrows stand side by side.
      ...chart.lines.map((line, i) => divergence(line, chart, line.shade === null || i === chart.lines.length - 1)).filter(series => series.data.length),
      ...(chart.rules.length ? [ruleLines(chart, width)] : []),
    ],
  };
}

// Thousands and millions in short, so that the values of neighbouring bars do not run into each other.
function short(value) {
  if (typeof value !== 'number' || Math.abs(value) < 1e4 || Math.abs(value) >= 1e9) return number(value);
  return Math.abs(value) < 1e6 ? number(value / 1e3) + 'k' : number(value / 1e6) + 'M';
}

// Error bars with their values above them, where there is room for all; a bar without an end is an arrow at the top of the frame.
function errorBars(chart, group, position) {
  const error = i => group.errors[i] ?? 0;
  const widest = Math.max(...chart.groups.flatMap(each => each.values).filter(value => typeof value === 'number').map(value => textWidth(short(value))));
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
      const room = chart.groups.length > 1 ? 1.2 * slot.width : api.size([1, 0])[0];
      const text = { text: endless ? '↑' : widest > room + 2 ? '' : short(group.values[i]), x: middle, y: below ? low + 6 : high - 6, align: 'center', verticalAlign: below ? 'top' : 'bottom', fontSize: endless ? 18 : 12, fontFamily: fontFamily(), fill: endless ? roleColour(group.role) : textColour() };
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

const barNames = chart => chart.groups.length > 1 ? chart.groups : [];

function barOption(chart, width) {
  const narrow = isNarrow(width);
  const [left, items] = [narrow ? 52 : 72, barNames(chart)];
  const rows = legendRows(items, width);
  return {
    grid: { left, right: 20, top: 30 + (rows && 2 + rows * LEGEND_ROW) + (narrow ? 16 : 0), bottom: 54 },
    xAxis: { type: 'category', data: chart.categories, axisLabel: { color: textColour(), interval: 0, ...categoryLabels(chart, width) }, axisLine: { lineStyle: { color: textColour() } } },
    yAxis: axis(chart.y, { ...nameBeside(left, narrow, 0), scale: false, ...(chart.y.log && chart.y.low ? { startValue: chart.y.low } : {}) }),
    legend: legendOf(items, { top: 0 }),
    tooltip: { trigger: 'axis', valueFormatter: number, confine: true },
    series: [
      ...chart.groups.map(group => ({
        type: 'bar', name: group.name, barGap: '20%', barCategoryGap: '35%', itemStyle: { color: roleColour(group.role), opacity: group.pinned ? 0.45 : 1 },
        data: group.values.map(value => typeof value === 'number' ? value : null),
      })),
      ...chart.groups.map((group, i) => errorBars(chart, group, i)),
    ],
  };
}
