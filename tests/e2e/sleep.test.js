// Responsible for idle desktops as people see them: a pause and a wake through a live session with the picture
// intact, and a stop that spares whoever types, warns whoever looks, and ends a tab that nobody comes back to.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { after, before } from 'node:test';

import { launch, Person, picture } from './support/browser.js';
import { fileIn, processes } from './support/engine.js';
import { artifacts, Gateway } from './support/gateway.js';
import { Client } from './support/http.js';
import { story } from './support/story.js';
import { until } from './support/wait.js';

const PAUSE_S = 8;
const STOP_S = 60;
const HOME = '/home/kasm-user';
const START_MS = 60_000;

let gateway;
let browser;
let student;
let teacher;
let desktop;
let id;
let container;

before(async () => {
  gateway = await Gateway.start('sleep', { DESKTOP_IDLE_PAUSE: `${PAUSE_S}s`, DESKTOP_IDLE_STOP: `${STOP_S}s` });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await gateway?.clear();
});

const step = story();

async function shot(page, name) {
  await page.screenshot({ path: path.join(await artifacts(), `${name}.png`), animations: 'disabled' });
}

/** Starts a desktop by clicking, and returns its page once there is a picture, its id and its container. */
async function startDesktop(person, account) {
  const page = await person.start(await person.signIn(account));
  await person.followToPicture(page, START_MS);
  const own = new URL(page.url()).pathname.match(/^\/desktop\/([0-9a-f-]{36})\/$/)[1];
  const all = await gateway.installation.containers();
  return { page, own, container: all.find((one) => one.desktop === own).id };
}

async function state(of) {
  return (await gateway.installation.containers()).find((one) => one.desktop === of)?.state;
}

async function row(person, of) {
  const client = Client.bearer(gateway.origin, await person.secret());
  return (await client.list()).find((one) => one.id === of);
}

/** A hash of every pixel. */
function pixels(page) {
  return page.evaluate(async () => {
    const canvas = document.querySelector('#noVNC_container canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const digest = await crypto.subtle.digest('SHA-256', data);
    return [...new Uint8Array(digest)].join();
  });
}

function asleep(of) {
  return until('the desktop is paused', async () => (await state(of)) === 'paused', { within: 45_000, every: 200 });
}

step('a desktop runs, with a terminal', async () => {
  student = await Person.arrive(browser, gateway.origin);
  ({ page: desktop, own: id, container } = await startDesktop(student, 'student'));
  await desktop.locator('#noVNC_container canvas').click({ position: { x: 640, y: 400 } });
  await desktop.keyboard.press('Control+Alt+t');
  await until('a shell runs', async () => (await processes(container)).includes('bash'), { within: 15_000 });
  await until(
    'the terminal takes a line',
    async () => {
      await desktop.keyboard.type('echo here > here.txt; PS1=; clear\n', { delay: 10 });
      return until('its effect is seen', () => fileIn(container, `${HOME}/here.txt`), { within: 3000 });
    },
    { within: 20_000 },
  );
});

step('it falls asleep while its tab stays open, and the picture stays', async () => {
  const socket = student.openSocket(desktop);
  assert.ok(socket);
  await asleep(id);
  assert.equal((await row(student, id)).status, 'paused');
  assert.equal(student.openSocket(desktop), socket, 'the stream is the same, and open');
  await shot(desktop, 'sleep-paused');
  assert.ok((await picture(desktop)).colours >= 24);
});

step('a key wakes it, and nothing that was typed is lost', async () => {
  const socket = student.openSocket(desktop);
  const before = await pixels(desktop);
  const token = randomBytes(8).toString('hex');
  const begun = performance.now();
  await desktop.keyboard.type(`echo ${token} > woken.txt\n`, { delay: 5 });
  const written = async () => (await fileIn(container, `${HOME}/woken.txt`)) === token;
  await until('what was typed into a sleeping desktop happens', written, { within: 20_000 });
  console.log(`# from the first key to the effect of the last: ${Math.round(performance.now() - begun)} ms`);
  await until('the picture moves on', async () => (await pixels(desktop)) !== before);
  assert.equal(student.openSocket(desktop), socket, 'no stream was opened again');
  assert.ok((await picture(desktop)).colours >= 24);
  await shot(desktop, 'sleep-woken');
});

step('a request waits for the wake, and hardly notices', async () => {
  await asleep(id);
  const client = Client.bearer(gateway.origin, await student.secret());
  await client.get('/session');
  const begun = performance.now();
  const answer = await client.get(`/desktop/${id}/package.json`);
  const took = performance.now() - begun;
  console.log(`# a request to a paused desktop, its wake included: ${Math.round(took)} ms`);
  assert.equal(answer.status, 200);
  assert.ok(took < 5000);
  const slow = await client.get(`/desktop/${id}/package.json`);
  assert.equal(slow.status, 200);
});

step('whoever types is spared; whoever looks is warned; a tab that is left is ended', async () => {
  // The student goes on typing all the while.
  let typing = true;
  const typist = (async () => {
    while (typing) {
      await desktop.keyboard.press('a');
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  })();
  try {
    teacher = await Person.arrive(browser, gateway.origin, { locale: 'de-DE' });
    const left = await startDesktop(teacher, 'teacher');
    const portal = await teacher.page();
    await portal.goto(`${gateway.origin}/`);
    const warning = portal.getByTestId('warning');
    await until('the card warns', () => warning.isVisible(), { within: (STOP_S + 20) * 1000 });
    assert.match(await warning.innerText(), /Niemand benutzt diesen Desktop/);
    await shot(portal, 'sleep-warning');
    await portal.getByTestId('stay').click();
    await until('the warning is called off', async () => !(await warning.isVisible()));

    const begun = performance.now();
    await until('the tab that was left is ended', async () => (await row(teacher, left.own)).status === 'stopped', {
      within: (STOP_S + 30) * 1000,
      every: 500,
    });
    assert.ok(performance.now() - begun > (STOP_S - 15) * 1000, 'the wish to stay was heard');
    const ended = await row(teacher, left.own);
    assert.equal(ended.status_reason_code, 'idle');
    await until('the card says why', () => portal.getByText('niemand benutzt').isVisible());
    await shot(portal, 'sleep-ended');

    assert.equal((await row(student, id)).status, 'running');
    assert.equal(await state(id), 'running');
    assert.deepEqual(teacher.portalProblems(), []);
  } finally {
    typing = false;
    await typist;
  }
  await shot(desktop, 'sleep-typist');
});
