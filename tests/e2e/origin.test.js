// Responsible for desktops on an origin of their own (DESKTOP_ORIGIN), as a person's browser lives through it: the way
// from the portal to the picture and back, and what the browser itself keeps apart then. Here `localhost` and
// `127.0.0.1` are the two hosts.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { launch, Person } from './support/browser.js';
import { Gateway } from './support/gateway.js';
import { Client, request, SESSION_COOKIE, signIn } from './support/http.js';
import { story } from './support/story.js';
import { until } from './support/wait.js';

const CUT_MS = 1000;
const START_MS = 30_000;
const DESKTOP_COOKIE = '__Host-Http-desktop';
const BROWSER_COOKIE = '__Host-Http-browser';

let gateway;
let browser;
let student;
let portal;
let desktop;
let desktops;
let id;
// The addresses with a ticket that the student's browser asked for.
const tickets = [];

before(async () => {
  const own = ({ port }) => ({ DESKTOP_ORIGIN: `https://127.0.0.1:${port}` });
  gateway = await Gateway.start('origin', own);
  desktops = gateway.environment.DESKTOP_ORIGIN;
  browser = await launch();
  student = await Person.arrive(browser, gateway.origin);
  student.context.on('request', (sent) => {
    if (sent.url().startsWith(`${desktops}/ticket/`)) tickets.push(sent.url());
  });
});

after(async () => {
  await browser?.close();
  await gateway?.clear();
});

const step = story();

/** The gateway's cookies on a host; the demo's provider has one on `localhost` too. */
async function cookieNames(context, origin) {
  const names = (await context.cookies(origin)).map(({ name }) => name);
  return names.filter((name) => name.startsWith('__Host-')).sort();
}

/** What becomes of calls by a script of `page`: `read: STATUS` where it sees the answer. */
function calls(page, wanted) {
  return page.evaluate(async (list) => {
    const outcomes = {};
    for (const [name, url, options] of list) {
      const done = fetch(url, options).then((answer) => (answer.type === 'opaque' ? 'unseen' : `read: ${answer.status}`));
      outcomes[name] = await done.catch((error) => `refused: ${error.name}`);
    }
    return outcomes;
  }, wanted);
}

