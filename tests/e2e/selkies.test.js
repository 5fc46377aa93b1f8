// Responsible for a desktop that is nothing like Kasm's: selkies, over plain HTTP, with another WebSocket path and a
// check of its own that Origin and Host agree. Its template is all that the gateway knows of it, and what its browser
// sends shows whether somebody is there.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { launch, Person } from './support/browser.js';
import { fileIn, processes } from './support/engine.js';
import { artifacts, Gateway } from './support/gateway.js';
import { Client } from './support/http.js';
import { story } from './support/story.js';
import { until } from './support/wait.js';

const TEMPLATES = new URL('../../images/demo.toml', import.meta.url);
const HOME = '/home/kasm-user';
// So long that the page is there before, and whoever waits for the picture keeps the pointer moving.
const PAUSE_S = 20;
const START_MS = 60_000;
const REACTION_MS = 20_000;
const CLICK_AGAIN_MS = 4000;
// A picture in fewer colours is black, or a desktop that has not drawn anything yet.
const COLOURS_OF_A_PICTURE = 24;
// The button of the panel that opens the menu, and where the menu is then: apart from the clock and the bar of selkies.
const MENU_BUTTON = { x: 60, y: 17 };
const MENU = { x: 40, y: 60, width: 160, height: 200 };
// JPEG shows the same picture a little differently each time, so that only a share of clearly other pixels counts.
const CHANGED = 0.2;
const SAME = 0.02;

let gateway;
let browser;
let student;
let page;
let paper;
let empty;
let container;

before(async () => {
  const settings = { DESKTOP_IDLE_PAUSE: `${PAUSE_S}s` };
  gateway = await Gateway.start('selkies', settings, { 'deskgate.toml': await readFile(TEMPLATES, 'utf8') });
  browser = await launch();
  student = await Person.arrive(browser, gateway.origin);
  paper = await student.page();
});

after(async () => {
  await browser?.close();
  await gateway?.clear();
});

const step = story();

/**
 * What a person sees of `clip`, as base64 PNG. It is a picture of the page, since selkies draws from a worker into a
 * canvas that the page itself cannot read, and keeps others about that stay black.
 */
async function seen(clip = undefined) {
  return (await page.screenshot({ clip, animations: 'disabled' })).toString('base64');
}

/** How many colours a picture has, and which share of its pixels is clearly another one in `before`. */
function look(picture, before = picture) {
  return paper.evaluate(
    async (both) => {
      const [now, then] = await Promise.all(
        both.map(async (text) => {
          const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
          const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
          const context = new OffscreenCanvas(image.width, image.height).getContext('2d');
          context.drawImage(image, 0, 0);
          return context.getImageData(0, 0, image.width, image.height).data;
        }),
      );
      const colours = new Set();
      let other = 0;
      for (let at = 0; at < now.length; at += 4) {
        const distance = [0, 1, 2].reduce((sum, of) => sum + Math.abs(now[at + of] - then[at + of]), 0);
        if (distance > 20) other += 1;
        colours.add((now[at] << 16) | (now[at + 1] << 8) | now[at + 2]);
      }
      return { colours: colours.size, other: other / (now.length / 4) };
    },
    [picture, before],
  );
}

async function shot(name) {
  await page.screenshot({ path: path.join(await artifacts(), `${name}.png`), animations: 'disabled' });
}

step('a selkies desktop starts from the portal and shows its picture', async () => {
  const portal = await student.signIn('student');
  const card = portal.locator('[data-testid="card"][data-template="selkies"]');
  const opened = student.context.waitForEvent('page');
  await card.getByTestId('start').click();
  page = await opened;
  // Not by the title: the page that waits for the desktop has its name in it too.
  const arrived = () => student.openSocket(page)?.url.endsWith('/api/websockets');
  await student.follow(page, 'the page becomes the desktop', arrived, START_MS);
  try {
    let there = 0;
    const full = async () => {
      await page.mouse.move(900 + (there++ % 9), 500);
      empty = await seen(MENU);
      const [all, part] = [await look(await seen()), await look(empty)];
      return Math.min(all.colours, part.colours) >= COLOURS_OF_A_PICTURE;
    };
    await student.follow(page, 'the picture appears', full, START_MS);
  } finally {
    await shot('selkies');
  }
});

