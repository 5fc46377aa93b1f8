// Responsible for the start page: starts, stops and follows the desktops of the person who is signed in.

import { Problem, ask, busy, idle, send } from '/assets/gateway.js';

const POLL_MS = 2000;
const POLL_AFTER_FAILURE_MS = 10000;
const FAILURES_UNTIL_NOTICE = 2;

// The same rules as in pages.rs.
const STARTABLE = new Set(['', 'stopped', 'error']);
const OPENABLE = new Set(['queued', 'creating', 'starting', 'running', 'paused']);

const list = document.getElementById('cards');
const cards = [...document.querySelectorAll('[data-template]')];
const errorBox = document.getElementById('error');
const live = document.getElementById('live');
const signOut = document.getElementById('sign-out');

let timer;
let failures = 0;
let polling = false;
// Counts actions: an answer that was asked for before an action knows nothing of it and is dropped.
let epoch = 0;

function text(name) {
  return list?.getAttribute(`data-text-${name}`) ?? '';
}

function post(path, body) {
  return send('POST', path, body, text('reload'));
}

function showError(lead, error) {
  const detail = error instanceof Problem ? error.message : text('offline');
  errorBox.textContent = `${lead} ${detail}`.trim();
  errorBox.dataset.kind = 'action';
  errorBox.hidden = false;
  errorBox.scrollIntoView({ block: 'nearest' });
}

function hideError() {
  errorBox.hidden = true;
  errorBox.textContent = '';
}

/** Shows a desktop, or its absence, on its card. */
function show(card, desktop) {
  const status = desktop?.status ?? '';
  const part = (selector) => card.querySelector(selector);
  const pill = part('[data-testid="state"]');
  const label = list.getAttribute(`data-label-${status}`) ?? status;
  if (pill.textContent !== label) {
    pill.textContent = label;
    live.textContent = `${part('h2').textContent}: ${label}`;
  }
  pill.dataset.state = status;
  card.dataset.status = status;
  card.dataset.desktop = desktop?.id ?? '';

  const reason = part('[data-role="reason"]');
  reason.textContent = desktop?.status_reason ?? '';
  reason.hidden = reason.textContent === '';

  const warning = part('[data-role="warning"]');
  const words = desktop?.stops_soon ? text(`soon-${desktop.stops_because}`).replace('{time}', clock(desktop.stops_at)) : '';
  if (warning.textContent !== words) {
    warning.textContent = words;
    if (words) live.textContent = `${part('h2').textContent}: ${words}`;
  }
  warning.hidden = words === '';
  // Opening hours end for everybody.
  part('[data-action="stay"]').hidden = words === '' || desktop.stops_because === 'hours';

  const start = part('[data-action="start"]');
  const open = part('[data-action="open"]');
  const stop = part('[data-action="stop"]');
  const focused = [start, open, stop].includes(document.activeElement);
  start.hidden = !STARTABLE.has(status);
  open.hidden = !OPENABLE.has(status);
  if (desktop) open.href = `/desktop/${encodeURIComponent(desktop.id)}/`;
  stop.hidden = open.hidden && status !== 'stopping';
  stop.disabled = status === 'stopping';
  // A keyboard user must not lose their place because the focused button went away.
  if (focused && (document.activeElement.hidden || document.activeElement === document.body)) {
    [start, open, stop].find((button) => !button.hidden && !button.disabled)?.focus();
  }
}

/** The time of day of a moment, as people here write it. */
function clock(moment) {
  return new Date(moment).toLocaleTimeString(document.documentElement.lang, { hour: '2-digit', minute: '2-digit' });
}

/** The desktop to show for a template: one that lives, else the newest. */
function choose(containers, template) {
  const rank = (c) => (STARTABLE.has(c.status) ? 0 : 1);
  const age = (c) => Date.parse(c.created_at) || 0;
  return containers
    .filter((c) => c.template === template)
    .sort((a, b) => rank(b) - rank(a) || age(b) - age(a))[0];
}

async function poll() {
  clearTimeout(timer);
  if (document.hidden || polling || !list) return;
  polling = true;
  const asked = epoch;
  try {
    const { containers = [] } = await ask('/api/container/list');
    if (asked === epoch) {
      for (const card of cards) {
        if (!card.querySelector('[aria-busy]')) show(card, choose(containers, card.dataset.template));
      }
    }
    failures = 0;
    if (errorBox.dataset.kind === 'poll') hideError();
  } catch {
    failures += 1;
    if (failures >= FAILURES_UNTIL_NOTICE && errorBox.hidden) {
      errorBox.textContent = text('offline');
      errorBox.dataset.kind = 'poll';
      errorBox.hidden = false;
    }
  }
  polling = false;
  schedule();
}

function schedule() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(poll, failures ? POLL_AFTER_FAILURE_MS : POLL_MS);
}

async function start(card, button) {
  busy(button, text('starting'));
  try {
    const { url } = await post('/api/container/start', { template: card.dataset.template });
    // The button stays busy: this tab becomes the desktop.
    location.assign(url);
  } catch (error) {
    idle(button);
    showError(text('start-failed'), error);
    poll();
  }
}

async function stop(card, button) {
  busy(button, text('stopping'));
  try {
    const { container } = await post('/api/container/stop', { id: card.dataset.desktop });
    idle(button);
    if (container) show(card, container);
  } catch (error) {
    idle(button);
    showError(text('stop-failed'), error);
  }
  epoch += 1;
  poll();
}

async function stay(card, button) {
  busy(button, text('staying'));
  try {
    const { container } = await post('/api/container/extend', { id: card.dataset.desktop });
    idle(button);
    show(card, container);
  } catch (error) {
    idle(button);
    showError(text('stay-failed'), error);
  }
  epoch += 1;
  poll();
}

list?.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-action]');
  if (!button) return;
  epoch += 1;
  hideError();
  const card = button.closest('[data-template]');
  if (button.dataset.action === 'start') start(card, button);
  else if (button.dataset.action === 'stay') stay(card, button);
  else stop(card, button);
});

signOut.addEventListener('click', async () => {
  busy(signOut);
  hideError();
  try {
    const { logout_url: target } = await post('/logout', {});
    location.assign(target || '/');
  } catch (error) {
    idle(signOut);
    showError(text('sign-out-failed'), error);
  }
});

document.addEventListener('visibilitychange', poll);
// A page that comes back from the browser's memory shows what was true when it was left.
window.addEventListener('pageshow', (event) => {
  if (!event.persisted) return;
  document.querySelectorAll('[aria-busy]').forEach(idle);
  polling = false;
  poll();
});
schedule();