describe('desktops on an origin of their own', () => {
  step('a start leads to the picture on the second origin, without another click', async () => {
    portal = await student.signIn('student');
    desktop = await student.start(portal);
    await student.followToPicture(desktop, START_MS);
    const address = new URL(desktop.url());
    assert.equal(address.origin, desktops);
    id = address.pathname.match(/^\/desktop\/([0-9a-f-]{36})\/$/)[1];
    assert.equal(address.searchParams.get('path'), `desktop/${id}/websockify`);
    assert.ok(tickets.length > 0, 'it came with a ticket');
    const socket = await until('the picture has a WebSocket', () => student.openSocket(desktop));
    assert.equal(socket.url, `wss://${address.host}/desktop/${id}/websockify`);
  });

  step('each host has cookies of its own', async () => {
    assert.deepEqual(await cookieNames(student.context, gateway.origin), [SESSION_COOKIE]);
    assert.deepEqual(await cookieNames(student.context, desktops), [BROWSER_COOKIE, DESKTOP_COOKIE]);
    const session = await student.secret();
    const cookies = await student.context.cookies(desktops);
    assert.ok(cookies.every(({ value }) => value !== session), 'the session’s secret stays on the portal');
    const [own] = cookies.filter(({ name }) => name === DESKTOP_COOKIE);
    for (const name of [SESSION_COOKIE, DESKTOP_COOKIE]) {
      const answer = await request(`${gateway.origin}/session`, { headers: { Cookie: `${name}=${own.value}` } });
      assert.equal(answer.status, 401, `the desktop’s cookie on the portal as ${name}`);
    }
  });

  step('a ticket that was seen is worth nothing', async () => {
    for (const ticket of tickets) {
      const spent = await request(ticket, { headers: { Cookie: await cookieHeader() } });
      assert.equal(spent.status, 403);
      assert.equal(spent.json().code, 'ticket_invalid');
    }
  });

  step('a script in the desktop has nothing to call', async () => {
    const outcomes = await calls(desktop, [
      ['own file', `/desktop/${id}/package.json`],
      ['API of the portal', `${gateway.origin}/api/container/list`, { credentials: 'include' }],
      ['page of the portal', `${gateway.origin}/`, { credentials: 'include', mode: 'no-cors' }],
      ['API here', '/api/container/list'],
    ]);
    assert.equal(outcomes['own file'], 'read: 200');
    for (const [what, outcome] of Object.entries(outcomes).slice(1)) assert.match(outcome, /^refused/, what);
    const client = new Client(desktops, { Cookie: await cookieHeader() });
    for (const path of ['/', '/api/container/list', '/session', '/login', '/assets/home.js']) {
      assert.equal((await client.get(path)).status, 404, path);
    }
  });

  step('the browser keeps the origins apart even without the gateway’s policy', async () => {
    const bare = await Person.arrive(browser, gateway.origin, { bypassCSP: true });
    const home = await bare.signIn('student');
    await home.evaluate(() => localStorage.setItem('of the portal', '1'));
    const page = await bare.page();
    await page.goto(`${gateway.origin}/desktop/${id}/`);
    await bare.followToPicture(page, START_MS);
    assert.equal(new URL(page.url()).origin, desktops);
    const count = async () => (await gateway.installation.containers()).length;
    const before = await count();
    const change = { method: 'POST', credentials: 'include', body: '{}' };
    const outcomes = await calls(page, [
      ['API', `${gateway.origin}/api/container/list`, { credentials: 'include' }],
      ['session', `${gateway.origin}/session`, { credentials: 'include' }],
      ['page with the token', `${gateway.origin}/`, { credentials: 'include' }],
      ['start', `${gateway.origin}/api/container/start`, change],
      ['start unseen', `${gateway.origin}/api/container/start`, { ...change, mode: 'no-cors' }],
      ['ticket', `${gateway.origin}/desktop/${id}/`, { credentials: 'include', headers: { Accept: 'text/html' } }],
      ['API here', '/api/container/list'],
      ['start here', '/api/container/start', change],
    ]);
    const { 'API here': apiHere, 'start here': startHere, ...others } = outcomes;
    for (const [what, outcome] of Object.entries(others)) assert.match(outcome, /^refused/, `${what}: ${outcome}`);
    // They did arrive: it was not the policy that kept them, and they came without the session.
    const arrived = /POST path="\/api\/container\/start" route="api" status=(\d+)/g;
    const statuses = [...(await gateway.logged()).matchAll(arrived)].map(([, status]) => status);
    assert.deepEqual(statuses.slice(-3), ['401', '401', '404']);
    assert.deepEqual([apiHere, startHere], ['read: 404', 'read: 404']);
    assert.equal(await count(), before, 'nothing was started');
    assert.equal(await page.evaluate(() => localStorage.getItem('of the portal')), null);
    await bare.context.close();
  });

  step('an address of a desktop works in a browser that has not been there', async () => {
    await student.context.clearCookies({ name: DESKTOP_COOKIE });
    const page = await student.page();
    await page.goto(desktop.url());
    await student.followToPicture(page, START_MS);
    assert.equal(new URL(page.url()).origin, desktops);
    await page.close();

    const stranger = await Person.arrive(browser, gateway.origin);
    const other = await stranger.page();
    await other.goto(desktop.url());
    assert.equal(new URL(other.url()).pathname.startsWith('/desktop/'), false, 'first of all comes the login');
    await other.getByTestId('account-student').click();
    await stranger.followToPicture(other, START_MS);
    assert.equal(new URL(other.url()).origin, desktops);
    await stranger.context.close();
  });

  step('somebody else is told by the portal that there is nothing', async () => {
    const teacher = await Person.arrive(browser, gateway.origin);
    const page = await teacher.signIn('teacher');
    for (const origin of [gateway.origin, desktops]) {
      const answer = await page.goto(`${origin}/desktop/${id}/`);
      assert.equal(answer.status(), 404);
      assert.equal(new URL(page.url()).origin, gateway.origin);
      await page.getByTestId('error').waitFor();
    }
    await teacher.context.close();
  });

  step('a program finds desktops under their own host', async () => {
    const secret = await signIn(gateway.origin, 'student');
    const file = `/desktop/${id}/package.json`;
    const there = await Client.bearer(gateway.origin, secret).get(file);
    assert.deepEqual([there.status, there.json().code], [421, 'desktop_origin']);
    assert.equal((await Client.bearer(desktops, secret).get(file)).status, 200);
  });

  step('signing out ends the picture', async () => {
    const socket = await until('the picture has a WebSocket', () => student.openSocket(desktop));
    portal = await student.page();
    await portal.goto(`${gateway.origin}/`);
    const before = await cookieHeader();
    const begun = performance.now();
    await portal.getByTestId('sign-out').click();
    await until('the WebSocket closes', () => socket.closedAt, { within: CUT_MS, every: 10 });
    console.log(`# from the click on sign out to the end of the WebSocket: ${Math.round(socket.closedAt - begun)} ms`);
    await portal.getByTestId('sign-in').waitFor();
    const answer = await request(`${desktops}/desktop/${id}/package.json`, { headers: { Cookie: before } });
    assert.equal(answer.status, 401, 'the desktop’s cookie went with its session');
    await desktop.close();
  });

  test('our pages broke neither their policy nor a script', () => {
    assert.deepEqual(student.portalProblems(), []);
  });

  test('no ticket is in the log', async () => {
    const log = await gateway.logged();
    assert.match(log, /path="?\/ticket\/\.\.\./);
    for (const ticket of tickets) assert.ok(!log.includes(new URL(ticket).pathname), 'a ticket was logged');
  });
});

/** The student's cookies on the desktops' host, as a request carries them. */
async function cookieHeader() {
  const cookies = await student.context.cookies(desktops);
  return cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
}
