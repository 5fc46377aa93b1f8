// Responsible for the waiting page: follows a desktop's start, and gives way to the desktop as soon as it can be shown.

const FAST_MS = 500;
const FAST_POLLS = 20;
const SLOW_MS = 1000;
const BUSY_MS = 5000;
const TIMEOUT_MS = 10000;
const SLOW_START_MS = 45000;
const FAILURES_UNTIL_NOTICE = 3;
// The page was served although the desktop counts as running: its picture needs a moment more.
const SETTLE_MS = 2000;

const root = document.getElementById('waiting');
const steps = [...document.querySelectorAll('#steps > li')];
const reason = document.getElementById('reason');
const live = document.getElementById('live');
const elapsed = document.getElementById('elapsed');
const slow = document.getElementById('slow');
const address = `/api/container/status?id=${encodeURIComponent(root.dataset.desktop)}`;
const begun = performance.now();

let polls = 0;
let failures = 0;
let shownStep = -1;
let timer;
let clock;

/** The step of a start that a status stands for; the last one is waiting for the picture. */
function stepOf(status, engineStatus) {
  if (status === 'queued') return 0;
  if (status === 'creating' && engineStatus !== 'running') return engineStatus === 'created' ? 2 : 1;
  return 3;
}

function showStep(current) {
  if (current === shownStep) return;
  shownStep = current;
  steps.forEach((step, index) => {
    step.toggleAttribute('data-done', index < current);
    if (index === current) step.setAttribute('aria-current', 'step');
    else step.removeAttribute('aria-current');
  });
  live.textContent = steps[current]?.textContent ?? '';
}

function end(kind, words) {
  clearTimeout(timer);
  clearInterval(clock);
  document.getElementById('ended-title').textContent = root.getAttribute(`data-title-${kind}`);
  document.getElementById('ended-reason').textContent = words ?? '';
  document.getElementById('progress').hidden = true;
  document.getElementById('ended').hidden = false;
  root.dataset.status = kind;
}

/** Loads this address again, now for the desktop. Only a reload never takes the page from the browser's cache. */
function enter() {
  clearInterval(clock);
  steps.forEach((step) => step.setAttribute('data-done', ''));
  location.reload();
}

/** Takes in an answer; returns the pause until the next question, or nothing when there is none. */
function take(status, words, engineStatus) {
  if (status === 'running') {
    if (root.dataset.status !== 'running' || performance.now() - begun >= SETTLE_MS) return enter();
    showStep(3);
    return FAST_MS;
  }
  if (status === 'error' || status === 'stopped') return end(status, words);
  root.dataset.status = status;
  reason.textContent = words || (status === 'stopping' ? root.dataset.textStopping : '');
  showStep(stepOf(status, engineStatus));
  return polls < FAST_POLLS ? FAST_MS : SLOW_MS;
}

async function ask() {
  const response = await fetch(address, {
    credentials: 'same-origin',
    cache: 'no-store',
    headers: { Accept: 'application/json' },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (response.status === 401) return location.replace('/');
  if (response.status === 404) return end('gone');
  if (response.status === 429) return BUSY_MS;
  if (!response.ok) throw new Error(String(response.status));
  const { container, engine_status: engineStatus } = await response.json();
  return take(container.status, container.status_reason, engineStatus);
}

async function poll() {
  polls += 1;
  let pause;
  try {
    pause = await ask();
    failures = 0;
  } catch {
    failures += 1;
    if (failures >= FAILURES_UNTIL_NOTICE) reason.textContent = root.dataset.textOffline;
    pause = SLOW_MS;
  }
  if (pause) timer = setTimeout(poll, pause);
}

function tick() {
  const milliseconds = performance.now() - begun;
  elapsed.textContent = `${Math.floor(milliseconds / 1000)} ${root.dataset.textSeconds}`;
  slow.hidden = milliseconds < SLOW_START_MS;
}

if (!['error', 'stopped'].includes(root.dataset.status)) {
  tick();
  clock = setInterval(tick, 1000);
  timer = setTimeout(poll, FAST_MS);
}
