// Reads a table of the learner's own: the text of the file becomes the component's value.

const root = element.querySelector('.own-data');
const [label, help, choose, remove, status] = ['strong', '.quiet', 'label span', 'button', '[role=status]'].map(name => root.querySelector(name));
const input = root.querySelector('input');
let name = '';

function draw(problem) {
  const words = props.words;
  label.textContent = words.label;
  help.textContent = words.help;
  choose.textContent = words.choose;
  remove.textContent = words.remove;
  remove.hidden = !props.value;
  status.classList.toggle('stage-error', Boolean(problem));
  status.textContent = problem || (props.value ? words.used + (name ? words.colon + name : '') : words.none);
}

function use(text) {
  props.value = text;
  trigger('input');
  draw();
}

input.addEventListener('change', async () => {
  const file = input.files[0];
  if (!file) return;
  if (file.size > props.limit) { input.value = ''; draw(props.words.large); return; }
  name = file.name;
  use(await file.text());
  input.value = '';
});
remove.addEventListener('click', () => { name = ''; use(''); input.focus(); });
// A table that the server refuses is taken back, and the server says why.
watch('problem', () => { if (props.problem) { name = ''; draw(props.problem); } });
draw();
