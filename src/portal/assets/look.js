// Responsible for the page on which a teacher looks at a desktop: begins and ends the look, and draws what comes. Nothing is
// sent: there is no key and no pointer here that a desktop could get.

import { ask, Problem } from '/assets/gateway.js';

const root = document.getElementById('look');
const part = (id) => document.getElementById(id);
const [begin, end, state, screen, errorBox] = ['begin', 'end', 'state', 'screen', 'error'].map(part);
const path = `/api/teacher/containers/${encodeURIComponent(root.dataset.desktop)}/look`;

let socket;
let drawing = false;
let next;

const text = (name) => root.getAttribute(`data-text-${name}`);

/** Draws the newest picture; those that came while one was drawn are left out. */
async function draw() {
  if (drawing || !next) return;
  drawing = true;
  const blob = next;
  next = undefined;
  try {
    const picture = await createImageBitmap(blob);
    if (screen.width !== picture.width || screen.height !== picture.height) {
      screen.width = picture.width;
      screen.height = picture.height;
    }
    screen.getContext('2d').drawImage(picture, 0, 0);
    picture.close();
    screen.hidden = !socket;
    screen.dataset.drawn = String(Number(screen.dataset.drawn ?? 0) + 1);
  } catch {
    // What is no picture is not drawn.
  }
  drawing = false;
  draw();
}

function finish(words) {
  socket = undefined;
  next = undefined;
  // What was seen does not stay on the screen.
  screen.hidden = true;
  screen.getContext('2d').clearRect(0, 0, screen.width, screen.height);
  const focused = document.activeElement === end;
  end.hidden = true;
  begin.hidden = false;
  if (focused) begin.focus();
  state.textContent = words;
}

function refuse(words) {
  finish('');
  errorBox.textContent = words;
  errorBox.hidden = false;
}

/** A handshake that was refused says nothing to scripts: the same address does. */
async function explain() {
  try {
    await ask(path);
  } catch (error) {
    if (error instanceof Problem && error.status !== 400) return refuse(error.message);
  }
  return finish(text('lost'));
}

function open() {
  errorBox.hidden = true;
  begin.hidden = true;
  end.hidden = false;
  end.focus();
  state.textContent = text('connecting');
  const address = new URL(path, location.href);
  address.protocol = address.protocol.replace('http', 'ws');
  const own = new WebSocket(address);
  own.binaryType = 'blob';
  socket = own;
  let heard = false;
  own.onmessage = ({ data }) => {
    if (socket !== own) return;
    heard = true;
    if (typeof data !== 'string') {
      next = data;
      draw();
      return;
    }
    const said = JSON.parse(data);
    if (said.state === 'begun') state.textContent = text('begun');
    else if (said.state === 'refused') refuse(said.detail);
    else finish(text(said.reason) ?? text('lost'));
  };
  own.onclose = () => {
    if (socket !== own) return;
    if (heard) finish(text('lost'));
    else explain();
  };
}

function leave(words) {
  const own = socket;
  if (!own) return;
  finish(words);
  own.close();
}

begin.addEventListener('click', open);
end.addEventListener('click', () => leave(text('left')));
// Whoever goes away from the page does not look any more.
window.addEventListener('pagehide', () => leave(''));
