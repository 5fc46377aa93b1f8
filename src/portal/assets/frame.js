// Responsible for the page around a desktop: the bar, the veil over a desktop that cannot be reached, and the way back to
// it. The keys belong to the desktop: whatever was done in the bar, the focus returns to the frame.

import { busy, idle, send, words } from '/assets/gateway.js';
import { fill, follow, look, span } from '/assets/live.js';

const POLL_MS = 2000;
const FAILURES_UNTIL_LOST = 2;
const TICK_MS = 20000;
// So long after the page no request of the desktop's client has come to the gateway: the browser keeps the cookie of the
// other host from the frame. Use is written every 5 s.
const ARRIVAL_MS = 15000;
const BARE = '?frame=off';

const root = document.getElementById('desk');
const part = (id) => document.getElementById(id);
const [deck, frame, veil, live, left, watched] = ['deck', 'frame', 'veil', 'live', 'left', 'watched'].map(part);
const [warning, errorBox, question, full, stay, stop] = ['warning', 'error', 'ask', 'full', 'stay', 'stop'].map(part);
const { desktop: id } = root.dataset;

let known;
let lost = false;
// When the desktop was last reached, as the first answer said; undefined until then, null once it has been reached.
let before;

function text(name) {
  return root.getAttribute(`data-text-${name}`) ?? '';
}

function clock(moment) {
  return new Date(moment).toLocaleTimeString(document.documentElement.lang, { hour: '2-digit', minute: '2-digit' });
}

/** Covers the desktop with what is to be said of it; nothing uncovers it. */
function cover(kind = '') {
  if ((veil.dataset.kind ?? '') === kind) return;
  veil.dataset.kind = kind;
  if (kind) {
    part('veil-title').textContent = root.getAttribute(`data-title-${kind}`);
    part('veil-text').textContent = root.getAttribute(`data-veil-${kind}`);
  }
  veil.hidden = !kind;
}

function lose() {
  lost = true;
  cover('lost');
}

/** The client's connection may have died with ours, so it begins anew; the desktop itself has gone on. */
function find() {
  if (!lost) return;
  lost = false;
  cover();
  // Setting its address loads the frame again, even if that is what it is already.
  frame.src = frame.getAttribute('src');
}

function fold() {
  if (warning.hidden) deck.open = false;
  frame.focus();
}

function showEnd() {
  const { stops_at: at, stops_because: why, stops_soon: near } = known;
  left.textContent = at ? fill(text('time-left'), { span: span(Date.parse(at) - Date.now()) }) : '';
  const soon = near && text(`soon-${why}`);
  const said = soon ? fill(soon, { time: clock(at) }) : '';
  // Opening hours end for everybody.
  stay.hidden = why === 'hours' && Boolean(near);
  stay.classList.toggle('primary', Boolean(soon));
  stay.classList.toggle('quiet', !soon);
  if (warning.textContent === said) return;
  warning.textContent = said;
  warning.hidden = !said;
  live.textContent = said;
  // Opening it takes no focus: whoever types goes on typing.
  if (said) deck.open = true;
}

/** Says who looks at the desktop, in the bar itself, so that it is seen while that is folded. */
function showWatcher() {
  const { watched_by: name } = known;
  const said = name ? fill(text('watched'), { name }) : '';
  if (watched.textContent === said) return;
  watched.textContent = said;
  watched.hidden = !said;
  if (said) live.textContent = said;
}

function take(container) {
  known = container;
  const { status, last_accessed: reached } = container;
  // A warning that comes before the first answer does not say all.
  if (!status) return;
  if (before === undefined) before = reached ?? '';
  else if (before !== null && (reached ?? '') !== before) before = null;
  if (status === 'running' || status === 'paused') {
    if (veil.dataset.kind === 'ending') cover();
    showEnd();
    showWatcher();
  } else if (status === 'stopping') cover('ending');
  // What has ended, or begins anew, is told by the server at this same address.
  else location.reload();
}

function heard({ type, container }) {
  if (container.id !== id) return;
  if (type === 'removed') location.reload();
  else take({ ...known, ...container });
}

async function ask() {
  const answer = await look(`/api/container/status?id=${encodeURIComponent(id)}`);
  if (answer) take(answer.container);
  else location.reload();
}

function troubled(failures) {
  if (failures >= FAILURES_UNTIL_LOST) lose();
  else if (failures === 0) find();
}

async function act(button, name, path) {
  busy(button, text(name === 'stop' ? 'stopping' : 'staying'));
  errorBox.hidden = true;
  try {
    const { container } = await send('POST', path, { id }, text('reload'));
    idle(button);
    take(container);
    if (name === 'stay') live.textContent = text('stayed');
    fold();
  } catch (error) {
    idle(button);
    errorBox.textContent = `${text(`${name}-failed`)} ${words(error, text('offline'))}`;
    errorBox.hidden = false;
    deck.open = true;
  }
}

stay.addEventListener('click', () => act(stay, 'stay', '/api/container/extend'));

stop.addEventListener('click', () => {
  question.returnValue = 'no';
  question.showModal();
});

question.addEventListener('close', () => {
  if (question.returnValue === 'yes') act(stop, 'stop', '/api/container/stop');
  else fold();
});

full.hidden = !document.fullscreenEnabled;
full.addEventListener('click', async () => {
  if (document.fullscreenElement) await document.exitFullscreen();
  else await document.documentElement.requestFullscreen();
  fold();
});
document.addEventListener('fullscreenchange', () => {
  full.textContent = text(document.fullscreenElement ? 'not-full' : 'full');
});

// A click into the desktop takes the focus there, and folds the bar. Its client takes the focus by itself too, when it has
// connected; that does not fold a bar that somebody is at.
window.addEventListener('blur', () => {
  if (document.activeElement === frame && !question.open && !deck.matches(':hover')) fold();
});
deck.addEventListener('toggle', () => {
  if (!deck.open) frame.focus();
});
frame.addEventListener('load', () => {
  if (document.activeElement === document.body && !question.open) frame.focus();
});
frame.focus();

window.addEventListener('offline', lose);
const following = follow({ heard, ask, troubled, pace: () => POLL_MS });
following.now();
setInterval(() => {
  if (known && !document.hidden) showEnd();
}, TICK_MS);

/** Gives the tab to the desktop if it did not come into the frame; nothing is known while nobody looks. */
async function arrive() {
  if (!document.hidden && !lost) await following.now();
  if (before === null) return;
  if (document.hidden || lost || known?.status !== 'running') setTimeout(arrive, ARRIVAL_MS);
  else location.replace(BARE);
}
setTimeout(arrive, ARRIVAL_MS);
