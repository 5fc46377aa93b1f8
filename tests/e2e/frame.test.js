// Responsible for the page around a desktop (DESKTOP_ORIGIN on the portal's site), as a person's browser lives through
// it: the way into the frame, the bar, a lost network, the end. `desk.localhost` and `desktops.desk.localhost` are the two
// hosts; a browser takes them for one site, as it does with two names below a school's domain.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { launch, Person, picture } from './support/browser.js';
import { artifacts, Gateway } from './support/gateway.js';
import { request } from './support/http.js';
import { barriers, looks, speak } from './support/looks.js';
import { CLIENT, IdentityProvider } from './support/provider.js';
import { story } from './support/story.js';
import { until } from './support/wait.js';

const IMAGE = 'deskgate/demo-desktop:latest';
const START_MS = 30_000;
const NEWS_MS = 15_000;
// Longer than it takes to write that a desktop was used.
const REST_MS = 6000;
const COLOURS_OF_A_PICTURE = 24;
const TEMPLATES = `
[[template]]
id = "desktop"
image = "${IMAGE}"
pull = "never"
home = "none"
title = { de = "Linux-Desktop", en = "Linux desktop" }
`;

let gateway;
let provider;
let browser;
let student;
let origin;
let desktops;
let portal;
let desktop;

before(async () => {
  const own = async (self) => {
    self.command = ['serve'];
    origin = `https://desk.localhost:${self.port}`;
    desktops = `https://desktops.desk.localhost:${self.port}`;
    provider = await IdentityProvider.start(origin);
    provider.accounts.set('mia', []);
    return {
      PUBLIC_URL: origin,
      DESKTOP_ORIGIN: desktops,
      LISTEN: `127.0.0.1:${self.port}`,
      METRICS_LISTEN: 'off',
      SECRET_KEY: 'a-secret-key-for-tests-of-the-frame',
      OAUTH_ISSUER: provider.issuer,
      OAUTH_CLIENT_ID: CLIENT.id,
      OAUTH_CLIENT_SECRET: CLIENT.secret,
      OAUTH_SCOPES: 'openid profile groups',
      DESKTOP_IDLE_STOP: '1h',
      DESKTOP_SUBNETS: 'off',
      TLS_CERT: path.join(self.data, 'tls.crt'),
      TLS_KEY: path.join(self.data, 'tls.key'),
    };
  };
  gateway = await Gateway.start('frame', own, { 'deskgate.toml': TEMPLATES });
  browser = await launch();
  student = await Person.arrive(browser, origin, { locale: 'de-DE' });
});

after(async () => {
  await browser?.close();
  await gateway?.clear();
  await provider?.stop();
});

const step = story();

/** The frame that the desktop is in, once it is there. */
function inner(page) {
  return page.frames().find((frame) => frame !== page.mainFrame() && frame.url().startsWith(`${desktops}/desktop/`));
}

/** Waits until the page shows a picture in its frame. */
function showsPicture(page, within = START_MS) {
  const seen = async () => {
    const there = inner(page) && (await picture(inner(page)));
    return there && there.colours >= COLOURS_OF_A_PICTURE && there;
  };
  return student.follow(page, 'the frame shows a picture', seen, within);
}

/** What the person's browser would be answered. Only a browser knows where `*.localhost` is. */
async function read(address) {
  const { origin: at, host, pathname, search } = new URL(address);
  const cookies = (await student.context.cookies(at)).map(({ name, value }) => `${name}=${value}`).join('; ');
  const headers = { Host: host, Cookie: cookies, Accept: 'text/html,application/json' };
  return request(`${gateway.origin}${pathname}${search}`, { headers });
}

const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.tagName);

async function picked(page, name) {
  await page.screenshot({ path: path.join(await artifacts(), `frame-${name}.png`) });
}

