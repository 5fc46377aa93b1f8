// Responsible for the database that crashes, hangs or is lost around gateways that live, and for what has to go well again
// afterwards: that gateways hear of each other, that a session that ends ends everywhere, that the leader reaps.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';

import { until } from '../e2e/support/wait.js';
import { TWO_PERIODS_MS } from './support/installation.js';
import { OUTAGE_MS, SILENCE_MS, goOn, hearEachOther, reap, revoke, seconds, two, within } from './support/scene.js';
import { Events, Stream, handshake } from './support/stream.js';

const ASK_MS = 500;
/** So that there is something to reap soon. */
const SETTINGS = { STOPPED_RETENTION: '5s' };

/** Asks with a session that nobody has, over and over; `stop()` tells which answers came. */
function stranger(gateways, id) {
  const [secret, seen] = [randomBytes(32).toString('base64url'), new Set()];
  let going = true;
  const asking = (async () => {
    while (going) {
      const asked = gateways.flatMap((gateway) => [
        gateway.client(secret).get(`/desktop/${id}/`).then(({ status }) => status),
        gateway.client(secret).get('/api/container/list').then(({ status }) => status),
        handshake(gateway, secret, id).then(({ status }) => status),
      ]);
      for (const status of await Promise.all(asked)) seen.add(status);
      await pause(ASK_MS);
    }
  })();
  return {
    stop: async () => {
      going = false;
      await asking;
      return [...seen].sort();
    },
  };
}

/** What gateways do for each other and by themselves goes on, in both directions. `events` were open at the second one before. */
async function livesOn({ installation, gateways, pupils }, events) {
  // A page opens them again if they were closed; that they are open and silent is not to happen.
  const kept = events.open;
  const heard = kept ? events : await Events.open(gateways[1], pupils[2].secret);
  const { client, id } = pupils[2];
  const stopped = await client.post('/api/container/stop', { id });
  assert.equal(stopped.status, 200, stopped.body);
  await heard.told(id, 'stopped', SILENCE_MS);
  heard.close();
  const waits = [];
  for (const [here, there] of [gateways, gateways.toReversed()]) {
    await hearEachOther(installation, here, there);
    waits.push(await revoke(installation, here, there));
  }
  const reaped = await reap(installation, gateways[1]);
  const told = `events ${kept ? 'kept' : 'opened again'}`;
  return `${told}, revoked elsewhere within ${Math.max(...waits)} ms, reaped after ${seconds(reaped)}`;
}

const WAYS = {
  stopped: { away: (server) => server.end('immediate'), back: (server) => server.up() },
  hung: { away: (server) => server.freeze(), back: (server) => server.thaw() },
  lost: { away: (server) => server.lose(), back: (server) => server.replace() },
  // It is well and says nothing to those who want what somebody else holds.
  there: { away: () => {}, back: () => {} },
};
/** What gateways ask for all the time. */
const TABLES = 'containers, oauth_sessions, meta';
/** Statements of both gateways. */
const UNDER_WAY = 6;

/** The database crashes, hangs or is lost with its machine for 20 s, and comes back, with streams open, a start and a stop under way. */
export async function withoutDatabase(how, world) {
  const { away, back } = WAYS[how];
  return within(await two(`database-${how}`, world, { people: 4, settings: SETTINGS }), async (scene) => {
    const { installation, gateways, pupils } = scene;
    const late = await installation.person('late');
    const streams = await Promise.all(pupils.slice(0, 2).map(({ gateway, secret, id }) => Stream.open(gateway, secret, id)));
    const events = await Events.open(gateways[1], pupils[2].secret);
    const knock = stranger(gateways, pupils[0].id);
    // Under way when it happens: one that has just begun, and one that is being waited for.
    const silent = await gateways[1].client(late).post('/api/container/start', { template: 'silent' });
    assert.equal(silent.status, 201, silent.body);
    await pause(1500);
    const begun = gateways[1].client(late).post('/api/container/start', { template: 'desktop' });
    await pause(150);
    await away(world.postgres);
    const stop = pupils[3].client.post('/api/container/stop', { id: pupils[3].id });
    const answers = Promise.all([begun, stop].map((call) => call.then(({ status }) => status, (error) => error.message)));
    await pause(OUTAGE_MS);
    const known = await pupils[2].client.get('/api/container/list').then(({ status }) => status, () => 'none');
    await back(world.postgres);
    const returned = performance.now();
    const strangers = await knock.stop();
    await until('a known session is served again', async () => (await pupils[2].client.get('/api/container/list')).status === 200, {
      within: TWO_PERIODS_MS,
    });
    const served = performance.now() - returned;
    const took = await installation.clean();
    await pause(1000);
    const heard = streams.map((stream) => stream.close());
    for (const { echoes, silence, open } of heard) {
      assert.ok(open && silence < SILENCE_MS && echoes > OUTAGE_MS / 200, `a stream was cut or silent: ${JSON.stringify(heard)}`);
    }
    assert.ok(strangers.every((status) => [401, 503].includes(status)), `a stranger got ${strangers}`);
    const [started, stopped] = await answers;
    const lives = await livesOn(scene, events);
    await goOn({ installation, pupils: [...pupils, { client: gateways[0].client(late) }] });
    const silence = Math.max(...heard.map((one) => one.silence));
    const said = `start ${started}, stop ${stopped}, a known session ${known}, strangers ${strangers.join(' and ')}`;
    return `${said}; longest silence of a stream ${silence} ms; served after ${seconds(served)}, agreed after ${seconds(took)}; ${lives}`;
  });
}

/** Statements of both gateways are under way, which wait for somebody's lock, when the database crashes, hangs or is lost. */
export async function withoutAnswer(how, world) {
  const { away, back } = WAYS[how];
  const { postgres } = world;
  return within(await two(`statements-${how}`, world, { people: 4, settings: SETTINGS }), async (scene) => {
    const { installation, gateways, pupils } = scene;
    const streams = await Promise.all(pupils.slice(0, 2).map(({ gateway, secret, id }) => Stream.open(gateway, secret, id)));
    const events = await Events.open(gateways[1], pupils[2].secret);
    const holder = await postgres.hold(installation.database, TABLES);
    const asked = pupils.slice(2).map(({ client }) => client.get('/api/container/list'));
    const answers = Promise.all(asked.map((call) => call.then(({ status }) => status, (error) => error.message)));
    const all = async () => (await postgres.waiting(installation.database)) >= UNDER_WAY;
    await until('statements are under way', all, { within: OUTAGE_MS });
    await away(postgres);
    await pause(OUTAGE_MS);
    holder.kill('SIGKILL');
    await back(postgres);
    const returned = performance.now();
    const list = () => Promise.all(gateways.map((gateway) => gateway.client(pupils[2].secret).get('/api/container/list')));
    const isServed = async () => (await list()).every(({ status }) => status === 200);
    await until('a known session is served by both', isServed, { within: TWO_PERIODS_MS });
    const served = performance.now() - returned;
    const took = await installation.clean();
    const heard = streams.map((stream) => stream.close());
    for (const { silence, open } of heard) assert.ok(open && silence < SILENCE_MS, JSON.stringify(heard));
    const lives = await livesOn(scene, events);
    await goOn(scene);
    const said = `answers meanwhile ${(await answers).join(' and ')}`;
    return `${said}; served after ${seconds(served)}, agreed after ${seconds(took)}; ${lives}`;
  });
}
