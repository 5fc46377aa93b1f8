// Responsible for the main job as a person does it in a browser: sign in, start a desktop, work in it, stop it,
// find the files again, sign out; and for what the same pages must not allow.

import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { launch, Person, picture } from './support/browser.js';
import { fileIn, processes } from './support/engine.js';
import { artifacts, Gateway } from './support/gateway.js';
import { Client, comparable, request, signIn } from './support/http.js';
import { story } from './support/story.js';
import { until } from './support/wait.js';

const HOME = '/home/kasm-user';
const CUT_MS = 1000;
const START_MS = 30_000;

let gateway;
let browser;
let student;
let teacher;
// What one step leaves to the next: pages, the desktop's id, what was written into its home.
let portal;
let desktop;
let id;
let container;
let complaint;
const token = randomBytes(8).toString('hex');

before(async () => {
  gateway = await Gateway.start('journey');
  browser = await launch();
  student = await Person.arrive(browser, gateway.origin);
});

after(async () => {
  if (student) {
    const reports = [...student.reports, ...(teacher?.reports ?? [])];
    await writeFile(path.join(await artifacts(), 'console.json'), JSON.stringify(reports, null, 2));
    if (student.reloads) console.log(`# pages reloaded because a change of addresses broke them: ${student.reloads}`);
  }
  await browser?.close();
  await gateway?.clear();
});

const step = story();

async function shot(page, name) {
  // A button that is just changing its colours would be shown in neither.
  await page.screenshot({ path: path.join(await artifacts(), `${name}.png`), animations: 'disabled' });
}

/** Pictures of a page as large and small windows show it, by day and by night; nothing may stick out sideways. */
async function looks(page, name) {
  const size = page.viewportSize();
  for (const [kind, width, height] of [['wide', 1280, 800], ['phone', 390, 844]]) {
    await page.setViewportSize({ width, height });
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await shot(page, `${name}-${kind}-${colorScheme}`);
    }
    const excess = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(excess <= 0, `${name} is ${excess} px too wide for a window of ${width} px`);
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize(size);
}

/** The id of the desktop whose page is shown. */
function idOf(page) {
  return new URL(page.url()).pathname.match(/^\/desktop\/([0-9a-f-]{36})\/$/)?.[1];
}

/** The one container of this installation that runs. */
async function runningContainer() {
  const running = (await gateway.installation.containers()).filter(({ state }) => state === 'running');
  assert.equal(running.length, 1, 'exactly one container runs');
  return running[0];
}

async function openDesktop(page) {
  return until('the desktop has a WebSocket that carries traffic', () => student.openSocket(page));
}

/** Opens a terminal by its shortcut and types a line into it. */
async function typeInTerminal(page, line, arrived) {
  const shells = async () => (await processes(container)).filter((name) => name === 'bash').length;
  const before = await shells();
  await page.locator('#noVNC_container canvas').click({ position: { x: 640, y: 400 } });
  await page.keyboard.press('Control+Alt+t');
  await until('a terminal with a shell opens', async () => (await shells()) > before, { within: 15_000 });
  // The shell runs a moment before its window has the keyboard, and only the window manager knows when.
  await until(
    `the terminal takes the line "${line}"`,
    async () => {
      await page.keyboard.type(`${line}\n`, { delay: 10 });
      return until('its effect is seen', arrived, { within: 2000 });
    },
    { within: 15_000 },
  );
}

