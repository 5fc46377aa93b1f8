// Responsible for the API as a program uses it over real TLS: the ways to say who asks, idempotent starts, and
// answers to bad input.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import https from 'node:https';
import { after, before, describe, test } from 'node:test';

import { Gateway } from './support/gateway.js';
import { Client, comparable, request, signIn } from './support/http.js';
import { until } from './support/wait.js';

const STARTS = 50;
const START_MS = 30_000;

let gateway;
let secret;
let client;
let other;
let id;

before(async () => {
  gateway = await Gateway.start('api');
  secret = await signIn(gateway.origin, 'student');
  client = Client.bearer(gateway.origin, secret);
  other = Client.bearer(gateway.origin, await signIn(gateway.origin, 'admin'));
});

after(() => gateway?.clear());

/** Asserts that an answer is a problem document with this status and code, and returns it. */
function problem(answer, status, code) {
  assert.equal(answer.status, status, answer.body);
  assert.match(answer.headers['content-type'], /^application\/problem\+json/);
  const document = answer.json();
  assert.equal(document.code, code);
  assert.equal(document.status, status);
  return document;
}

describe('who asks', () => {
  test('Bearer, X-Session-ID and the cookie are the same session', async () => {
    const sessions = [];
    for (const way of [client, Client.sessionId(gateway.origin, secret), Client.cookie(gateway.origin, secret)]) {
      const answer = await way.get('/session');
      assert.equal(answer.status, 200, answer.body);
      sessions.push(answer.json());
    }
    assert.deepEqual(sessions[1], sessions[0]);
    assert.deepEqual(sessions[2], sessions[0]);
    const [{ authenticated, user, session }] = sessions;
    assert.equal(authenticated, true);
    assert.equal(user.username, 'student');
    assert.equal(user.role, 'student');
    assert.ok(!JSON.stringify(session).includes(secret), 'the handle is not the secret');
  });

  test('nobody and a stranger are refused alike', async () => {
    problem(await request(`${gateway.origin}/session`), 401, 'not_signed_in');
    const stranger = Client.bearer(gateway.origin, 'A'.repeat(secret.length));
    for (const address of ['/session', '/api/container/list', `/desktop/${randomUUID()}/`]) {
      const answer = await stranger.get(address);
      assert.equal(answer.status, 401, address);
      assert.equal(answer.headers['www-authenticate'], 'Bearer');
    }
    assert.equal((await request(`${gateway.origin}/session?session=${secret}`)).status, 401, 'never in a URL');
  });

  test('a change by cookie needs the token of our pages', async () => {
    const browser = Client.cookie(gateway.origin, secret);
    for (const action of ['start', 'stop', 'remove']) {
      problem(await browser.post(`/api/container/${action}`), 403, 'csrf_token_missing');
    }
    problem(await browser.post('/api/container/start', {}, { 'X-CSRF-Token': 'x' }), 403, 'csrf_token_missing');
    assert.deepEqual(await client.list(), []);
  });
});

