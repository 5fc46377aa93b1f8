// Responsible for what stories have in common: two gateways on one database with people on both, and what has to go well again
// afterwards.

import assert from 'node:assert/strict';

import { until } from '../../e2e/support/wait.js';
import { Installation, see, start } from './installation.js';
import { Events, Stream } from './stream.js';

/** How long what fails is away. */
export const OUTAGE_MS = 20_000;
/** How long an open desktop may be silent: its echo comes every tenth of a second, and the machine may be busy. */
export const SILENCE_MS = 5_000;
/** Within what time a session that ended elsewhere ends here (`authn/session.rs`), on a machine that may be busy. */
const REVOKED_MS = 1_000 + 2_000;
/** The reaper's period (`desktop/reaper.rs`) and the retention of those who ask, twice. */
const REAPED_MS = 30_000;

/** Two gateways on one database, and people with a running desktop each, on the one and on the other. */
export async function two(name, world, { people = 2, environments = [], ...options } = {}) {
  const installation = await Installation.create(name, world, options);
  const [first, second] = environments;
  const gateways = [
    await installation.gateway('one', { environment: first }),
    await installation.gateway('two', { environment: second }),
  ];
  const pupils = [];
  for (let number = 0; number < people; number += 1) {
    const [secret, gateway] = [await installation.person(`pupil-${number}`), gateways[number % 2]];
    const client = gateway.client(secret);
    pupils.push({ secret, gateway, client, id: await start(client) });
  }
  return { installation, gateways, pupils };
}

/** Every pupil has a desktop again, and takes it away. */
export async function goOn({ installation, pupils }) {
  for (const { client } of pupils) {
    const id = await start(client);
    await see(client, id);
    const removed = await client.post('/api/container/remove', { id });
    assert.equal(removed.status, 200, removed.body);
  }
  await installation.clean();
}

/** Tells a story and leaves nothing behind, however it ends. */
export async function within(scene, story) {
  let line;
  try {
    line = await story(scene);
  } catch (error) {
    await scene.installation.close();
    throw error;
  }
  await scene.installation.leave();
  return line;
}

export const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

/** What is done at one gateway is told at the other. */
export async function hearEachOther(installation, here, there) {
  const secret = await installation.person('heard');
  const events = await Events.open(there, secret);
  const client = here.client(secret);
  const id = await start(client);
  await events.told(id, 'running', SILENCE_MS);
  const removed = await client.post('/api/container/remove', { id });
  assert.equal(removed.status, 200, removed.body);
  await events.told(id, 'removed', SILENCE_MS);
  events.close();
}

/** A session that is ended at one gateway ends its stream at the other; how long that took, in milliseconds. */
export async function revoke(installation, here, there) {
  const secret = await installation.person('revoked');
  const id = await start(here.client(secret));
  const stream = await Stream.open(there, secret, id);
  await until('the stream answers', () => stream.echoes > 0);
  const ended = await here.client(secret).delete('/api/sessions');
  assert.equal(ended.status, 200, ended.body);
  const begun = performance.now();
  await until('the stream elsewhere ends', () => !stream.open, { within: REVOKED_MS, every: 10 });
  const took = Math.round(performance.now() - begun);
  stream.close();
  assert.equal((await there.client(secret).get('/api/container/list')).status, 401);
  return took;
}

/** What has stopped is removed by whoever leads, where `STOPPED_RETENTION` is short; how long that took, in milliseconds. */
export async function reap(installation, gateway) {
  const client = gateway.client(await installation.person('reaped'));
  const id = await start(client);
  const stopped = await client.post('/api/container/stop', { id });
  assert.equal(stopped.status, 200, stopped.body);
  const begun = performance.now();
  const gone = async () => !(await installation.rows()).some((row) => row.id === id);
  await until('the reaper removes a stopped desktop', gone, { within: REAPED_MS, every: 200 });
  return performance.now() - begun;
}
