// Responsible for what the portal's pages share: asking the gateway, and buttons that are at work.

const READ_TIMEOUT_MS = 15000;
const ACTION_TIMEOUT_MS = 60000;
const RETRY_MS = [300, 1000];

const token = document.querySelector('meta[name="csrf-token"]')?.content;

/** An answer that is not a success, with words for the person. */
export class Problem extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Asks the gateway; a lost session leads to the sign-in page. */
export async function ask(path, options = {}, timeout = READ_TIMEOUT_MS) {
  const response = await fetch(path, {
    credentials: 'same-origin',
    cache: 'no-store',
    signal: AbortSignal.timeout(timeout),
    ...options,
    headers: { Accept: 'application/json', ...options.headers },
  });
  if (response.status === 401) {
    location.replace('/');
    // The page is leaving: nobody shall act on an answer any more.
    return new Promise(() => {});
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(body.detail || body.title || String(response.status), response.status);
  return body;
}

/**
 * Asks again when the connection broke: every action may be repeated, and on the engine's own machine a browser
 * drops its connections whenever a container comes or goes.
 */
async function insist(action) {
  for (const pause of RETRY_MS) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
  return action();
}

/** Sends a change; `reload` is said where the page has no token for it. */
export function send(method, path, body, reload) {
  if (!token) return Promise.reject(new Problem(reload));
  const headers = { 'X-CSRF-Token': token };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  return insist(() => ask(path, { method, headers, body: body && JSON.stringify(body) }, ACTION_TIMEOUT_MS));
}

/** Marks a button as working. */
export function busy(button, label) {
  button.toggleAttribute('data-focused', document.activeElement === button);
  button.dataset.label ??= button.textContent;
  button.setAttribute('aria-busy', 'true');
  button.disabled = true;
  if (label) button.textContent = label;
}

/** Gives a button back its words, and the focus that it lost by being disabled. */
export function idle(button) {
  if (!button.hasAttribute('aria-busy')) return;
  button.removeAttribute('aria-busy');
  button.disabled = false;
  button.textContent = button.dataset.label;
  if (button.hasAttribute('data-focused') && document.activeElement === document.body) button.focus();
}

/** What to tell a person of an error. */
export function words(error, offline) {
  return error instanceof Problem ? error.message : offline;
}

/** Ends the session, here and at the provider. */
export async function leave(reload) {
  const { logout_url: target } = await send('POST', '/logout', {}, reload);
  location.assign(target || '/');
}

/** Gives the button at the top its work. */
export function offerSignOut() {
  const button = document.getElementById('sign-out');
  const box = document.getElementById('error');
  const text = (name) => button.getAttribute(`data-text-${name}`);
  button.addEventListener('click', async () => {
    busy(button);
    box.hidden = true;
    try {
      await leave(text('reload'));
    } catch (error) {
      idle(button);
      box.textContent = `${text('failed')} ${words(error, text('offline'))}`;
      box.hidden = false;
    }
  });
}