describe('starting', () => {
  test(`${STARTS} starts at once make one desktop`, async () => {
    const agent = new https.Agent({ maxSockets: STARTS });
    const many = Client.bearer(gateway.origin, secret, agent);
    const answers = await Promise.all(Array.from({ length: STARTS }, () => many.post('/api/container/start')));
    agent.destroy();
    const statuses = answers.map(({ status }) => status).sort();
    assert.deepEqual(statuses, [...Array(STARTS - 1).fill(200), 201]);
    const ids = new Set(answers.map((answer) => answer.json().container.id));
    assert.equal(ids.size, 1);
    [id] = ids;

    await until('the desktop runs', async () => (await client.list())[0]?.status === 'running', { within: START_MS });
    const rows = await client.list();
    const containers = await gateway.installation.containers();
    assert.deepEqual(rows.map((row) => row.id), [id]);
    assert.deepEqual(
      containers.map(({ id: container, state, desktop }) => ({ container, state, desktop })),
      [{ container: rows[0].container_id, state: 'running', desktop: id }],
    );
  });

  test('the row says what the contract promises', async () => {
    const answer = (await client.get('/api/container/status')).json();
    assert.equal(answer.engine_status, 'running');
    assert.equal(answer.url, `${gateway.origin}/desktop/${id}/`);
    const { container } = answer;
    const names = [
      'id', 'user_id', 'session_id', 'container_id', 'container_name', 'image_name', 'template', 'status',
      'status_reason', 'host_port', 'container_port', 'created_at', 'started_at', 'stopped_at', 'last_accessed',
      'last_input',
      // What USAGE.md adds.
      'status_reason_code', 'status_detail', 'stops_at', 'stops_because', 'stops_soon', 'watched_by',
    ];
    assert.deepEqual(Object.keys(container).sort(), names.sort());
    assert.match(container.started_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
    const [first, last] = gateway.environment.PORT_RANGE.split('-').map(Number);
    assert.ok(container.host_port >= first && container.host_port <= last);
  });

  test('the desktop answers through the gateway and not without it', async () => {
    const page = await client.get(`/desktop/${id}/`);
    assert.equal(page.status, 200);
    assert.match(page.body, /noVNC/);
    assert.match(page.headers['content-security-policy'], /^sandbox /);
    const { host_port: port } = (await client.list())[0];
    const direct = await request(`https://127.0.0.1:${port}/`);
    assert.equal(direct.status, 401, 'the desktop asks for its own password');
  });
});

describe('bad input', () => {
  test('malformed JSON is refused with its position', async () => {
    const answer = problem(await client.post('/api/container/start', '{"template":\n oops}'), 400, 'invalid_json');
    assert.match(answer.detail, /line 2 column \d+/);
  });

  test('an unknown field, a wrong type and an endless body are refused', async () => {
    problem(await client.post('/api/container/start', { templat: 'desktop' }), 400, 'invalid_json');
    problem(await client.post('/api/container/start', { template: 7 }), 400, 'invalid_json');
    // On a connection of its own, since the gateway closes it with the rest of the body unread.
    const agent = new https.Agent({ keepAlive: false });
    const once = Client.bearer(gateway.origin, secret, agent);
    problem(await once.post('/api/container/start', { template: 'x'.repeat(100_000) }), 413, 'body_too_large');
  });

  test('an unknown template is not found', async () => {
    problem(await client.post('/api/container/start', { template: 'no-such-template' }), 404, 'unknown_template');
  });

  test('somebody else’s desktop answers like none', async () => {
    const upgrade = { Connection: 'Upgrade', Upgrade: 'websocket', Origin: gateway.origin };
    const calls = [
      (which) => other.get(`/api/container/status?id=${which}`),
      (which) => other.post('/api/container/stop', { id: which }),
      (which) => other.post('/api/container/remove', { id: which }),
      (which) => other.get(`/desktop/${which}/`),
      (which) => other.get(`/desktop/${which}/websockify`, upgrade),
    ];
    for (const call of calls) {
      const foreign = comparable(await call(id));
      assert.equal(foreign.status, 404, foreign.body);
      assert.deepEqual(foreign, comparable(await call(randomUUID())));
      assert.deepEqual(foreign, comparable(await call('no-id')));
    }
    assert.equal((await client.list())[0].status, 'running');
  });

  test('what is not there is not found, and what is not meant is not allowed', async () => {
    problem(await client.get('/api/container/nothing'), 404, 'not_found');
    assert.equal((await client.post('/api/container/list')).status, 405);
    assert.equal((await client.get('/api/container/start')).status, 405);
  });
});

describe('ending', () => {
  test('a stop is idempotent and a removal final', async () => {
    for (const expected of ['stopped', 'stopped']) {
      const answer = await client.post('/api/container/stop', { id });
      assert.equal(answer.status, 200, answer.body);
      assert.equal(answer.json().container.status, expected);
    }
    const page = await client.get(`/desktop/${id}/`);
    problem(page, 503, 'desktop_not_running');
    assert.ok(page.headers['retry-after']);
    assert.equal((await client.post('/api/container/remove', { id })).status, 200);
    assert.deepEqual(await client.list(), []);
    assert.deepEqual(await gateway.installation.containers(), []);
    problem(await client.post('/api/container/remove', { id }), 404, 'not_found');
  });

  test('Prefer: wait answers when the desktop runs', async () => {
    const answer = await client.post('/api/container/start', {}, { Prefer: 'wait=30' });
    assert.equal(answer.status, 201, answer.body);
    assert.equal(answer.json().container.status, 'running');
  });

  test('a logout ends the session for programs too', async () => {
    const answer = await client.post('/logout');
    assert.equal(answer.status, 200, answer.body);
    problem(await client.get('/session'), 401, 'session_invalid');
    problem(await client.post('/api/container/start'), 401, 'session_invalid');
  });

  test('the gateway stops cleanly when it is asked to', async () => {
    assert.equal(await gateway.end('SIGTERM'), 0);
  });
});
