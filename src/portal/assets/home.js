// Responsible for the start page: starts, stops and follows the desktops of the person who is signed in.

import { busy, idle, offerSignOut, send, words } from '/assets/gateway.js';
import { fill, follow, look, span } from '/assets/live.js';

const POLL_MS = 2000;
const FAILURES_UNTIL_NOTICE = 2;
const TICK_MS = 20000;
// A start whose new tab says that it failed changes nothing here.
const START_MS = 4000;

// The same rules as in pages.rs.
const STARTABLE = new Set(['', 'stopped', 'error']);
const OPENABLE = new Set(['queued', 'creating', 'starting', 'running', 'paused']);
const UP = new Set(['running', 'paused']);

// Ends that nobody can put off.
const FIXED = new Set(['hours', 'template_gone']);

// Where each button asks, what it says meanwhile, and what the answer stands for.
const ACTIONS = {
  stop: ['/api/container/stop', 'stopping', 'container'],
  stay: ['/api/container/extend', 'staying', 'container'],
  fresh: ['/api/container/reset', 'freshing', 'removed'],
};

const list = document.getElementById('cards');
const cards = [...document.querySelectorAll('[data-template]')];
const errorBox = document.getElementById('error');
const live = document.getElementById('live');
const question = document.getElementById('ask');
const desktops = new Map();
// Until the first answer the page shows what it was served with.
let known = false;

// Counts actions: an answer that was asked for before an action knows nothing of it and is dropped.
let epoch = 0;

function text(name) {
  return list?.getAttribute(`data-text-${name}`) ?? '';
}

function showError(lead, error) {
  errorBox.textContent = `${lead} ${words(error, text('offline'))}`.trim();
  errorBox.dataset.kind = 'action';
  errorBox.hidden = false;
  errorBox.scrollIntoView({ block: 'nearest' });
}

function hideError() {
  errorBox.hidden = true;
  errorBox.textContent = '';
}

/** Writes a text where it changed, so that screen readers and the layout are left in peace. */
function write(element, words, announced) {
  if (element.textContent === words) return;
  element.textContent = words;
  if (announced && words) live.textContent = `${announced}: ${words}`;
}

/** How long a desktop has run, when it was used, when it ends; of one that starts, how far it is. */
function times(desktop) {
  const { queue, progress } = desktop;
  if (queue) return fill(text('place'), { position: queue.position, seconds: queue.estimate_seconds });
  if (typeof progress?.percent === 'number') return fill(text('percent'), { percent: progress.percent });
  if (!UP.has(desktop.status)) return '';
  const now = Date.now();
  const told = [
    ['uptime', desktop.started_at, 1],
    ['last-use', desktop.last_input, 1],
    ['time-left', desktop.stops_at, -1],
  ];
  return told
    .filter(([, moment]) => moment)
    .map(([name, moment, sign]) => fill(text(name), { span: span(sign * (now - Date.parse(moment))) }))
    .join(' · ');
}

/** The time of day of a moment, as people here write it. */
function clock(moment) {
  return new Date(moment).toLocaleTimeString(document.documentElement.lang, { hour: '2-digit', minute: '2-digit' });
}

/** Shows a desktop, or its absence, on its card. */
function show(card, desktop) {
  const status = desktop?.status ?? '';
  const part = (selector) => card.querySelector(selector);
  const title = part('h2').textContent;
  const pill = part('[data-testid="state"]');
  write(pill, list.getAttribute(`data-label-${status}`) ?? status, title);
  pill.dataset.state = status;
  const start = part('[data-testid="start"]');
  if (start && card.dataset.status !== status) idle(start);
  card.dataset.status = status;
  card.dataset.desktop = desktop?.id ?? '';
  write(part('[data-role="times"]'), desktop ? times(desktop) : '');

  const reason = part('[data-role="reason"]');
  write(reason, status === 'running' ? '' : (desktop?.status_reason ?? ''));
  reason.hidden = reason.textContent === '';
  const warning = part('[data-role="warning"]');
  const soon = desktop?.stops_soon && text(`soon-${desktop.stops_because}`);
  write(warning, soon ? fill(soon, { time: clock(desktop.stops_at) }) : '', title);
  warning.hidden = !soon;
  const watched = part('[data-role="watched"]');
  write(watched, desktop?.watched_by ? fill(text('watched'), { name: desktop.watched_by }) : '', title);
  watched.hidden = watched.textContent === '';
  part('[data-action="stay"]').hidden = !soon || FIXED.has(desktop.stops_because);
  showButtons(card, desktop, status);
}

function isShown(element) {
  return element !== document.body && element.getClientRects().length > 0;
}

