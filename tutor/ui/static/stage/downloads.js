// Downloads are made in the browser: nothing is stored on the server.

function save(name, url) {
  const link = make('a');
  link.href = url; link.download = name; link.click();
}

function saveText(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type: type + ';charset=utf-8' }));
  save(name, url);
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function chartRows(chart) {
  const rows = [];
  const row = (series, x, value, low, high, unit) => rows.push(['chart', chart.title, series, x, value, low, high, unit]);
  for (const line of chart.lines || []) line.x.forEach((x, i) => row(line.name, x, line.y[i], line.low[i], line.high[i], chart.y.label));
  for (const cloud of chart.points || []) cloud.x.forEach((x, i) => row(cloud.name, x, cloud.y[i], '', '', chart.y.label));
  for (const group of chart.groups || []) chart.categories.forEach((name, i) => {
    const [value, error] = [group.values[i], group.errors[i]];
    row(group.name, name, value, typeof error === 'number' ? value - error : '', typeof error === 'number' ? value + error : '', chart.y.label);
  });
  const cells = (name, grid, label) => decoded(grid).forEach((position, i) => row(`${name}[${Math.floor(i / grid.columns)}][${i % grid.columns}]`, '', valueAt(grid, position), '', '', label));
  if (chart.grid) cells('grid', chart.grid, chart.grid.label);
  for (const image of chart.images || []) cells(image.name, { ...image, log: false }, '');
  return rows;
}

function csv() {
  const cell = value => value === null || value === undefined ? '' : /[",\n]/.test(String(value)) ? '"' + String(value).replace(/"/g, '""') + '"' : String(value);
  const rows = [['kind', 'title', 'series', 'x', 'value', 'low', 'high', 'unit']];
  for (const figure of frame.figures || []) {
    const [low, high] = typeof figure.spread === 'number' ? [figure.value - figure.spread, figure.value + figure.spread] : ['', ''];
    rows.push(['figure', figure.name, '', '', figure.value, low, high, figure.unit]);
  }
  frame.charts.forEach(chart => rows.push(...chartRows(chart)));
  return '\ufeff' + rows.map(row => row.map(cell).join(',')).join('\r\n') + '\r\n';  // the mark makes spreadsheets read UTF-8
}

function png() {
  const images = charts.map(chart => chart.getRenderedCanvas({ pixelRatio: 2, backgroundColor: background() }));
  const canvas = make('canvas');
  const title = 60;
  canvas.width = Math.max(...images.map(image => image.width));
  canvas.height = images.reduce((sum, image) => sum + image.height + title, 0);
  const pen = canvas.getContext('2d');
  pen.fillStyle = background();
  pen.fillRect(0, 0, canvas.width, canvas.height);
  let y = 0;
  images.forEach((image, i) => {
    pen.fillStyle = textColour();
    pen.font = 'bold 28px ' + fontFamily();
    pen.fillText(frame.charts[i].title, 24, y + 40);
    pen.drawImage(image, 0, y + title);
    y += image.height + title;
  });
  return canvas.toDataURL('image/png');
}

// The charts below each other in one SVG document, drawn again by ECharts' own SVG renderer.
function svg() {
  const [width, parts, title] = [Math.max(...charts.map(chart => chart.getWidth())), [], 34];
  let y = 0;
  frame.charts.forEach((chart, i) => {
    const size = { width: charts[i].getWidth(), height: charts[i].getHeight() };
    const drawn = echarts.init(null, null, { renderer: 'svg', ssr: true, ...size });
    drawn.setOption(option(withPinned(chart, i), size.width, size.height));
    const inner = drawn.renderToSVGString();
    drawn.dispose();
    const heading = make('i', '', chart.title).innerHTML;
    parts.push(`<text x="12" y="${y + 22}" font-family="${fontFamily()}" font-weight="bold" font-size="15" fill="${textColour()}">${heading}</text>`, inner.replace('<svg ', `<svg y="${y + title}" `));
    y += size.height + title;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="${width}" height="${y}"><rect width="100%" height="100%" fill="${background()}"/>${parts.join('')}</svg>`;
}

root.querySelector('.stage-csv').addEventListener('click', () => saveText(frame.file + '.csv', csv(), 'text/csv'));
root.querySelector('.stage-png').addEventListener('click', () => save(frame.file + '.png', png()));
root.querySelector('.stage-svg').addEventListener('click', () => saveText(frame.file + '.svg', svg(), 'image/svg+xml'));
