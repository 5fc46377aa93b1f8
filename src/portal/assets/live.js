// Responsible for how pages learn what happens to desktops: the gateway's events, and asking where those are blocked.
// Nothing here counts as use of the session: a page that is open is no sign of a person.

const BACKGROUND = { 'X-Background': '1' };
const TIMEOUT_MS = 15000;
const RETRY_MS = [1000, 2000, 5000, 15000, 30000];
// Events can be lost without a word, as when a tablet sleeps; so one asks now and then all the same.
const CALM_MS = 30000;
// The events of a session that is over are closed with this code.
const ENDED = 1008;

/** A time as the pages write it; `texts.rs` has the same rules. */
export function span(milliseconds, lang = document.documentElement.lang) {
  const minutes = Math.max(1, Math.floor(milliseconds / 60000));
  const hours = Math.floor(minutes / 60);
  if (hours === 0) return `${minutes} min`;
  if (hours >= 48) return `${Math.floor(hours / 24)} ${lang === 'de' ? 'Tagen' : 'days'}`;
  return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
}

/** Puts values into the places of a sentence. */
export function fill(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
}

/** Asks the gateway how things are; `null` if there is nothing. A lost session leads to the sign-in page. */
export async function look(path) {
  const response = await fetch(path, {
    credentials: 'same-origin',
    cache: 'no-store',
    signal: AbortSignal.timeout(TIMEOUT_MS),
    headers: { Accept: 'application/json', ...BACKGROUND },
  });
  if (response.status === 401) {
    location.replace('/');
    // The page is leaving: nobody shall act on an answer any more.
    return new Promise(() => {});
  }
  if (response.status === 404) return null;
  if (!response.ok) throw new Error(String(response.status));
  return response.json();
}

/**
 * Follows one's desktops. `heard` takes each event; `ask` asks how everything is and may throw; it is called every
 * `pace()` milliseconds while no events come, and seldom while they do. `troubled` is told whether neither works.
 */
export function follow({ heard, ask, pace, troubled }) {
  let socket;
  let timer;
  let tries = 0;
  let failures = 0;
  let asking = false;
  let over = false;

  const open = () => socket?.readyState === WebSocket.OPEN;

  async function poll() {
    clearTimeout(timer);
    if (over || asking || document.hidden) return;
    asking = true;
    try {
      await ask();
      failures = 0;
    } catch {
      failures += 1;
    }
    asking = false;
    troubled(failures);
    plan();
  }

  function plan() {
    clearTimeout(timer);
    if (over || document.hidden) return;
    const wait = open() ? CALM_MS : failures ? RETRY_MS[Math.min(failures, RETRY_MS.length) - 1] : pace();
    timer = setTimeout(poll, wait);
  }

  function connect() {
    if (over || document.hidden || socket) return;
    const address = new URL('/api/container/events', location.href);
    address.protocol = address.protocol.replace('http', 'ws');
    socket = new WebSocket(address);
    socket.onopen = () => {
      tries = 0;
      plan();
    };
    socket.onmessage = ({ data }) => {
      failures = 0;
      troubled(0);
      heard(JSON.parse(data));
    };
    socket.onclose = ({ code }) => {
      socket = undefined;
      if (code === ENDED) {
        poll();
        return;
      }
      // All tabs of a class lose the gateway at the same moment and must not come back at the same moment.
      const wait = RETRY_MS[Math.min(tries, RETRY_MS.length - 1)] * (0.5 + Math.random());
      tries += 1;
      setTimeout(connect, wait);
      plan();
    };
  }

  function wake() {
    if (document.hidden) return;
    tries = 0;
    connect();
    poll();
  }

  document.addEventListener('visibilitychange', wake);
  window.addEventListener('online', wake);
  connect();
  plan();
  return {
    now: poll,
    stop() {
      over = true;
      clearTimeout(timer);
      socket?.close();
    },
  };
}
