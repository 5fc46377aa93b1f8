// Responsible for the gateway that is killed at a failpoint: how each is reached, what must have become of the desktop
// afterwards, and that nothing else is left. Each is tried twice, since another gateway takes over or the same one comes back,
// and starts a third time, since somebody may stop at another gateway what is just being started. A removal is also tried with
// its container gone, as if it had got that far.

import assert from 'node:assert/strict';

import { until } from '../e2e/support/wait.js';
import { setAside } from './homes.js';
import { Installation, NETWORKS_MS, TWO_PERIODS_MS, see, start, template } from './support/installation.js';
import { within } from './support/scene.js';

const STANDING = 'standing at a failpoint';

/** A request whose gateway dies before it answers. */
function send(call) {
  call.catch(() => {});
}

/** What leads to a failpoint whose name begins like this, and what the row is to say in the end (`none`: there is none). */
const WAYS = {
  start: {
    act: (client) => send(client.post('/api/container/start', { template: 'desktop' })),
    ends: () => 'running',
  },
  warm: {
    warm: 1,
    // The last one's desktop is still there when this one comes.
    before: (client) => start(client).then((id) => client.post('/api/container/stop', { id })),
    act: async (client, gateway) => {
      await gateway.hasReady(1);
      send(client.post('/api/container/start', { template: 'desktop' }));
    },
    ends: () => 'running',
  },
  pool: { warm: 1, act: () => {}, ends: () => 'none' },
  stop: {
    act: async (client) => {
      const id = await start(client);
      send(client.post('/api/container/stop', { id }));
    },
    ends: () => 'stopped',
  },
  remove: {
    act: async (client) => {
      const id = await start(client);
      send(client.post('/api/container/remove', { id }));
    },
    ends: (point) => (point === 'remove.done' ? 'none' : 'stopped'),
  },
  pull: {
    more: ({ registry }, name) => template('pulled', { image: `"${registry.image(name)}"`, pull: '"missing"' }),
    act: (client) => send(client.post('/api/container/start', { template: 'pulled' })),
    ends: () => 'running',
  },
  reset: {
    keepsHomes: true,
    act: async (client) => {
      const id = await start(client, 'homely');
      await client.get(`/desktop/${id}/write/before`);
      send(client.post('/api/container/reset', { template: 'homely' }));
    },
    ends: () => 'running',
    // The home stays aside, with what is in it; the desktop that has it is its person's until they let go of it.
    after: async (client, installation) => {
      const id = await start(client, 'homely');
      assert.equal((await client.get(`/desktop/${id}/read`)).body, 'before');
      const removed = await client.post('/api/container/remove', { id });
      assert.equal(removed.status, 200, removed.body);
      assert.equal((await client.get(`/desktop/${await start(client, 'homely')}/read`)).body, 'nothing');
      assert.deepEqual(await setAside(installation), ['before']);
    },
  },
  fail: {
    act: (client) => send(client.post('/api/container/start', { template: 'silent' })),
    ends: () => 'error',
  },
  pause: {
    settings: { DESKTOP_IDLE_PAUSE: '2s' },
    act: (client) => start(client),
    ends: () => 'paused',
  },
  wake: {
    settings: { DESKTOP_IDLE_PAUSE: '2s' },
    act: async (client, gateway) => {
      const id = await start(client);
      await gateway.said('desktop paused');
      send(client.get(`/desktop/${id}/`));
    },
    ends: () => 'paused',
  },
};

/** What may follow a failpoint. */
export function waysOn(point) {
  if (/^(start|warm|pull)[.]/.test(point)) return ['takeover', 'restart', 'overtaken'];
  return point === 'remove.stopped' ? ['takeover', 'restart', 'halfway'] : ['takeover', 'restart'];
}

/** One failpoint, one way to go on; returns a line for the table. */
export async function killedAt(point, how, world) {
  const way = WAYS[point.split('.')[0]];
  assert.ok(way, `nobody knows how to reach ${point}`);
  const name = `${point}-${how}`;
  const installation = await Installation.create(name, world, { ...way, more: way.more?.(world, name) });
  return within({ installation, way, world }, (scene) => killed(point, how, scene));
}

/** The network of a container that was never made is removed, when it cannot be on its way any more. */
export async function lostNetwork(world) {
  const made = await Installation.create('network', world, { warm: 1 });
  return within({ installation: made }, async ({ installation }) => {
    const armed = await installation.gateway('armed', { failpoint: 'pool.network' });
    await armed.said(STANDING);
    await armed.kill();
    await installation.gateway('next');
    assert.equal((await installation.lostNetworks()).length, 1, 'there is something to remove');
    const begun = performance.now();
    await installation.noLostNetworks(NETWORKS_MS);
    await installation.clean();
    return `removed after ${((performance.now() - begun) / 1000).toFixed(0)} s`;
  });
}

async function killed(point, how, { way, installation, world }) {
  let secret;
  if (way.before) {
    const before = await installation.gateway('before');
    secret = await installation.person('pupil');
    await way.before(before.client(secret));
    await before.kill('SIGTERM');
  }
  const armed = await installation.gateway('armed', { failpoint: point });
  secret ??= await installation.person('pupil');
  const other = ['restart', 'halfway'].includes(how) ? undefined : await installation.gateway('other');
  await way.act(armed.client(secret), armed);
  await armed.said(STANDING);
  if (how === 'overtaken') {
    const { id } = (await installation.rows()).at(-1);
    const stopped = await other.client(secret).post('/api/container/stop', { id });
    assert.equal(stopped.status, 200, stopped.body);
  }
  await armed.kill();
  // What removes a container removes its network next, and may be killed in between.
  if (how === 'halfway') await world.engine.remove((await installation.rows()).at(-1).container);
  const next = other ?? (await installation.gateway('next'));

  const end = how === 'overtaken' ? 'stopped' : way.ends(point);
  const begun = performance.now();
  const row = async () => (await installation.rows()).at(-1)?.status ?? 'none';
  await until(`${point}: ${end}`, async () => (await row()) === end, { within: TWO_PERIODS_MS, every: 200 });
  await installation.clean();
  const took = performance.now() - begun;

  // Its user goes on as if nothing had been, and leaves nothing behind.
  const client = next.client(secret);
  await way.after?.(client, installation);
  const id = await start(client);
  await see(client, id);
  const removed = await client.post('/api/container/remove', { id });
  assert.equal(removed.status, 200, removed.body);
  await installation.clean();
  return `${end}, all agreed after ${(took / 1000).toFixed(1)} s`;
}