describe('a desktop in a frame of the portal', () => {
  step('a person signs in', async () => {
    portal = await student.page();
    await portal.goto(`${origin}/`);
    await portal.getByTestId('sign-in').click();
    await portal.locator('[name=login]').fill('mia');
    await portal.locator('[name=password]').fill('mia');
    await portal.locator('[type=submit]').click();
    await portal.locator('[type=submit]').click();
    await portal.getByTestId('sign-out').waitFor();
  });

  step('a start leads to the picture in the frame, and the keys are the desktop’s', async () => {
    desktop = await student.start(portal);
    await showsPicture(desktop);
    const address = new URL(desktop.url());
    assert.equal(address.origin, origin, 'the tab is the portal’s');
    assert.match(address.pathname, /^\/desktop\/[0-9a-f-]{36}\/$/);
    assert.equal(new URL(inner(desktop).url()).origin, desktops);
    assert.equal(await focused(desktop), 'frame');
    const size = await desktop.getByTestId('frame').boundingBox();
    assert.deepEqual(size, { x: 0, y: 0, width: 1280, height: 800 }, 'it fills the window');
    await until('the time that is left', async () => /1 h|59 min/.test(await desktop.getByTestId('left').innerText()));
    await picked(desktop, 'folded');
  });

  step('neither can reach into the other', async () => {
    const outwards = await inner(desktop).evaluate(() => {
      try {
        return String(window.parent.document);
      } catch (error) {
        return error.name;
      }
    });
    assert.equal(outwards, 'SecurityError');
    await inner(desktop).evaluate((address) => {
      try {
        window.top.location = address;
      } catch {}
    }, `${origin}/account`);
    assert.match(new URL(desktop.url()).pathname, /^\/desktop\//, 'the desktop does not lead the tab away');
  });

  step('the bar unfolds, does its work, and gives the keys back', async () => {
    await desktop.getByTestId('handle').click();
    await desktop.getByTestId('stay').waitFor();
    await picked(desktop, 'bar');
    assert.deepEqual(await barriers(desktop), []);
    await desktop.getByTestId('stay').click();
    await until('the bar folds', async () => !(await desktop.getByTestId('deck').getAttribute('open')) && (await focused(desktop)) === 'frame');
    await desktop.getByTestId('handle').click();
    await desktop.getByTestId('full').click();
    await until('all of the screen', () => desktop.evaluate(() => Boolean(document.fullscreenElement)));
    assert.equal(await focused(desktop), 'frame');
    await desktop.getByTestId('handle').click();
    assert.equal(await desktop.getByTestId('full').innerText(), 'Vollbild beenden');
    await desktop.getByTestId('full').click();
    await until('a window again', () => desktop.evaluate(() => !document.fullscreenElement));
  });

  step('a click into the desktop folds the bar', async () => {
    await desktop.getByTestId('handle').click();
    await desktop.getByTestId('stay').waitFor();
    await desktop.mouse.click(640, 600);
    await until('the bar is folded', async () => (await desktop.getByTestId('deck').getAttribute('open')) === null);
  });

  step('the bar by keyboard', async () => {
    await desktop.getByTestId('handle').focus();
    await desktop.keyboard.press('Enter');
    await desktop.keyboard.press('Tab');
    assert.equal(await focused(desktop), 'full');
    for (const next of ['stay', 'A', 'stop']) {
      await desktop.keyboard.press('Tab');
      assert.equal(await focused(desktop), next);
    }
    await desktop.keyboard.press('Enter');
    await desktop.locator('#ask[open]').waitFor();
    assert.deepEqual(await barriers(desktop), []);
    await picked(desktop, 'question');
    await desktop.keyboard.press('Escape');
    await until('the keys are the desktop’s', async () => (await focused(desktop)) === 'frame');
  });

  step('a lost network is said, and the same desktop is there again', async () => {
    const before = (await gateway.installation.containers()).map(({ id }) => id);
    await student.context.setOffline(true);
    await desktop.getByTestId('veil').waitFor();
    assert.match(await desktop.getByTestId('veil').innerText(), /Die Verbindung ist weg[\s\S]*läuft weiter/);
    await picked(desktop, 'lost');
    assert.deepEqual(await barriers(desktop), []);
    await student.context.setOffline(false);
    await desktop.getByTestId('veil').waitFor({ state: 'hidden', timeout: NEWS_MS });
    await showsPicture(desktop);
    assert.deepEqual((await gateway.installation.containers()).map(({ id }) => id), before);
    assert.equal(new URL(desktop.url()).search, '', 'it stays in its frame');
  });

  step('a gateway that was away is found again, and so is the desktop', async () => {
    await gateway.end('SIGKILL');
    await desktop.getByTestId('veil').waitFor({ timeout: NEWS_MS });
    await gateway.up();
    await desktop.getByTestId('veil').waitFor({ state: 'hidden', timeout: 2 * NEWS_MS });
    await showsPicture(desktop);
  });

  step('in every size and both languages, by day and by night', async () => {
    await looks(student, desktop, 'frame');
    await desktop.setViewportSize({ width: 1280, height: 800 });
    await speak(student, 'de');
    await desktop.reload();
    await showsPicture(desktop);
  });

  step('without the bar it has the tab to itself', async () => {
    await desktop.getByTestId('handle').click();
    await desktop.getByTestId('bare').click();
    await student.followToPicture(desktop, START_MS);
    assert.equal(new URL(desktop.url()).origin, desktops);
    await desktop.goto(`${origin}${new URL(desktop.url()).pathname}`);
    await showsPicture(desktop);
  });

  step('a browser that keeps the cookie from the frame shows the desktop in the tab', async () => {
    // What the client of another tab does counts as an arrival, and is written some seconds later.
    const { href: address, pathname } = new URL(desktop.url());
    await desktop.goto(`${origin}/`);
    let seen = {};
    await until('the desktop rests', async () => {
      const answer = await read(`${origin}/api/container/status?id=${pathname.split('/')[2]}`);
      const { last_accessed: at } = answer.json().container;
      if (seen.at !== at) seen = { at, since: performance.now() };
      return performance.now() - seen.since > REST_MS;
    }, { within: START_MS });
    const page = await student.page();
    // What the desktops' host answers in a frame to somebody without its cookie.
    await page.route(`${desktops}/**`, (route) => {
      if (route.request().frame() === page.mainFrame()) return route.continue();
      return route.fulfill({ status: 401, contentType: 'text/html', body: '' });
    });
    await page.goto(address);
    await until('the tab becomes the desktop', () => new URL(page.url()).origin === desktops, { within: START_MS });
    await page.close();
    await desktop.goto(address);
    await showsPicture(desktop);
  });

  step('nobody else may hold either of them in a frame', async () => {
    for (const address of [desktop.url(), `${origin}/`]) {
      const page = await read(address);
      assert.match(page.headers['content-security-policy'], /frame-ancestors 'none'/, address);
    }
    const client = await read(inner(desktop).url());
    assert.equal(client.status, 200);
    assert.match(client.headers['content-security-policy'], new RegExp(`frame-ancestors 'self' ${origin}$`));
  });

  step('a stop asks, and the page says how it ended', async () => {
    await desktop.getByTestId('handle').click();
    await desktop.getByTestId('stop').click();
    await desktop.getByTestId('ask-yes').click();
    await desktop.getByTestId('again').waitFor({ timeout: START_MS });
    assert.match(await desktop.getByTestId('error').innerText(), /auf Wunsch beendet/);
    await desktop.close();
  });

  test('our pages broke neither their policy nor a script', () => {
    const problems = student.reports.filter(({ kind, text, page, source }) => {
      const ours = page.startsWith(origin) && !(source ?? '').startsWith(desktops);
      return ours && (kind === 'error' || /content security policy/i.test(text));
    });
    assert.deepEqual(problems, []);
  });
});
