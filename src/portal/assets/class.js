// Responsible for the page of a class where scripts run: starts at once, and asks before desktops are stopped.

import { ask, carryOut } from '/assets/ask.js';

document.addEventListener('submit', (event) => {
  const button = event.submitter;
  const form = event.target;
  if (!button || form.method === 'dialog') return;
  event.preventDefault();
  if (button.dataset.question) ask(form, button, { names: button.dataset.names ?? '' });
  else carryOut(form, button);
});
