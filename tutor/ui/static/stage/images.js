// Small pictures side by side on one scale.

const GREYS = ['#000000', '#ffffff'];
const CAPTION = 20;

// How many columns there is room for, how large the slot of a picture is, and where each picture lies in its slot, in pixels.
function imageLayout(chart, width) {
  const columns = Math.max(1, Math.min(chart.columns, chart.images.length, Math.floor(width / 72)));
  const slot = Math.min(210, Math.floor(width / columns));
  const [wide, tall] = [slot - 10, (slot - 10) * Math.min(1, Math.max(0, ...chart.images.map(image => image.rows / image.columns)))];
  const row = tall + (chart.images.some(image => image.name.length * 7.5 > slot) ? 2 : 1) * CAPTION + 10;
  const places = chart.images.map((image, i) => {
    const unit = Math.min(wide / image.columns, tall / image.rows);
    const size = [unit * image.columns, unit * image.rows];
    return { x: (i % columns) * slot + (wide - size[0]) / 2, y: Math.floor(i / columns) * row + (tall - size[1]) / 2, width: size[0], height: size[1] };
  });
  return { slot, wide, tall, row, columns, places, height: Math.ceil(chart.images.length / columns) * row + 8 };
}

function imageOption(chart, width) {
  const layout = imageLayout(chart, width);
  const scale = chart.diverging ? DIVERGING[dark() ? 'dark' : 'light'] : GREYS;
  return {
    series: [],
    graphic: chart.images.flatMap((image, i) => {
      const place = layout.places[i];
      const caption = { x: (i % layout.columns) * layout.slot + layout.wide / 2, y: Math.floor(i / layout.columns) * layout.row + layout.tall + 4 };
      const { x, y, ...shape } = place;
      return [
        { type: 'image', silent: true, x, y, style: { image: painted(decoded(image), image.rows, image.columns, scale), ...shape } },
        { type: 'rect', silent: true, x, y, shape, style: { fill: null, stroke: dark() ? '#475569' : '#cbd5e1' } },
        { type: 'text', silent: true, ...caption, style: { text: image.name, fill: textColour(), fontFamily: fontFamily(), fontSize: 12, align: 'center', verticalAlign: 'top', width: layout.wide, overflow: 'break' } },
      ];
    }),
  };
}

function readImages(chart, width, [x, y]) {
  const { places } = imageLayout(chart, width);
  const i = places.findIndex(place => x >= place.x && y >= place.y && x < place.x + place.width && y < place.y + place.height);
  if (i < 0) return null;
  const [image, place] = [chart.images[i], places[i]];
  const [column, row] = [Math.floor((x - place.x) / place.width * image.columns), Math.floor((y - place.y) / place.height * image.rows)];
  return `${image.name}: (${row}, ${column}) → ${number(valueAt({ ...image, log: false }, decoded(image)[row * image.columns + column]))}`;
}
