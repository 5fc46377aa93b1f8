// Responsible for the pictures on the page of a class: fetched while somebody wants them and the page is seen, and put
// back where the page was made anew. Nothing here counts as use of the session.

const PERIOD_MS = 5000;
const TIMEOUT_MS = 20000;
// More at a time would only wait at the gateway.
const PARALLEL = 4;

const button = document.getElementById('pictures');
const clock = new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: 'medium' });
// What each place shows: a picture and its words, or words alone.
const shown = new Map();
let on = false;
let working = false;
let timer;

const text = (name, values = {}) =>
  button.getAttribute(`data-text-${name}`).replace(/\{(\w+)\}/g, (place, key) => values[key] ?? place);

/** Shows in a place what is known of it. */
function show(place) {
  place.hidden = !on;
  const { source, words } = shown.get(place.dataset.picture) ?? { words: text('first') };
  if (!source) {
    if (place.textContent !== words || place.firstElementChild?.localName !== 'p') {
      const line = document.createElement('p');
      line.className = 'small';
      line.textContent = words;
      place.replaceChildren(line);
    }
    return;
  }
  let image = place.querySelector('img');
  if (!image) {
    image = document.createElement('img');
    image.decoding = 'sync';
    place.replaceChildren(image);
  }
  image.src = source;
  image.alt = words;
}

const places = () => [...document.querySelectorAll('[data-picture]')];

/** An address that holds the picture itself: the page may load no other. */
function contained(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

async function take(id, name) {
  const response = await fetch(`/api/teacher/containers/${encodeURIComponent(id)}/picture`, {
    credentials: 'same-origin',
    cache: 'no-store',
    signal: AbortSignal.timeout(TIMEOUT_MS),
    headers: { Accept: 'image/*, application/json', 'X-Background': '1' },
  });
  // Who is signed out is told so by the page itself.
  if (response.status === 401) return location.reload();
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    return shown.set(id, { words: problem.detail || text('none') });
  }
  const source = await contained(await response.blob());
  shown.set(id, { source, words: text('alt', { name, time: clock.format(new Date()) }) });
}

/** Takes one after the other off the list. */
async function worker(waiting) {
  for (let place = waiting.shift(); place; place = waiting.shift()) {
    if (!on || document.hidden) return;
    const { picture: id, name } = place.dataset;
    try {
      await take(id, name);
    } catch {
      shown.set(id, { words: text('none') });
    }
    // The page may have made the place anew meanwhile.
    const now = document.querySelector(`[data-picture="${CSS.escape(id)}"]`);
    if (now) show(now);
  }
}

async function round() {
  clearTimeout(timer);
  if (!on || working || document.hidden) return;
  working = true;
  const waiting = places();
  const ids = new Set(waiting.map((place) => place.dataset.picture));
  for (const id of shown.keys()) if (!ids.has(id)) shown.delete(id);
  await Promise.all(Array.from({ length: PARALLEL }, () => worker(waiting)));
  working = false;
  timer = setTimeout(round, PERIOD_MS);
}

function showAll() {
  for (const place of places()) show(place);
}

button.addEventListener('click', () => {
  on = !on;
  button.setAttribute('aria-pressed', String(on));
  if (!on) shown.clear();
  showAll();
  round();
});
document.addEventListener('refreshed', showAll);
document.addEventListener('visibilitychange', round);
document.getElementById('pictures-switch').hidden = false;
