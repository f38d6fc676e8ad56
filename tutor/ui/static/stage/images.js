// Small pictures side by side on one scale.

const GREYS = ['#000000', '#ffffff'];
const CAPTION = 20;

// How many columns there is room for, and how large a picture is, in pixels.
function imageLayout(chart, width) {
  const columns = Math.max(1, Math.min(chart.columns, chart.images.length, Math.floor(width / 84)));
  const slot = Math.min(150, Math.floor(width / columns));
  const ratio = chart.images.length ? chart.images[0].rows / chart.images[0].columns : 1;
  const size = slot - 10;
  const lines = chart.images.some(image => image.name.length * 7.5 > slot) ? 2 : 1;
  return { columns, slot, size, tall: size * ratio, row: size * ratio + lines * CAPTION + 10, height: Math.ceil(chart.images.length / columns) * (size * ratio + lines * CAPTION + 10) + 8 };
}

function imageOption(chart, width) {
  const layout = imageLayout(chart, width);
  const scale = chart.diverging ? DIVERGING[dark() ? 'dark' : 'light'] : GREYS;
  return {
    series: [],
    graphic: chart.images.flatMap((image, i) => {
      const [x, y] = [(i % layout.columns) * layout.slot, Math.floor(i / layout.columns) * layout.row];
      const canvas = painted(positions(image.cells), image.rows, image.columns, scale);
      return [
        { type: 'image', silent: true, x, y, style: { image: canvas, width: layout.size, height: layout.tall } },
        { type: 'rect', silent: true, x, y, shape: { width: layout.size, height: layout.tall }, style: { fill: null, stroke: dark() ? '#475569' : '#cbd5e1' } },
        { type: 'text', silent: true, x: x + layout.size / 2, y: y + layout.tall + 4, style: { text: image.name, fill: textColour(), fontSize: 12, align: 'center', verticalAlign: 'top', width: layout.slot - 4, overflow: 'break' } },
      ];
    }),
  };
}

function readImages(chart, width, [x, y]) {
  const layout = imageLayout(chart, width);
  const i = Math.floor(y / layout.row) * layout.columns + Math.floor(x / layout.slot);
  const image = chart.images[i];
  if (!image || x < 0 || y < 0 || Math.floor(x / layout.slot) >= layout.columns) return null;
  const [column, row] = [Math.floor((x % layout.slot) / layout.size * image.columns), Math.floor((y % layout.row) / layout.tall * image.rows)];
  if (column >= image.columns || row >= image.rows) return null;
  return `${image.name}: (${row}, ${column}) → ${number(valueAt({ ...image, log: false }, positions(image.cells)[row * image.columns + column]))}`;
}
