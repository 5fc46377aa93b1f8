// Responsible for images that are really fetched, from a registry that is slow and breaks off, and for an engine whose disk is
// full.

import assert from 'node:assert/strict';
import path from 'node:path';

import { until } from '../e2e/support/wait.js';
import { see, start, template } from './support/installation.js';
import { Registry } from './support/registry.js';
import { goOn, seconds, two, within } from './support/scene.js';
import { Events } from './support/stream.js';

/** Layers of noise, so that a pull takes some seconds. */
const SLOW = { layers: 3, bytes: 2 << 20, speed: 1 << 19 };
/** What the engine pauses before it asks again for a layer that broke off, and the pull itself. */
const PULL_MS = 60_000;
const ASK_MS = 200;

const pulled = (image) => template('pulled', { image: `"${image}"`, pull: '"missing"' });

/** The percentages that somebody's page was told, each once. */
const told = (events) => [...new Set(events.messages.filter(({ progress }) => progress?.step === 'pulling').map(({ progress }) => progress.percent))];

/** Three people want a desktop at two gateways whose image is not there, and the registry breaks off. */
export async function imagePulled(world) {
  const registry = await Registry.start(path.join(process.env.DESKGATE_CHAOS_DIR, 'registry-slow'), SLOW);
  try {
    const more = pulled(registry.image('slow'));
    return await within(await two('pull', world, { people: 0, more }), async ({ installation, gateways }) => {
      const broken = registry.layers.at(-1);
      registry.cutOnce(broken);
      const people = [];
      for (const [number, at] of [0, 0, 1].entries()) {
        const secret = await installation.person(`pupil-${number}`);
        // Each listens at both gateways, whichever fetches for them.
        const events = await Promise.all(gateways.map((gateway) => Events.open(gateway, secret)));
        people.push({ secret, events, client: gateways[at].client(secret) });
      }
      const begun = performance.now();
      const answers = await Promise.all(people.map(({ client }) => client.post('/api/container/start', { template: 'pulled' })));
      assert.deepEqual(answers.map(({ status }) => status), [201, 201, 201], answers[0].body);
      const ids = answers.map((answer) => answer.json().container.id);
      const asked = gateways.map(() => new Set());
      const running = async () => {
        for (const [number, gateway] of gateways.entries()) {
          const answer = await gateway.client(people[0].secret).get(`/api/container/status?id=${ids[0]}`);
          const { progress } = answer.json();
          if (progress?.step === 'pulling') asked[number].add(progress.percent);
        }
        const rows = await installation.rows();
        assert.ok(rows.every(({ status }) => status !== 'error'), JSON.stringify(rows));
        return rows.every(({ status }) => status === 'running');
      };
      await until('all three have a desktop', running, { within: PULL_MS, every: ASK_MS });
      const took = performance.now() - begun;
      const between = (percents) => [...percents].filter((percent) => percent > 0 && percent < 100);
      for (const percents of [...asked, ...people.flatMap(({ events }) => events.map(told))]) {
        assert.ok(between(percents).length >= 2, `how far it was: ${[...percents]}`);
      }
      // One fetch for all: each layer once, and the one that broke off from where it did.
      for (const layer of registry.layers.filter((one) => one !== broken)) {
        assert.deepEqual(registry.fetches(layer).map(({ from }) => from), [0], 'a layer is fetched once');
      }
      const resumed = registry.fetches(broken).map(({ from }) => from);
      assert.ok(resumed.some((from) => from > 0), `the engine goes on where it broke off: ${resumed}`);
      const sent = registry.layers.flatMap((layer) => registry.fetches(layer)).reduce((sum, fetch) => sum + fetch.sent, 0);
      const size = registry.layers.reduce((sum, layer) => sum + layer.size, 0);
      assert.ok(sent < 1.5 * size, `${sent} bytes were sent of ${size}`);
      for (const { events } of people) for (const one of events) one.close();
      for (const [number, { client }] of people.entries()) await see(client, ids[number]);
      await installation.clean();
      await goOn({ installation, pupils: people });
      const seen = between(told(people[0].events[0])).join(', ');
      return `three desktops after ${seconds(took)} and one fetch, ${Math.round((100 * sent) / size)} % sent; percent ${seen}`;
    });
  } finally {
    registry.close();
  }
}

/** The engine's disk is full: a start says so, with an image that is there and with one that is not, and goes well later. */
export async function diskFull(world) {
  const registry = await Registry.start(path.join(process.env.DESKGATE_CHAOS_DIR, 'registry-full'), { bytes: 4 << 20 });
  try {
    const more = pulled(registry.image('full'));
    return await within(await two('disk', world, { people: 2, more }), async (scene) => {
      const { installation, gateways, pupils } = scene;
      const late = await installation.person('late');
      const clients = gateways.map((gateway) => gateway.client(late));
      await world.engine.fill();
      const reasons = [];
      try {
        for (const [number, wanted] of ['desktop', 'pulled'].entries()) {
          const answer = await clients[number].post('/api/container/start', { template: wanted }, { Prefer: 'wait=60' });
          const { container } = answer.json();
          const [status, reason] = [container.status, container.status_reason_code];
          assert.deepEqual([status, reason], ['error', 'disk_full'], `${wanted}: ${answer.body}`);
          assert.equal(container.status_detail, null, 'paths of the engine are for admins');
          reasons.push(`${wanted} ${status} (${reason})`);
        }
        // Whoever has a desktop keeps it.
        for (const { client, id } of pupils) await see(client, id);
      } finally {
        await world.engine.free();
      }
      for (const wanted of ['desktop', 'pulled']) {
        const id = await start(clients[0], wanted);
        await see(clients[1], id);
        await clients[1].post('/api/container/remove', { id });
      }
      const took = await installation.clean();
      await goOn(scene);
      return `${reasons.join(', ')}; both start when there is room, agreed after ${seconds(took)}`;
    });
  } finally {
    registry.close();
  }
}
