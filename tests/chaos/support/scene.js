// Responsible for what stories have in common: two gateways on one database with people on both, and what has to go well again
// afterwards.

import assert from 'node:assert/strict';

import { Installation, see, start } from './installation.js';

/** How long an open desktop may be silent: its echo comes every tenth of a second, and the machine may be busy. */
export const SILENCE_MS = 5_000;

/** Two gateways on one database, and people with a running desktop each, on the one and on the other. */
export async function two(name, world, { people = 2, settings = {} } = {}) {
  const installation = await Installation.create(name, world, { settings });
  const gateways = [await installation.gateway('one'), await installation.gateway('two')];
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
