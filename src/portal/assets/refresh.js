// Responsible for pages that show how things are: asks for the page itself again now and then, and puts what is new in
// its place. Nothing here counts as use of the session: a page that is open is no sign of a person.

import { offerSignOut } from '/assets/gateway.js';

const TIMEOUT_MS = 15000;
const RETRY_MS = [2000, 5000, 15000, 30000];
const FAILURES_UNTIL_NOTICE = 2;

const page = document.querySelector('[data-refresh]');
const errorBox = document.getElementById('error');
const period = Number(page.dataset.refresh) * 1000;
const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: 'medium', timeStyle: 'short' });
// What the gateway last said of each part, since times are written anew here.
const told = new Map();
let failures = 0;
let timer;

/** Writes times as people here do. */
export function localize(part) {
  for (const time of part.querySelectorAll('time[datetime]')) time.textContent = format.format(new Date(time.dateTime));
}

/** What tells an element from the others of its part, if anything does. */
function mark(element) {
  const name = ['id', 'name', 'href', 'data-testid'].find((one) => element.getAttribute(one));
  if (!name) return null;
  const value = element.value ? `[value="${CSS.escape(element.value)}"]` : '';
  return `${element.localName}[${name}="${CSS.escape(element.getAttribute(name))}"]${name === 'name' ? value : ''}`;
}

/** Puts a new part in the place of the old one, and leaves people where they were. */
function replace(old, fresh) {
  if (told.get(old.dataset.live) === fresh.innerHTML) return;
  told.set(old.dataset.live, fresh.innerHTML);
  const focused = old.contains(document.activeElement) ? mark(document.activeElement) : null;
  const ticked = new Set([...old.querySelectorAll('input:checked')].map((box) => box.value));
  old.replaceChildren(...fresh.childNodes);
  localize(old);
  for (const box of old.querySelectorAll('input[type="checkbox"]')) box.checked = ticked.has(box.value);
  if (focused) old.querySelector(focused)?.focus({ preventScroll: true });
  old.dispatchEvent(new CustomEvent('refreshed', { bubbles: true }));
}

async function load() {
  const response = await fetch(location.href, {
    credentials: 'same-origin',
    cache: 'no-store',
    signal: AbortSignal.timeout(TIMEOUT_MS),
    headers: { Accept: 'text/html', 'X-Background': '1' },
  });
  // Who is signed out, or no longer may see this, is told so by the page itself.
  if (response.status === 401 || response.status === 403) return location.reload();
  if (!response.ok) throw new Error(String(response.status));
  const fresh = new DOMParser().parseFromString(await response.text(), 'text/html');
  for (const part of document.querySelectorAll('[data-live]')) {
    const other = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (other) replace(part, other);
  }
}

/** Asks at once. */
export const now = () => refresh();

async function refresh() {
  clearTimeout(timer);
  if (document.hidden) return;
  // A question is answered about what is seen.
  if (!document.querySelector('dialog[open]')) {
    try {
      await load();
      failures = 0;
      if (errorBox.dataset.kind === 'poll') errorBox.hidden = true;
    } catch {
      failures += 1;
    }
  }
  if (failures >= FAILURES_UNTIL_NOTICE && errorBox.hidden) {
    errorBox.textContent = errorBox.getAttribute('data-text-offline');
    errorBox.dataset.kind = 'poll';
    errorBox.hidden = false;
  }
  plan();
}

function plan() {
  clearTimeout(timer);
  timer = setTimeout(refresh, failures ? RETRY_MS[Math.min(failures, RETRY_MS.length) - 1] : period);
}

for (const part of document.querySelectorAll('[data-live]')) told.set(part.dataset.live, part.innerHTML);
localize(document);
document.addEventListener('visibilitychange', refresh);
window.addEventListener('online', refresh);
offerSignOut();
plan();