function showButtons(card, desktop, status) {
  const start = card.querySelector('[data-testid="start"]');
  const open = card.querySelector('[data-action="open"]');
  const stop = card.querySelector('[data-action="stop"]');
  const buttons = [start, open, stop].filter(Boolean);
  const focused = buttons.includes(document.activeElement);
  if (start) start.form.hidden = !STARTABLE.has(status);
  open.hidden = !OPENABLE.has(status);
  if (desktop) open.href = `/desktop/${encodeURIComponent(desktop.id)}/`;
  stop.hidden = open.hidden && status !== 'stopping';
  const fresh = card.querySelector('[data-action="fresh"]');
  if (fresh) fresh.hidden = !desktop;
  if (!stop.hasAttribute('aria-busy')) stop.disabled = status === 'stopping';
  // A keyboard user must not lose their place because the focused button went away.
  if (focused && !isShown(document.activeElement)) {
    buttons.find((button) => isShown(button) && !button.disabled)?.focus();
  }
}

/** The desktop to show for a template: one that lives, else the newest. */
function choose(template) {
  const rank = (one) => (STARTABLE.has(one.status) ? 0 : 1);
  const age = (one) => Date.parse(one.created_at) || 0;
  return [...desktops.values()]
    .filter((one) => one.template === template)
    .sort((a, b) => rank(b) - rank(a) || age(b) - age(a))[0];
}

function render(template) {
  for (const card of cards) {
    if (template === undefined || card.dataset.template === template) show(card, choose(card.dataset.template));
  }
}

function heard({ type, container, queue, progress }) {
  known = true;
  if (type === 'removed') desktops.delete(container.id);
  else if (type === 'container') desktops.set(container.id, { ...container, queue, progress });
  else desktops.set(container.id, { ...desktops.get(container.id), ...container });
  render(container.template);
}

async function ask() {
  const asked = epoch;
  const { containers } = await look('/api/container/list');
  if (asked !== epoch) return;
  known = true;
  const before = new Map(desktops);
  desktops.clear();
  for (const one of containers) {
    // A list does not say how far a start is; the events did.
    const { queue, progress } = before.get(one.id)?.status === one.status ? before.get(one.id) : {};
    desktops.set(one.id, { queue, progress, ...one });
  }
  render();
}

function troubled(failures) {
  if (failures >= FAILURES_UNTIL_NOTICE && errorBox.hidden) {
    errorBox.textContent = text('offline');
    errorBox.dataset.kind = 'poll';
    errorBox.hidden = false;
  }
  if (failures === 0 && errorBox.dataset.kind === 'poll') hideError();
}

/** Asks before something is lost. */
function confirmed(card, name) {
  const words = (part) => question.getAttribute(`data-${part}-${name}`);
  const title = card.querySelector('h2').textContent;
  question.querySelector('h2').textContent = fill(words('title'), { title });
  question.querySelector('p').textContent = words('text');
  question.querySelector('[value="yes"]').textContent = words('yes');
  question.returnValue = 'no';
  question.showModal();
  return new Promise((resolve) => {
    question.addEventListener('close', () => resolve(question.returnValue === 'yes'), { once: true });
  });
}

async function act(card, button, name) {
  const [path, working, then] = ACTIONS[name];
  const which = name === 'fresh' ? { template: card.dataset.template } : { id: card.dataset.desktop };
  busy(button, text(working));
  try {
    const { container } = await send('POST', path, which, text('reload'));
    idle(button);
    if (container) heard({ type: then, container });
  } catch (error) {
    idle(button);
    showError(text(`${name}-failed`), error);
  }
  epoch += 1;
  following.now();
}

list?.addEventListener('click', async (event) => {
  const button = event.target.closest('button[data-action]');
  if (!button) return;
  const card = button.closest('[data-template]');
  const name = button.dataset.action;
  if (name !== 'stay' && !(await confirmed(card, name))) return;
  epoch += 1;
  hideError();
  act(card, button, name);
});

// The form opens the tab that becomes the desktop; this page only shows that something happens.
list?.addEventListener('submit', (event) => {
  const button = event.target.querySelector('[data-testid="start"]');
  hideError();
  epoch += 1;
  // A button that is disabled at once would not send its form.
  setTimeout(() => {
    busy(button, text('starting'));
    setTimeout(() => idle(button), START_MS);
    following.now();
  });
});

const following = list
  ? follow({ heard, ask, troubled, pace: () => POLL_MS })
  : { now() {} };
setInterval(() => {
  if (known && !document.hidden) render();
}, TICK_MS);
offerSignOut();

// A page that comes back from the browser's memory shows what was true when it was left.
window.addEventListener('pageshow', (event) => {
  if (!event.persisted) return;
  document.querySelectorAll('[aria-busy]').forEach(idle);
  following.now();
});