describe('a day at the desktop', () => {
  step('a person signs in by clicking', async () => {
    portal = await student.page();
    await portal.goto(`${gateway.origin}/`);
    await looks(portal, 'sign-in');
    await portal.getByTestId('sign-in').click();
    await portal.getByTestId('account-student').waitFor();
    assert.notEqual(new URL(portal.url()).origin, gateway.origin, 'the login page is the provider’s');
    await looks(portal, 'provider-login');
    await portal.getByTestId('account-student').click();
    await portal.waitForURL(`${gateway.origin}/`);
    await portal.getByTestId('start').waitFor();
    assert.match(await portal.locator('h1').innerText(), /Mia Schneider/);
    await looks(portal, 'start-page');
  });

  step('a start leads over the waiting page to the picture, without another click', async () => {
    const begun = performance.now();
    let waited = false;
    student.context.on('response', (response) => {
      if (response.request().isNavigationRequest() && response.status() === 503) waited = true;
    });
    desktop = await student.start(portal);
    await student.follow(desktop, 'the waiting page appears', () => desktop.getByTestId('waiting').isVisible(), 5000);
    await shot(desktop, 'waiting-page');
    const { width, height } = await student.followToPicture(desktop, START_MS);
    assert.ok(waited, 'the waiting page came first');
    id = idOf(desktop);
    assert.equal(new URL(desktop.url()).searchParams.get('path'), `desktop/${id}/websockify`);
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    console.log(`# from the click to a picture of ${width}x${height}: ${seconds} s`);
    container = (await runningContainer()).id;
  });

  step('the picture arrives through the desktop’s own path', async () => {
    const socket = await openDesktop(desktop);
    assert.equal(socket.url, `wss://${new URL(gateway.origin).host}/desktop/${id}/websockify`);
  });

  step('the client’s own messages go away by themselves', async () => {
    const open = () => desktop.locator('#noVNC_status.noVNC_open, #noVNC_control_bar.noVNC_open').count();
    await until('nothing covers the picture', async () => (await open()) === 0);
  });

  step('what is typed into the terminal happens in the container', async () => {
    await typeInTerminal(
      desktop,
      `echo ${token} > token.txt; cat /etc/os-release`,
      async () => (await fileIn(container, `${HOME}/token.txt`)) === token,
    );
    const { colours } = await picture(desktop);
    assert.ok(colours > 2);
    await shot(desktop, 'desktop');
  });

  step('the use of the desktop is recorded', async () => {
    const client = Client.bearer(gateway.origin, await student.secret());
    const lastAccessed = async () => (await client.list()).find((row) => row.id === id).last_accessed;
    const earlier = await lastAccessed();
    let x = 0;
    await until(
      'last_accessed moves on',
      async () => {
        await desktop.mouse.move(300 + (x++ % 50), 300);
        const now = await lastAccessed();
        return now !== null && now > (earlier ?? '');
      },
      { within: 12_000, every: 250 },
    );
  });

  step('the start page shows the running desktop and opens it', async () => {
    portal = await student.page();
    await portal.goto(`${gateway.origin}/`);
    const card = portal.getByTestId('card');
    assert.equal(await card.getAttribute('data-status'), 'running');
    assert.equal(await card.getByTestId('open').getAttribute('href'), `/desktop/${id}/`);
    assert.equal(await card.getByTestId('start').isVisible(), false);
    await looks(portal, 'start-page-running');
  });
});

describe('what others get to see', () => {
  step('somebody else’s desktop does not exist', async () => {
    teacher = await Person.arrive(browser, gateway.origin);
    const page = await teacher.signIn('teacher');
    const [foreign, missing] = [`/desktop/${id}/`, `/desktop/${randomUUID()}/`];
    const response = await page.goto(gateway.origin + foreign);
    assert.equal(response.status(), 404);
    await page.getByTestId('error').waitFor();
    await looks(page, 'error-page');

    const client = Client.cookie(gateway.origin, await teacher.secret());
    for (const accept of ['text/html', 'application/json']) {
      for (const rest of ['', '?path=x', 'websockify', 'app/ui.js']) {
        const one = comparable(await client.get(foreign + rest, { Accept: accept }));
        assert.equal(one.status, 404);
        assert.deepEqual(one, comparable(await client.get(missing + rest, { Accept: accept })));
      }
    }
  });

  step('a stranger is led to the login and back', async () => {
    const stranger = await Person.arrive(browser, gateway.origin);
    const answer = await request(`${gateway.origin}/desktop/${id}/`, { headers: { Accept: 'text/html' } });
    assert.equal(answer.status, 302);
    const login = new URL(answer.headers.location, gateway.origin);
    assert.equal(login.pathname, '/login');
    assert.equal(login.searchParams.get('return_to'), `/desktop/${id}/`);

    const page = await stranger.page();
    await page.goto(`${gateway.origin}/desktop/${id}/`);
    await page.getByTestId('account-student').click();
    await page.waitForURL(/\/desktop\/[0-9a-f-]{36}\/\?path=/);
    assert.equal(idOf(page), id);
    await stranger.context.close();
  });

  step('a German browser gets German pages', async () => {
    const german = await Person.arrive(browser, gateway.origin, { locale: 'de-DE' });
    const page = await german.page();
    await page.goto(`${gateway.origin}/`);
    assert.equal(await page.locator('html').getAttribute('lang'), 'de');
    assert.equal(await page.getByTestId('sign-in').innerText(), 'Anmelden');
    assert.deepEqual(german.portalProblems(), []);
    await german.context.close();
  });

  step('a script in the desktop reaches nothing of the portal', async () => {
    const page = await student.page();
    await page.goto(`${gateway.origin}/desktop/${id}/`);
    await page.waitForURL(/\?path=/);
    const tried = await page.evaluate(async () => {
      const outcome = (promise) => promise.then((value) => `done: ${value}`, (error) => `refused: ${error.name}`);
      const fetched = (url, options) => outcome(fetch(url, options).then((response) => response.status));
      const register = (script, scope) => outcome(navigator.serviceWorker.register(script, { scope }));
      const socket = new Promise((resolve, reject) => {
        const opened = new WebSocket(`wss://${location.host}/api/container/events`);
        opened.onopen = () => resolve('open');
        opened.onerror = () => reject(new DOMException('', 'SecurityError'));
      });
      const here = location.pathname;
      return {
        list: await fetched('/api/container/list'),
        start: await fetched('/api/container/start', { method: 'POST', body: '{}' }),
        home: await fetched('/'),
        session: await fetched('/session'),
        events: await outcome(socket),
        workerHere: await register(`${here}app/ui.js`, here),
        workerOfPortal: await register('/assets/home.js', '/'),
        opened: window.open('/') === null ? 'refused: null' : 'done: a window',
        ownFile: await fetched(`${here}package.json`),
        cookie: document.cookie,
      };
    });
    const { ownFile, cookie, ...others } = tried;
    assert.equal(ownFile, 'done: 200', 'the desktop’s own files are its business');
    assert.equal(cookie, '', 'no cookie is within reach');
    for (const [what, outcome] of Object.entries(others)) {
      assert.match(outcome, /^refused/, `${what}: ${outcome}`);
    }
    await page.close();
  });
});

