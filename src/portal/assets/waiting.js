// Responsible for the waiting page: follows a desktop's start, and gives way to the desktop as soon as it can be shown.

import { fill, follow, look } from '/assets/live.js';

const FAST_MS = 500;
const FAST_POLLS = 20;
const SLOW_MS = 1000;
const FAILURES_UNTIL_NOTICE = 3;
// The page was served although the desktop counts as running: its picture needs a moment more.
const SETTLE_MS = 2000;
const TICK_MS = 1000;

const root = document.getElementById('waiting');
const steps = [...document.querySelectorAll('#steps > li')];
const note = document.getElementById('reason');
const live = document.getElementById('live');
const elapsed = document.getElementById('elapsed');
const { desktop: id, status: served } = root.dataset;
const begun = performance.now();

let polls = 0;
let shownStep = steps.findIndex((step) => step.hasAttribute('aria-current'));
let clock;
let following;

function text(name) {
  return root.getAttribute(`data-text-${name}`) ?? '';
}

/** The step of a start that a status stands for; the last one is waiting for the picture. */
function stepOf(status, progress) {
  if (status === 'queued') return 0;
  return status === 'creating' && progress?.step !== 'starting' ? 1 : 2;
}

function detailOf(queue, progress) {
  if (queue) return fill(text('place'), { position: queue.position, seconds: queue.estimate_seconds });
  if (typeof progress?.percent === 'number') return fill(text('percent'), { percent: progress.percent });
  return '';
}

function showStep(current, detail) {
  steps.forEach((step, index) => {
    step.toggleAttribute('data-done', index < current);
    if (index === current) step.setAttribute('aria-current', 'step');
    else step.removeAttribute('aria-current');
    step.querySelector('[data-role="detail"]').textContent = index === current ? detail : '';
  });
  // Said once for each step: percents would be chatter.
  if (current !== shownStep) live.textContent = `${steps[current].children[1].textContent} ${detail}`.trim();
  shownStep = current;
}

function leave() {
  clearInterval(clock);
  following.stop();
}

function end(kind, reason) {
  leave();
  document.getElementById('ended-title').textContent = root.getAttribute(`data-title-${kind}`);
  document.getElementById('ended-reason').textContent = reason ?? '';
  document.getElementById('progress').hidden = true;
  document.getElementById('ended').hidden = false;
  root.dataset.status = kind;
}

/** Loads this address again, now for the desktop. Only a reload never takes the page from the browser's cache. */
function enter() {
  leave();
  location.reload();
}

/** What has ended is said by the server, which knows what to do about it and gives the button for that. */
function reloadEnded(status, reason) {
  if (served === status) end(status, reason);
  else enter();
}

function take({ container, queue, progress }) {
  const { status, status_reason: reason } = container;
  if (status === 'running' || status === 'paused') {
    if (root.dataset.status !== 'running' || performance.now() - begun >= SETTLE_MS) return enter();
    return showStep(steps.length - 1, '');
  }
  if (status === 'error' || status === 'stopped') return reloadEnded(status, reason);
  root.dataset.status = status;
  note.textContent = reason || (status === 'stopping' ? text('stopping') : '');
  return showStep(stepOf(status, progress), detailOf(queue, progress));
}

function heard(event) {
  if (event.container.id !== id) return;
  if (event.type === 'removed') end('gone');
  else if (event.type === 'container') take(event);
}

async function ask() {
  polls += 1;
  const answer = await look(`/api/container/status?id=${encodeURIComponent(id)}`);
  if (answer) take(answer);
  else end('gone');
}

function troubled(failures) {
  if (failures >= FAILURES_UNTIL_NOTICE) note.textContent = text('offline');
  else if (failures === 0 && note.textContent === text('offline')) note.textContent = '';
}

function tick() {
  elapsed.textContent = fill(text('seconds'), { n: Math.floor((performance.now() - begun) / 1000) });
}

if (!['error', 'stopped'].includes(served)) {
  tick();
  clock = setInterval(tick, TICK_MS);
  following = follow({ heard, ask, troubled, pace: () => (polls < FAST_POLLS ? FAST_MS : SLOW_MS) });
}