step('clicks and keys arrive there, and the picture follows them', async () => {
  const changed = async () => (await look(await seen(MENU), empty)).other;
  // A panel that has only just been drawn may not listen yet: a person clicks again.
  let clicked = -Infinity;
  const opens = async () => {
    if ((await changed()) > CHANGED) return true;
    if (performance.now() - clicked > CLICK_AGAIN_MS) {
      clicked = performance.now();
      await page.mouse.click(MENU_BUTTON.x, MENU_BUTTON.y);
    }
    return false;
  };
  try {
    await student.follow(page, 'the click opens the menu', opens, REACTION_MS);
  } finally {
    await shot('selkies-menu');
  }
  await page.keyboard.press('Escape');
  await student.follow(page, 'the key closes the menu', async () => (await changed()) < SAME, REACTION_MS);
});

step('all that is by the template alone', async () => {
  const id = new URL(page.url()).pathname.match(/^\/desktop\/([0-9a-f-]{36})\/$/)?.[1];
  assert.ok(id, page.url());
  assert.equal(new URL(student.openSocket(page).url).pathname, `/desktop/${id}/api/websockets`);
  const answers = await page.evaluate(() => {
    const asked = ['api/files/', 'api/switch', 'api/tokens', 'api/health'];
    return Promise.all(asked.map(async (at) => (await fetch(at)).status));
  });
  assert.deepEqual(answers, [404, 404, 404, 200], 'of its API only the health is there');
  const violations = student.reports.filter(({ text }) => /content security policy/i.test(text));
  assert.deepEqual(violations, []);
});

/** What the engine says of the student's container. */
async function state() {
  return (await gateway.installation.containers())[0].state;
}

/** A name for a file, and what writes it when it is typed into the terminal. */
function note(name) {
  const token = randomBytes(8).toString('hex');
  const written = async () => (await fileIn(container, `${HOME}/${name}.txt`)) === token;
  return { keys: `echo ${token} > ${name}.txt\n`, written };
}

step('somebody who types is left alone', async () => {
  container = (await gateway.installation.containers())[0].id;
  await page.mouse.click(900, 500);
  await page.keyboard.press('Control+Alt+t');
  await until('a shell runs', async () => (await processes(container)).includes('bash'), { within: 20_000 });
  const begun = note('begun');
  await until(
    'the terminal takes a line',
    async () => {
      await page.keyboard.type(begun.keys, { delay: 10 });
      return until('its effect is seen', begun.written, { within: 3000 });
    },
    { within: 20_000 },
  );
  for (const end = performance.now() + 2 * PAUSE_S * 1000; performance.now() < end; ) {
    await page.keyboard.press('a');
    assert.equal(await state(), 'running');
    await pause(1000);
  }
  await page.keyboard.press('Control+c');
});

step('an open tab that nobody touches lets it sleep, and stays', async () => {
  const socket = student.openSocket(page);
  assert.ok(socket);
  await until('the desktop is paused', async () => (await state()) === 'paused', { within: 60_000, every: 200 });
  // The client goes on by itself, and no pointer moves because the page does.
  for (const end = performance.now() + PAUSE_S * 1000; performance.now() < end; await pause(500)) {
    assert.equal(await state(), 'paused');
  }
  assert.equal(student.openSocket(page), socket, 'the stream is the same, and open');
  const client = Client.bearer(gateway.origin, await student.secret());
  assert.equal((await client.list())[0].status, 'paused');
  await shot('selkies-paused');
});

step('a key wakes it, and nothing that was typed is lost', async () => {
  const socket = student.openSocket(page);
  const woken = note('woken');
  await page.keyboard.type(woken.keys, { delay: 5 });
  await until('what was typed into a sleeping desktop happens', woken.written, { within: 20_000 });
  assert.equal(await state(), 'running');
  assert.equal(student.openSocket(page), socket, 'no stream was opened again');
  await shot('selkies-woken');
});
