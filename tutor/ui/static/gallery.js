// The gallery: cards by topic, filtered by topic and by words. Runs inside a gr.HTML; everything is drawn from one JSON value, text as text.

const root = element.querySelector('.gallery');
const [search, topics, count, cards, results] = ['.gallery-search', '.gallery-topics', '.gallery-count', '.gallery-cards', '.gallery-results'].map(name => root.querySelector(name));
let data = null;
let topic = null;

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function card(item) {
  const link = make('a', 'gallery-card');
  link.href = item.href;
  link.addEventListener('click', event => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;  // a new tab opens by the link itself
    event.preventDefault();
    trigger('select', { demo: item.id });
  });
  const frame = make('span', 'gallery-picture');
  for (const [mode, source] of Object.entries(item.pictures)) {
    if (!source) continue;
    const picture = make('img', mode);
    // `loading` first: a source that is set before it is fetched at once.
    Object.assign(picture, { loading: 'lazy', alt: '', width: 320, height: 180, src: (window.gradio_config?.root || '') + source });
    frame.append(picture);
  }
  if (!frame.children.length) frame.append(make('span', 'gallery-initial', item.title.slice(0, 1)));
  const foot = make('span', 'gallery-foot', data.words.about_seconds.replace('{seconds}', item.about));
  if (item.status) foot.append(make('span', 'badge badge-' + item.status, data.words['status_' + item.status]));
  link.append(frame, make('strong', '', item.title), make('span', 'gallery-line', item.line), foot);
  return link;
}

// Each word has to be there; words of Chinese characters anywhere, others at the beginning of a word.
function matches(item, query) {
  return query.toLowerCase().split(/\s+/).filter(Boolean).every(word => /[\u4e00-\u9fff]/.test(word) ? item.words.includes(word) : (' ' + item.words.replace(/[^\p{L}\p{N}]+/gu, ' ')).includes(' ' + word));
}

function drawCards() {
  const query = search.value.trim();
  const shown = data.cards.filter(item => (query ? matches(item, query) : !topic || item.topic === topic));
  cards.replaceChildren();
  for (const part of data.topics) {
    const inside = shown.filter(item => item.topic === part.id);
    if (!inside.length) continue;
    const row = make('div', 'gallery-row');
    row.append(...inside.map(card));
    cards.append(make('h3', '', part.name), row);
  }
  count.textContent = shown.length ? data.words.gallery_count.replace('{count}', shown.length) : data.words.gallery_none.replace('{query}', query);
  for (const button of topics.children) button.setAttribute('aria-pressed', String(!query && button.dataset.topic === topic));
}

function drawResults() {
  results.querySelector('summary').textContent = data.words.results_title;
  const box = results.querySelector('.stage-table');
  if (!data.results.length) { box.replaceChildren(make('p', 'quiet', data.words.results_none)); return; }
  const table = make('table');
  const head = make('tr');
  for (const name of ['results_demo', 'results_preset', 'results_status', 'measured', 'published', 'results_device', 'results_when']) { const cell = make('th', '', data.words[name]); cell.scope = 'col'; head.append(cell); }
  table.append(head);
  for (const row of data.results) {
    const line = make('tr');
    const status = make('td');
    status.append(make('span', 'badge badge-' + row.status, data.words['status_' + row.status]));
    line.append(make('td', '', row.demo), make('td', '', row.preset), status, make('td', '', row.measured), make('td', '', row.published), make('td', '', `${row.device}, ${row.seconds}\u2009${data.words.second}`), make('td', '', row.when));
    table.append(line);
  }
  box.replaceChildren(table);
}

function draw() {
  if (!props.value) return;
  data = JSON.parse(props.value);
  search.placeholder = data.words.gallery_search;
  search.setAttribute('aria-label', data.words.gallery_search);
  topics.setAttribute('aria-label', data.words.gallery_topics);
  topics.replaceChildren(...data.topics.map(part => {
    const button = make('button', '', part.name);
    Object.assign(button, { type: 'button' });
    button.dataset.topic = part.id;
    button.addEventListener('click', () => { topic = topic === part.id && !search.value ? null : part.id; search.value = ''; drawCards(); });
    return button;
  }));
  drawCards();
  drawResults();
}

search.addEventListener('input', drawCards);
watch('value', draw);
draw();
