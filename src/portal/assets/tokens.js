// Responsible for the API tokens on the account page: makes, shows and revokes them.

import { Problem, busy, idle, send } from '/assets/gateway.js';

const page = document.getElementById('account');
const section = document.getElementById('tokens-section');
const form = document.getElementById('create-token');
const list = document.getElementById('tokens');
const secret = document.getElementById('secret');
const secretText = document.getElementById('secret-text');
const copy = document.getElementById('copy');
const errorBox = document.getElementById('error');
const live = document.getElementById('live');
const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: 'medium', timeStyle: 'short' });

function text(name) {
  return section.getAttribute(`data-text-${name}`) ?? '';
}

function change(method, path, body) {
  return send(method, path, body, page.getAttribute('data-text-reload'));
}

/** Runs what a button stands for. */
async function act(button, action) {
  busy(button);
  errorBox.hidden = true;
  try {
    await action();
  } catch (error) {
    const detail = error instanceof Problem ? error.message : page.getAttribute('data-text-offline');
    errorBox.textContent = `${text('failed')} ${detail}`;
    errorBox.hidden = false;
    errorBox.scrollIntoView({ block: 'nearest' });
  }
  idle(button);
}

function showTime(element, value) {
  element.textContent = value ? format.format(new Date(value)) : text('never');
  if (value) element.dateTime = value;
}

function scopeLabel(scope) {
  const box = form.querySelector(`input[name="scope"][value="${CSS.escape(scope)}"]`);
  return box?.parentElement.textContent.trim() ?? scope;
}

function addRow(token) {
  const row = document.getElementById('token-row').content.firstElementChild.cloneNode(true);
  const part = (name) => row.querySelector(`[data-part="${name}"]`);
  row.dataset.token = token.id;
  part('name').textContent = token.name;
  part('scopes').textContent = token.scopes.map(scopeLabel).join(' · ');
  showTime(part('expires_at'), token.expires_at);
  showTime(part('last_used'), token.last_used);
  list.prepend(row);
  list.hidden = false;
}

function showSecret(value, id = '') {
  secretText.textContent = value;
  secret.dataset.of = id;
  secret.hidden = value === '';
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  const data = new FormData(form);
  const wish = { name: data.get('name'), scopes: data.getAll('scope') };
  if (data.get('expires_in')) wish.expires_in = data.get('expires_in');
  act(form.querySelector('button'), async () => {
    const made = await change('POST', '/api/tokens', wish);
    addRow(made);
    showSecret(made.token, made.id);
    form.reset();
    secretText.focus();
  });
});

copy.addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(secretText.textContent);
    live.textContent = text('copied');
    copy.dataset.words ??= copy.textContent;
    copy.textContent = text('copied');
    setTimeout(() => { copy.textContent = copy.dataset.words; }, 2000);
  } catch {
    // Without the right to the clipboard the person copies by hand.
    getSelection().selectAllChildren(secretText);
  }
});

list.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-action="revoke"]');
  if (!button || !confirm(text('confirm'))) return;
  const row = button.closest('[data-token]');
  act(button, async () => {
    try {
      await change('DELETE', `/api/tokens/${encodeURIComponent(row.dataset.token)}`);
    } catch (error) {
      // It was gone already, which is what was asked for.
      if (error.status !== 404) throw error;
    }
    live.textContent = `${row.querySelector('h3').textContent} ${text('revoked')}`;
    if (secret.dataset.of === row.dataset.token) showSecret('');
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    list.hidden = list.children.length === 0;
    // A keyboard user must not lose their place because the button went away.
    (next?.querySelector('button') ?? form.elements.name).focus();
  });
});

// A page that comes back from the browser's memory must not show a secret again.
window.addEventListener('pagehide', () => showSecret(''));