describe('the end of the day', () => {
  step('a stop in one tab cuts the desktop in another at once', async () => {
    const socket = await openDesktop(desktop);
    const begun = await student.stop(portal);
    await until('the WebSocket closes', () => socket.closedAt, { within: CUT_MS, every: 10 });
    console.log(`# from the click on stop to the end of the WebSocket: ${Math.round(socket.closedAt - begun)} ms`);
    await portal.locator('[data-testid=card][data-status=stopped]').waitFor();
    const states = (await gateway.installation.containers()).map(({ state }) => state);
    assert.deepEqual(states, ['exited']);
    complaint = await portal.getByTestId('error').innerText();
    assert.ok(!student.openSocket(desktop), 'no new WebSocket reached the stopped desktop');
    await looks(portal, 'start-page-stopped');
    await desktop.locator('[data-testid=waiting][data-status=stopped]').waitFor();
    await shot(desktop, 'desktop-after-stop');
    await desktop.close();
  });

  step('the next desktop has the same home', async () => {
    desktop = await student.start(portal);
    await student.followToPicture(desktop, START_MS);
    assert.notEqual(idOf(desktop), id, 'it is another desktop');
    id = idOf(desktop);
    container = (await runningContainer()).id;
    assert.equal(await fileIn(container, `${HOME}/token.txt`), token);
  });

  step('signing out cuts the desktop and ends the session everywhere', async () => {
    const socket = await openDesktop(desktop);
    const secret = await student.secret();
    portal = await student.page();
    await portal.goto(`${gateway.origin}/`);
    const begun = performance.now();
    await portal.getByTestId('sign-out').click();
    await until('the WebSocket closes', () => socket.closedAt, { within: CUT_MS, every: 10 });
    console.log(`# from the click on sign out to the end of the WebSocket: ${Math.round(socket.closedAt - begun)} ms`);
    await portal.getByTestId('sign-in').waitFor();
    await looks(portal, 'signed-out');

    const json = { Accept: 'application/json' };
    for (const client of [Client.cookie(gateway.origin, secret), Client.bearer(gateway.origin, secret)]) {
      for (const address of ['/session', '/api/container/list', `/desktop/${id}/`]) {
        assert.equal((await client.get(address, json)).status, 401, `${address} with the old session`);
      }
    }
    assert.ok(!student.openSocket(desktop), 'no new WebSocket came through without a session');
    await desktop.close();
  });

  step('the provider has forgotten the person too', async () => {
    await portal.getByTestId('sign-in').click();
    await portal.getByTestId('account-student').waitFor();
    await portal.getByTestId('account-student').click();
    await portal.waitForURL(`${gateway.origin}/`);
    await portal.getByTestId('sign-out').waitFor();
  });

  test('a stop that succeeds is not called a failure', () => {
    assert.equal(complaint, '');
  });

  test('our pages broke neither their policy nor a script', () => {
    assert.deepEqual([...student.portalProblems(), ...teacher.portalProblems()], []);
  });

  test('the gateway stops cleanly when it is asked to', async () => {
    assert.equal(await gateway.end('SIGTERM'), 0);
  });
});
