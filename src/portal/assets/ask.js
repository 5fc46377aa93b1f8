// Responsible for forms that change desktops or sessions: asks before something is lost, sends the form in the
// background and shows what came of it in place. Without scripts the forms go their own way, and the gateway asks.

import { busy, idle } from '/assets/gateway.js';
import { now } from '/assets/refresh.js';

// On the engine's own machine a browser drops its connections whenever a container comes or goes, and every one of
// these forms may be sent again.
const RETRY_MS = [300, 1000];
const TIMEOUT_MS = 120000;

const question = document.getElementById('ask');
const errorBox = document.getElementById('error');

async function post(form, body) {
  for (const pause of [...RETRY_MS, 0]) {
    try {
      return await fetch(form.action, {
        method: 'POST',
        body,
        credentials: 'same-origin',
        headers: { Accept: 'text/html' },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch (error) {
      if (!pause || !(error instanceof TypeError)) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

/** What a page that answers a form says went wrong; nothing if it only leads back. */
async function faults(response) {
  if (response.ok && response.redirected) return '';
  const page = new DOMParser().parseFromString(await response.text(), 'text/html');
  const told = [...page.querySelectorAll('[data-testid="failure"]')].map((one) => one.textContent);
  return told.join(' ') || (page.querySelector('h1')?.textContent ?? String(response.status));
}

/** Sends a form as its button says, and shows what came of it. */
export async function carryOut(form, button) {
  const body = new URLSearchParams(new FormData(form));
  if (button.dataset.question) body.set('confirmed', 'yes');
  if (button.name) body.set(button.name, button.value);
  errorBox.hidden = true;
  busy(button);
  try {
    const response = await post(form, body);
    if (response.status === 401) return location.reload();
    errorBox.textContent = await faults(response);
  } catch {
    errorBox.textContent = errorBox.getAttribute('data-text-offline');
  }
  errorBox.dataset.kind = 'act';
  errorBox.hidden = errorBox.textContent === '';
  idle(button);
  for (const box of form.querySelectorAll('input[type="checkbox"]')) box.checked = false;
  now();
}

/** Asks what the button of a form says, about what has these names, and sends the form after a yes. */
export function ask(form, button, { title = button.dataset.question, names = '', nothing = false } = {}) {
  const part = (selector) => question.querySelector(selector);
  const yes = part('[value="yes"]');
  part('#ask-title').textContent = nothing ? question.getAttribute('data-text-nothing') : title;
  part('#ask-text').textContent = nothing ? '' : button.dataset.about;
  part('#ask-names').textContent = names;
  yes.textContent = button.firstChild.textContent;
  yes.hidden = nothing;
  question.returnValue = 'no';
  question.showModal();
  const answered = () => {
    if (question.returnValue === 'yes') carryOut(form, button);
  };
  question.addEventListener('close', answered, { once: true });
}
