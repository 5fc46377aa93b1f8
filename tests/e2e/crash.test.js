// Responsible for what a gateway that was killed leaves behind: the next one adopts or removes it, so that rows and
// containers agree again, the person's session goes on, and the desktop can be used.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { Gateway } from './support/gateway.js';
import { Client, signIn } from './support/http.js';
import { until } from './support/wait.js';

const DELAYS_MS = [30, 100, 200, 350, 600];
const AGREE_MS = 30_000;

let gateway;
let client;

before(async () => {
  gateway = await Gateway.start('crash');
  client = Client.bearer(gateway.origin, await signIn(gateway.origin, 'student'));
});

after(() => gateway?.clear());

/** Sends a request and kills the gateway so much later, whether it has answered or not. */
async function killDuring(call, delay) {
  const answer = call().then(
    ({ status }) => status,
    (error) => error.code,
  );
  await pause(delay);
  assert.equal(await gateway.end('SIGKILL'), 'SIGKILL');
  return answer;
}

async function containers() {
  return gateway.installation.containers();
}

/** True if every container belongs to a running row and every running row has its container. */
async function agreed() {
  const rows = await client.list();
  if (rows.some((row) => row.status !== 'running')) return false;
  const pairs = (list) => JSON.stringify(list.sort());
  const running = (await containers()).map(({ id, state, desktop }) => [desktop, id, state]);
  return pairs(running) === pairs(rows.map((row) => [row.id, row.container_id, 'running'])) && { rows };
}

async function startedAndServed() {
  const answer = await client.post('/api/container/start', {}, { Prefer: 'wait=30' });
  assert.ok([200, 201].includes(answer.status), answer.body);
  const { container } = answer.json();
  assert.equal(container.status, 'running');
  const page = await client.get(`/desktop/${container.id}/`);
  assert.equal(page.status, 200, page.body);
  assert.match(page.body, /noVNC/);
  return container.id;
}

for (const delay of DELAYS_MS) {
  test(`killed ${delay} ms after a start was asked for`, async (t) => {
    const answered = await killDuring(() => client.post('/api/container/start'), delay);
    const left = (await containers()).map(({ state }) => state).join() || 'none';
    t.diagnostic(`answer to the start: ${answered}; containers left: ${left}`);
    await gateway.up();
    const { rows } = await until('rows and containers agree', agreed, { within: AGREE_MS, every: 100 });
    if (answered === 201) assert.equal(rows.length, 1, 'a start that was promised is carried through');

    const id = await startedAndServed();
    if (rows.length) assert.equal(id, rows[0].id, 'it is the same desktop');
    assert.equal((await containers()).length, 1, 'there is no second one');
    assert.equal((await client.post('/api/container/remove', { id })).status, 200);
    assert.deepEqual(await containers(), []);
  });
}

test('killed while a desktop runs', async () => {
  const id = await startedAndServed();
  await gateway.end('SIGKILL');
  await gateway.up();
  const page = await client.get(`/desktop/${id}/`);
  assert.equal(page.status, 200, 'it is there at once');
  await until('rows and containers agree', agreed, { within: AGREE_MS, every: 100 });
});

for (const delay of [10, 150]) {
  test(`killed ${delay} ms after a stop was asked for`, async (t) => {
    const id = await startedAndServed();
    const answered = await killDuring(() => client.post('/api/container/stop', { id }), delay);
    t.diagnostic(`answer to the stop: ${answered}`);
    await gateway.up();
    await until(
      'the stop is carried through',
      async () => {
        const [row] = await client.list();
        const states = (await containers()).map(({ state }) => state).join();
        return row.id === id && row.status === 'stopped' && states === 'exited';
      },
      { within: AGREE_MS, every: 100 },
    );
  });
}

test('a container that ended while no gateway ran is noticed', async () => {
  const id = await startedAndServed();
  await gateway.end('SIGKILL');
  await gateway.installation.remove();
  await gateway.up();
  await until(
    'the row says that its container is gone',
    async () => {
      const row = (await client.list()).find((one) => one.id === id);
      return row.status === 'error' && row.status_reason;
    },
    { within: AGREE_MS, every: 100 },
  );
  await startedAndServed();
});

test('the gateway stops cleanly and its desktops go on', async () => {
  assert.equal(await gateway.end('SIGTERM'), 0);
  assert.equal((await containers()).filter(({ state }) => state === 'running').length, 1);
});
