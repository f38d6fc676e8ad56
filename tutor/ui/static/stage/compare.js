// A finished run that is pinned is laid under the next ones of the same experiment: dotted lines, pale bars, hollow points.

let pinned = null;  // a frame

const comparable = () => pinned && frame && pinned.file === frame.file && pinned.mode === frame.mode;

function withPinned(chart, i) {
  const other = comparable() && pinned.charts[i];
  if (!other || other.kind !== chart.kind || pinned === frame) return chart;
  const mark = item => ({ ...item, name: item.name + words().pinned_mark, pinned: true });
  if (chart.kind === 'bars') {
    if (other.categories.length !== chart.categories.length) return chart;
    return { ...chart, groups: [...chart.groups, ...other.groups.map(mark)] };
  }
  if (chart.kind === 'images') return chart;
  const lines = other.lines.filter(line => line.role !== 'theory').map(line => ({ ...mark(line), low: [], high: [] }));
  return { ...chart, lines: [...chart.lines, ...lines], ...(chart.points ? { points: [...chart.points, ...other.points.map(mark)] } : {}) };
}

function drawPin() {
  const button = root.querySelector('.stage-pin');
  button.textContent = words().pin;
  button.hidden = frame.state !== 'done' || pinned?.run === frame.run && pinned?.file === frame.file;
  const chip = root.querySelector('.stage-pinned');
  chip.hidden = !pinned;
  if (!pinned) return;
  chip.querySelector('span').textContent = words().pinned + words().colon + pinned.run + (frame.charts && frame.state !== 'idle' && !comparable() ? ` — ${words().pinned_elsewhere}` : '');
  chip.querySelector('button').textContent = words().unpin;
}

function pin(value) {
  pinned = value;
  drawPin(); drawFigures(); drawCharts();
}

root.querySelector('.stage-pin').addEventListener('click', () => pin(frame));
root.querySelector('.stage-pinned button').addEventListener('click', () => { pin(null); root.querySelector('.stage-pin').focus(); });
