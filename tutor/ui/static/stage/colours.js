// Colours by role, scales and words: what all charts share. The files of this folder are joined in the order that stage.py names; they run inside a
// gr.HTML (`element`, `props`, `watch` are Gradio's). Text goes in as text, never as HTML.

const COLOURS = { baseline: '#7A7A7A', first: '#0072B2', second: '#D55E00', third: '#009E73', fourth: '#CC79A7', warning: '#E69F00' };
const SHADES = ['#440154', '#414487', '#2A788E', '#22A884', '#7AD151', '#C9D420'];  // viridis without its palest yellow
const GROUPS = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#7A7A7A', '#8C564B', '#5D3A9B', '#8A8A00'];
const SYMBOLS = ['circle', 'triangle', 'rect', 'diamond', 'roundRect'];
const root = element.querySelector('.stage');

const dark = () => document.body.classList.contains('dark');
const textColour = () => getComputedStyle(root).getPropertyValue('--body-text-color').trim() || (dark() ? '#eee' : '#222');
const background = () => dark() ? '#0b0f19' : '#ffffff';
const fontFamily = () => getComputedStyle(root).fontFamily.replace(/"/g, "'");  // double quotes would end an attribute of an SVG
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
  if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)) return powerOfTen(value);
  return Number(value.toPrecision(3)).toString();
}

function powerOfTen(value) {
  const [mantissa, exponent] = Number(value.toPrecision(3)).toExponential().split('e');
  const power = '10' + [...exponent.replace('+', '')].map(sign => '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'['-0123456789'.indexOf(sign)]).join('');
  return mantissa === '1' ? power : mantissa === '-1' ? '−' + power : mantissa + '×' + power;
}

// Whether a chart of this width has its names above its axes, as on a phone.
const isNarrow = width => width < 480;
// About how wide a text of 12 px is, in pixels.
const textWidth = text => [...text].reduce((sum, character) => sum + (character > '\u2e80' ? 12 : 7), 0);
const withUnit = (text, unit) => unit ? text + '\u2009' + unit : text;
const channels = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));

// The colour at a position 0 … 1 of a scale of hex colours, as [r, g, b].
function along(scale, position) {
  const place = Math.max(0, Math.min(1, position)) * (scale.length - 1);
  const index = Math.min(scale.length - 2, Math.floor(place));
  const [from, to] = [scale[index], scale[index + 1]].map(channels);
  return from.map((channel, i) => Math.round(channel + (to[i] - channel) * (place - index)));
}

const shade = position => 'rgb(' + along(SHADES, position).join(',') + ')';

// A line's colour as text: Okabe-Ito's colours reach a contrast of 4.5 to 1 neither on white nor on black.
function textOf(colour) {
  const [share, towards] = dark() ? [0.45, 255] : [0.3, 0];
  return '#' + channels(colour).map(channel => Math.round(channel * (1 - share) + towards * share).toString(16).padStart(2, '0')).join('');
}

const roleColour = role => role === 'theory' ? textColour() : COLOURS[role];
const lineColour = line => line.shade !== null ? shade(line.shade) : roleColour(line.role);
