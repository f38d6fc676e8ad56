// The frames of the newest run are kept, so that what moved can be looked at again.

const LONGEST_REPLAY = 240;
let past = [];  // the charts of each frame, oldest first
let playing = null;

function remember(newest) {
  if (newest.state === 'idle' || (newest.state === 'running' && !newest.charts)) past = [];
  if (!newest.charts || !['running', 'done'].includes(newest.state)) return;
  past.push(newest.charts);
  if (past.length > LONGEST_REPLAY) past = past.filter((_, i) => i % 2 || i === past.length - 1);
}

const slider = root.querySelector('.stage-replay input');
const playButton = root.querySelector('.stage-replay button');

function drawReplay() {
  const box = root.querySelector('.stage-replay');
  stopPlaying();
  box.hidden = !['done', 'stopped'].includes(frame.state) || past.length < 4;
  slider.max = Math.max(1, past.length - 1);
  slider.value = slider.max;
  slider.setAttribute('aria-label', words().replay_position);
}

function showPast(i) {
  slider.value = i;
  drawCharts(past[i]);
}

function stopPlaying() {
  clearInterval(playing);
  playing = null;
  playButton.textContent = '▶ ' + words().replay;
}

slider.addEventListener('input', () => { stopPlaying(); showPast(Number(slider.value)); });
playButton.addEventListener('click', () => {
  if (playing) { stopPlaying(); return; }
  let i = Number(slider.value) >= past.length - 1 ? 0 : Number(slider.value);
  playButton.textContent = '⏸ ' + words().replay_pause;
  playing = setInterval(() => {
    showPast(i);
    if (++i >= past.length) stopPlaying();
  }, Math.max(60, Math.min(200, 8000 / past.length)));
});
