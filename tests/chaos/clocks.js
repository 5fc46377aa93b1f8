// Responsible for clocks that are wrong: set, set in the middle of a start, and unlike between gateways. What runs goes on, and
// nothing is ended or removed for an age that it does not have.

import assert from 'node:assert/strict';
import { rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { until } from '../e2e/support/wait.js';
import { setAside, withOldHome } from './homes.js';
import { see } from './support/installation.js';
import { SILENCE_MS, goOn, hearEachOther, revoke, two, within } from './support/scene.js';
import { Stream } from './support/stream.js';

/** A look of the reaper and one of the reconciler that follows the engine. */
const LOOK_MS = 11_000;
/** How long the slow template takes, and more. */
const SLOW_MS = 15_000;
/** A period of what removes old homes (`app.rs`), and more. */
const HOMES_MS = 35_000;
const LIMITS = { DESKTOP_IDLE_PAUSE: '30m', DESKTOP_IDLE_STOP: '1h', DESKTOP_MAX_LIFETIME: '2h', SESSION_IDLE: '12h' };

/** A clock that is set: gateways with `environment` go by it. */
class Clock {
  static async at(name, offset = '+0') {
    const clock = new Clock();
    clock.file = path.join(process.env.DESKGATE_CHAOS_DIR, `clock-${name}`);
    await clock.set(offset);
    return clock;
  }

  get environment() {
    return {
      LD_PRELOAD: process.env.DESKGATE_CHAOS_FAKETIME,
      FAKETIME_TIMESTAMP_FILE: this.file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    };
  }

  async set(offset) {
    // It is read all the time, and never half.
    await writeFile(`${this.file}.new`, `${offset}\n`);
    await rename(`${this.file}.new`, this.file);
  }
}

async function stillThere({ installation, pupils }, when) {
  for (const { client, id } of pupils) await see(client, id);
  const states = (await installation.rows()).map((row) => row.status);
  assert.deepEqual(new Set(states), new Set(['running']), `${when}: ${states}`);
  await installation.clean();
}

function neverSilent(streams) {
  const heard = streams.map((stream) => stream.close());
  for (const { silence, open } of heard) assert.ok(open && silence < SILENCE_MS, JSON.stringify(heard));
}

const watched = (pupils) => Promise.all(pupils.map(({ gateway, secret, id }) => Stream.open(gateway, secret, id)));

/** The clock of both gateways is set by so much. */
export async function clockSet(world) {
  const clock = await Clock.at('set');
  const settings = { ...clock.environment, ...LIMITS };
  return within(await two('clock', world, { settings }), async (scene) => {
    const streams = await watched(scene.pupils);
    for (const offset of ['+5h', '-5h', '+0']) {
      await clock.set(offset);
      await pause(LOOK_MS);
      await stillThere(scene, `after the clock was set to ${offset}`);
    }
    neverSilent(streams);
    await goOn(scene);
    return 'five hours forward, back and right again: both desktops ran on, their streams too';
  });
}

/** The gateways' clocks are ten minutes apart, on both sides of the database's and the engine's. */
export async function clocksApart(world) {
  const clocks = await Promise.all([Clock.at('ahead', '+5m'), Clock.at('behind', '-5m')]);
  const environments = clocks.map((clock) => clock.environment);
  return within(await two('clocks', world, { settings: LIMITS, environments }), async (scene) => {
    const { installation, gateways, pupils } = scene;
    const streams = await watched(pupils);
    await pause(LOOK_MS);
    await stillThere(scene, 'with clocks apart');
    // Each is served by the other one as well.
    for (const [number, { secret, id }] of pupils.entries()) await see(gateways[1 - number].client(secret), id);
    const waits = [];
    for (const [here, there] of [gateways, gateways.toReversed()]) {
      await hearEachOther(installation, here, there);
      waits.push(await revoke(installation, here, there));
    }
    neverSilent(streams);
    await installation.clean();
    await goOn(scene);
    return `both desktops ran on, revoked elsewhere within ${Math.max(...waits)} ms`;
  });
}

/** The clock is set while a desktop is being started: it neither takes too long nor comes too late. */
export async function clockSetInStart(world) {
  const clock = await Clock.at('start');
  const settings = { ...clock.environment, ...LIMITS };
  return within(await two('clock-start', world, { settings, people: 0 }), async ({ installation, gateways }) => {
    for (const [number, offset] of ['+5h', '-5h', '+0'].entries()) {
      const client = gateways[number % 2].client(await installation.person(`pupil-${number}`));
      const started = await client.post('/api/container/start', { template: 'slow' });
      assert.equal(started.status, 201, started.body);
      const { id } = started.json().container;
      const row = async () => (await installation.rows()).find((one) => one.id === id);
      await until('its container runs', async () => (await row()).status === 'starting', { every: 20 });
      await clock.set(offset);
      const runs = async () => {
        const { status, reason } = await row();
        assert.ok(['starting', 'running'].includes(status), `${status} (${reason}) after ${offset}`);
        return status === 'running';
      };
      await until(`it runs, set to ${offset}`, runs, { within: SLOW_MS, every: 100 });
      await see(client, id);
    }
    await pause(LOOK_MS);
    const states = (await installation.rows()).map((row) => row.status);
    assert.deepEqual(states, ['running', 'running', 'running']);
    await installation.clean();
    return 'five hours forward, back and right again, each during a start: all three run';
  });
}

/** The clock is forty days ahead for a while, longer than homes that were set aside are kept. */
export async function clockFarAhead(world) {
  const clock = await Clock.at('far');
  const settings = { ...clock.environment, HOME_RETENTION: '30d' };
  return within(await two('clock-far', world, { settings, people: 0, keepsHomes: true }), async ({ installation, gateways }) => {
    const secret = await withOldHome(installation, gateways[0], 'kept');
    for (const offset of ['+40d', '+0']) {
      await clock.set(offset);
      await pause(HOMES_MS);
      assert.deepEqual(await setAside(installation), ['kept'], `after the clock was set to ${offset}`);
    }
    // Whoever was signed in need not be any more.
    const client = gateways[1].client(await installation.person('later'));
    await goOn({ installation, pupils: [{ client }] });
    const { status } = await gateways[0].client(secret).get('/api/container/list');
    return `a home that was set aside is kept; a session from before gets ${status}`;
  });
}
