// Responsible for the account page: ends sessions of the person who is signed in.

import { busy, idle, leave, offerSignOut, send, words } from '/assets/gateway.js';

const page = document.getElementById('account');
const errorBox = document.getElementById('error');
const live = document.getElementById('live');
const everywhere = document.getElementById('everywhere');
const signOut = document.getElementById('sign-out');

function text(name) {
  return page.getAttribute(`data-text-${name}`) ?? '';
}

function showError(lead, error) {
  errorBox.textContent = `${lead} ${words(error, text('offline'))}`.trim();
  errorBox.hidden = false;
  errorBox.scrollIntoView({ block: 'nearest' });
}

/** Runs what a button stands for, and gives the button back if it did not work. */
async function act(button, failure, action) {
  busy(button);
  errorBox.hidden = true;
  try {
    await action();
  } catch (error) {
    idle(button);
    showError(text(failure), error);
  }
}

function others() {
  return document.querySelectorAll('[data-session]:not([data-current])');
}

function gone(row) {
  live.textContent = `${row.querySelector('h3').textContent} ${text('ended')}`;
  const next = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  everywhere.hidden = others().length === 0;
  // A keyboard user must not lose their place because the button went away.
  (next?.querySelector('button') ?? signOut).focus();
}

document.getElementById('devices').addEventListener('click', (event) => {
  const button = event.target.closest('button[data-action="end"]');
  if (!button) return;
  const row = button.closest('[data-session]');
  act(button, 'end-failed', async () => {
    try {
      await send('DELETE', `/api/sessions/${encodeURIComponent(row.dataset.session)}`, undefined, text('reload'));
    } catch (error) {
      // It was over already, which is what was asked for.
      if (error.status !== 404) throw error;
    }
    gone(row);
  });
});

everywhere.addEventListener('click', () => {
  act(everywhere, 'end-failed', async () => {
    await send('DELETE', '/api/sessions?keep=current', undefined, text('reload'));
    // This one last, so that the provider hears of it too.
    await leave(text('reload'));
  });
});

offerSignOut();

const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: 'medium', timeStyle: 'short' });
for (const time of document.querySelectorAll('time[datetime]')) {
  time.textContent = format.format(new Date(time.dateTime));
}

// A page that comes back from the browser's memory shows what was true when it was left.
window.addEventListener('pageshow', (event) => {
  if (event.persisted) location.reload();
});
