// Responsible for a teacher's look at a pupil's desktop, with the real demo desktop: it shows that somebody looks before
// anything is seen and until the end, the picture follows what the pupil does, and nothing that a teacher does arrives.

import assert from 'node:assert/strict';
import { copyFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import path from 'node:path';

import { launch, Person } from './support/browser.js';
import { docker } from './support/engine.js';
import { artifacts, Gateway } from './support/gateway.js';
import { Client } from './support/http.js';
import { looks, speak } from './support/looks.js';
import { story } from './support/story.js';
import { until } from './support/wait.js';

const IMAGE = process.env.DESKGATE_E2E_DEMO_IMAGE ?? 'deskgate/demo-desktop:latest';
const SOON_MS = 15_000;
const TEMPLATES = `
[[template]]
id = "desktop"
image = "${IMAGE}"
pull = "never"
screenshot = "none"
notice = ["show-notice", "{state}", "{text}"]
title = { de = "Linux-Desktop", en = "Linux desktop" }
`;

let gateway;
let browser;
let student;
let teacher;
let page;
let container;

async function arrive(account) {
  const person = await Person.arrive(browser, gateway.origin, { locale: 'de-DE' });
  person.first = await person.signIn(account);
  return person;
}

before(async () => {
  const settings = { TEACHER_GROUPS: 'klasse.*', TEACHER_LOOK: 'view' };
  gateway = await Gateway.start('look', settings, { 'deskgate.toml': TEMPLATES });
  browser = await launch();
  student = await arrive('student');
  teacher = await arrive('teacher');
  const client = Client.bearer(gateway.origin, await student.secret());
  const started = await client.post('/api/container/start', {}, { Prefer: 'wait=30' });
  ({ container } = started.json());
});

after(async () => {
  await browser?.close();
  await gateway?.clear();
});

const step = story();

/** Runs something in the desktop, as its user would. */
const inside = (...command) => docker('exec', '-e', 'DISPLAY=:1', container.container_name, ...command);

/** The arguments of the programs that show a notice there. */
async function notices() {
  const all = await inside('ps', '-eo', 'args');
  return all.split('\n').filter((line) => line.includes('show-notice show'));
}

/** Whether the teacher's picture has the notice in it: a good part of its upper edge is yellow. */
function hasNotice() {
  return page.getByTestId('screen').evaluate((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(canvas.width / 4, 0, canvas.width / 2, 48);
    let yellow = 0;
    for (let at = 0; at < data.length; at += 4) if (data[at] > 220 && data[at + 1] > 180 && data[at + 2] < 120) yellow += 1;
    return yellow > data.length / 4 / 3;
  });
}

const drawn = async () => Number(await page.getByTestId('screen').getAttribute('data-drawn'));
const state = () => page.getByTestId('look-state').innerText();

describe('a look at a desktop', () => {
  step('the class leads to a page that shows nothing by itself', async () => {
    page = teacher.first;
    await page.goto(`${gateway.origin}/class?name=klasse.8a`);
    await page.locator('a[data-testid=look]').click();
    await page.waitForURL(/\/class\/look\?/);
    await looks(teacher, page, 'look');
    await speak(teacher, 'de');
    await page.reload();
    assert.match(await page.locator('h1').innerText(), /Mia Schneider/);
    assert.deepEqual(await notices(), []);
    assert.equal(await page.getByTestId('screen').isVisible(), false);
  });

  step('the desktop says so, and then it is seen', async () => {
    await page.getByTestId('begin').press('Enter');
    await page.getByTestId('screen').waitFor({ timeout: SOON_MS });
    assert.match(await state(), /Du siehst zu/);
    const [shown, ...more] = await notices();
    assert.match(shown, /Dein Desktop wird gerade von Jonas Weber angesehen/);
    assert.deepEqual(more, []);
    await until('the notice is in the picture', hasNotice, { within: SOON_MS });
    const file = path.join(await artifacts(), 'look-begun.png');
    await page.screenshot({ path: file });
    if (process.env.DESKGATE_KEEP_SCREENSHOTS === '1') {
      await copyFile(file, new URL('../../docs/screenshots/look.png', import.meta.url).pathname);
    }
    const own = student.first;
    await own.getByTestId('watched').waitFor({ timeout: SOON_MS });
    assert.match(await own.getByTestId('watched').innerText(), /Jonas Weber/);
    await own.screenshot({ path: path.join(await artifacts(), 'look-told.png') });
  });

  step('the picture follows the pupil, and the notice stays above what fills the screen', async () => {
    const before = await drawn();
    await docker('exec', '-d', '-e', 'DISPLAY=:1', container.container_name, 'xfce4-terminal', '--fullscreen');
    await until('the picture has changed', async () => (await drawn()) > before, { within: SOON_MS });
    // Not in the middle, where the pointer is.
    const below = () => page.getByTestId('screen').evaluate((canvas) => {
      const { data } = canvas.getContext('2d').getImageData(canvas.width * 0.75, canvas.height * 0.75, 1, 1);
      return data[0] + data[1] + data[2];
    });
    await until('the terminal fills the screen', async () => (await below()) < 20, { within: SOON_MS });
    await until('the notice is above it', hasNotice, { within: SOON_MS });
    await page.screenshot({ path: path.join(await artifacts(), 'look-full-screen.png') });
  });

  step('nothing that the teacher does arrives', async () => {
    const screen = page.getByTestId('screen');
    await screen.click();
    await page.keyboard.type('touch /tmp/typed-by-a-teacher\n');
    const sent = await page.evaluate((id) => new Promise((resolve) => {
      const socket = new WebSocket(`wss://${location.host}/api/teacher/containers/${id}/look`);
      socket.onopen = () => socket.send(new Uint8Array([4, 1, 0, 0, 0, 0, 0, 0x61]));
      socket.onmessage = ({ data }) => resolve(data);
    }), container.id);
    assert.equal(JSON.parse(sent).reason, 'look_taken');
    await assert.rejects(inside('test', '-e', '/tmp/typed-by-a-teacher'));
    assert.match(await state(), /Du siehst zu/, 'the first one goes on');
  });

  step('the end takes the notice away, and the log has it all', async () => {
    await page.getByTestId('end').click();
    assert.equal(await state(), 'Beendet.');
    assert.equal(await page.getByTestId('screen').isVisible(), false);
    await until('the notice is gone', async () => (await notices()).length === 0, { within: SOON_MS });
    await student.first.getByTestId('watched').waitFor({ state: 'hidden', timeout: SOON_MS });
    const admin = await arrive('admin');
    await admin.first.goto(`${gateway.origin}/admin/audit`);
    const log = await admin.first.getByTestId('row').allInnerTexts();
    assert.equal(log.filter((row) => row.includes('Desktop angesehen')).length, 1, log.join('\n'));
    assert.equal(log.filter((row) => row.includes('Ansehen beendet')).length, 1);
  });

  step('whoever leaves the page looks no more', async () => {
    await page.getByTestId('begin').click();
    await page.getByTestId('screen').waitFor({ timeout: SOON_MS });
    await page.getByTestId('back').click();
    await until('the notice is gone', async () => (await notices()).length === 0, { within: SOON_MS });
  });

  test('the desktop of a stopped gateway says nothing any more', async () => {
    await page.locator('a[data-testid=look]').click();
    await page.getByTestId('begin').click();
    await page.getByTestId('screen').waitFor({ timeout: SOON_MS });
    assert.equal(await gateway.end('SIGTERM'), 0);
    assert.deepEqual(await notices(), []);
    await gateway.up();
  });
});
