// Responsible for the tables of admins where scripts run: they follow what is typed, and ask before something is done
// to the rows that are ticked.

import { ask } from '/assets/ask.js';
import { now } from '/assets/refresh.js';

const TYPING_MS = 250;
const MOST_NAMES = 12;

const filters = document.querySelector('[data-testid="filters"]');
const list = document.getElementById('list');
const tickAll = document.getElementById('tick-all');
let typing;

const boxes = () => [...list.querySelectorAll('input[name="id"]')];

/** Shows what the filters say, under its own address. */
function search() {
  clearTimeout(typing);
  const said = [...new FormData(filters)].filter(([, value]) => value);
  history.replaceState(null, '', `${filters.getAttribute('action')}?${new URLSearchParams(said)}`);
  now();
}

filters?.addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(search, TYPING_MS);
});
filters?.addEventListener('submit', (event) => {
  event.preventDefault();
  search();
});

if (tickAll) {
  tickAll.hidden = false;
  tickAll.addEventListener('click', () => {
    const all = boxes().every((box) => box.checked);
    for (const box of boxes()) box.checked = !all;
  });
}

// Rows come and go while the page is open.
list.addEventListener('refreshed', () => {
  const acts = document.getElementById('acts');
  if (acts) acts.hidden = boxes().length === 0;
});

list.addEventListener('submit', (event) => {
  const button = event.submitter;
  if (!button?.dataset.question) return;
  event.preventDefault();
  const names = boxes().filter((box) => box.checked).map((box) => box.dataset.name);
  const rest = names.length - MOST_NAMES;
  ask(list, button, {
    title: button.dataset.question.replace('{count}', names.length),
    names: names.slice(0, MOST_NAMES).join(', ') + (rest > 0 ? ` … (+${rest})` : ''),
    nothing: names.length === 0,
  });
});
