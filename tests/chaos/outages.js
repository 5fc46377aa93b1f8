// Responsible for what happens around gateways that live: somebody meddles with their containers, the engine stops or hangs,
// many want the same at once.

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';

import { until } from '../e2e/support/wait.js';
import { TWO_PERIODS_MS, see, start } from './support/installation.js';
import { OUTAGE_MS, SILENCE_MS, goOn, seconds, two, within } from './support/scene.js';
import { Stream } from './support/stream.js';

const ASK_MS = 500;

/** Containers are removed, killed and stopped behind the gateways' backs, one of them in the middle of its start. */
export async function meddled(world) {
  return within(await two('meddled', world, { people: 4 }), async (scene) => {
    const { installation, pupils } = scene;
    const { containers } = await world.engine.inventory(installation.instance);
    const of = (pupil) => containers.find((one) => one.desktop === pupil.id).id;
    await world.engine.remove(of(pupils[0]));
    await world.engine.call('POST', `/containers/${of(pupils[1])}/kill`);
    await world.engine.call('POST', `/containers/${of(pupils[2])}/pause`);
    const silent = pupils[3].client.post('/api/container/start', { template: 'silent' });
    const begun = async () => {
      const all = await world.engine.inventory(installation.instance);
      return all.containers.find((one) => one.state === 'running' && !containers.some(({ id }) => id === one.id));
    };
    const made = await until('it is being started', begun, { within: TWO_PERIODS_MS });
    await world.engine.remove(made.id);
    const startedId = (await silent).json().container.id;
    // What is removed is killed first, which may be all that a gateway sees.
    const may = [['disappeared', 'ended'], ['ended'], ['disappeared', 'ended_starting']];
    const rows = async () => {
      const all = await installation.rows();
      const failed = [pupils[0].id, pupils[1].id, startedId].map((id) => all.find((row) => row.id === id));
      const agree = failed.every((row, at) => row.status === 'error' && may[at].includes(row.reason));
      const slept = all.find((row) => row.id === pupils[2].id).status === 'paused';
      return (agree && slept) || Promise.reject(new Error(JSON.stringify(all)));
    };
    await until('the rows tell it', rows, { within: TWO_PERIODS_MS, every: 200 });
    const took = await installation.clean();
    for (const pupil of pupils.slice(0, 2)) {
      const page = await pupil.client.get(`/desktop/${pupil.id}/`);
      assert.notEqual(page.status, 200, 'a desktop that is gone shows nothing');
    }
    // The frozen one wakes.
    await see(pupils[2].client, pupils[2].id);
    await goOn(scene);
    return `noticed, all agreed after ${seconds(took)}`;
  });
}

/** A desktop that ends at once: its user reads what it wrote last, at either gateway. */
export async function endsAtOnce(world) {
  return within(await two('broken', world, { people: 0 }), async ({ installation, gateways }) => {
    const secret = await installation.person('pupil');
    const clients = gateways.map((gateway) => gateway.client(secret));
    const answer = await clients[0].post('/api/container/start', { template: 'broken' }, { Prefer: 'wait=20' });
    assert.ok([200, 201].includes(answer.status), answer.body);
    for (const client of clients) {
      const [told] = await client.list();
      assert.deepEqual([told.status, told.status_reason_code], ['error', 'ended_starting'], JSON.stringify(told));
      assert.match(told.status_detail, /exit code 3[^]*this desktop is broken/);
    }
    await installation.clean();
    await goOn({ installation, pupils: [{ client: clients[1] }] });
    return 'ended_starting, with its last line';
  });
}

/** Fifty starts of one person over two gateways. */
export async function fifty(world) {
  return within(await two('fifty', world, { people: 0 }), async ({ installation, gateways }) => {
    const secret = await installation.person('pupil');
    const clients = gateways.map((gateway) => gateway.client(secret));
    const starts = Array.from({ length: 50 }, (_, number) =>
      clients[number % 2].post('/api/container/start', { template: 'desktop' }, { Prefer: 'wait=20' }),
    );
    const answers = await Promise.all(starts);
    const statuses = answers.map((answer) => answer.status);
    assert.deepEqual(new Set(statuses), new Set([200, 201]), answers.find((one) => one.status > 201)?.body);
    assert.equal(statuses.filter((status) => status === 201).length, 1, 'one of them made it');
    const ids = new Set(answers.map((answer) => answer.json().container.id));
    assert.equal(ids.size, 1, 'all have the same');
    await installation.clean();
    const { containers } = await world.engine.inventory(installation.instance);
    assert.equal(containers.length, 1);
    await see(clients[1], [...ids][0]);
    await goOn({ installation, pupils: [{ client: clients[0] }] });
    return 'one 201, 49 times 200, one container';
  });
}

/** The gateway that leads stands still for 20 s, in the middle of starts, and then goes on where it was. */
export async function frozen(world) {
  return within(await two('frozen', world), async (scene) => {
    const { installation, gateways, pupils } = scene;
    const [leader, other] = gateways;
    const late = await Promise.all(['a', 'b', 'c', 'd'].map((name) => installation.person(`late-${name}`)));
    const ask = (secret) => leader.client(secret).post('/api/container/start', { template: 'desktop' });
    const answered = Promise.allSettled(late.map(ask));
    const recorded = async () => (await installation.rows()).length === pupils.length + late.length;
    await until('all starts are recorded', recorded, { every: 20 });
    await leader.kill('SIGSTOP', false);
    const begun = performance.now();
    const finished = async () => (await installation.rows()).every((row) => row.status === 'running');
    await until('the other one finishes them', finished, { within: TWO_PERIODS_MS, every: 200 });
    const took = performance.now() - begun;
    await pause(Math.max(OUTAGE_MS - took, 0));
    await leader.kill('SIGCONT', false);
    await answered;
    await pause(2000);
    await installation.clean();
    assert.ok(await finished(), 'whoever comes back leaves alone what the other one finished');
    const all = [...pupils, ...late.map((secret) => ({ client: other.client(secret) }))];
    await goOn({ installation, pupils: all });
    return `taken over after ${seconds(took)}`;
  });
}

/** Asks both gateways for the portal's page and one's desktops, for so long; which statuses came, and the longest wait for one. */
async function portal(gateways, secret, lasts) {
  const [seen, end] = [new Set(), performance.now() + lasts];
  let slowest = 0;
  do {
    const asked = gateways.flatMap((gateway) => [gateway.page(secret), gateway.client(secret).get('/api/container/list')]);
    const begun = performance.now();
    for (const answer of await Promise.all(asked)) seen.add(answer.status ?? answer);
    slowest = Math.max(slowest, performance.now() - begun);
    await pause(ASK_MS);
  } while (performance.now() < end);
  return { seen: [...seen], slowest: Math.round(slowest) };
}

/** What is true of a desktop that ran until its engine ended, however its processes ended then: nobody logged out inside. */
const WITH_ENGINE = ['engine_restarted'];
/** One that is killed may have lost them before, and not know how they ended. */
const WITH_KILLED_ENGINE = ['engine_restarted', 'ended', 'disappeared'];
/** What is true of a start that an engine was missing for; `silent` is what its template makes of the one. */
const NOT_STARTED = ['engine_unavailable', 'engine_failed', 'ended_starting', 'silent'];

/** What rows say after an engine's outage has to be true: desktops ended for one of these reasons, or none of them did. */
async function trueReasons({ installation, pupils }, ended) {
  const rows = await installation.rows();
  const may = (row, reasons) => {
    const fits = ['stopped', 'error'].includes(row.status) && reasons.includes(row.reason);
    assert.ok(fits, `${row.template} ${row.status} (${row.reason}), not ${reasons}`);
  };
  const [left, stopped, watched, removed, gentle] = pupils.map(({ id }) => rows.find((row) => row.id === id));
  for (const row of [left, watched, gentle]) {
    if (ended.length) may(row, ended);
    else assert.equal(row.status, 'running', row.reason);
  }
  // What is asked for in the moment in which the engine ends may come too late.
  for (const row of [stopped, removed].filter(Boolean)) may(row, ['asked', ...ended]);
  const begun = rows.filter((row) => !pupils.some(({ id }) => id === row.id));
  for (const row of begun.filter(({ status }) => status !== 'running')) may(row, [...NOT_STARTED, ...ended]);
  return rows.map((row) => `${row.status}${row.reason ? ` (${row.reason})` : ''}`).join(', ');
}

/** The engine goes away in this way and comes back; a start and a stop are asked for meanwhile, at the gateway that follows. */
export async function withoutEngine(how, world) {
  const { engine } = world;
  const ways = {
    restarted: { away: () => engine.end('SIGTERM'), lasts: 0, back: () => engine.up(), ended: WITH_ENGINE },
    killed: { away: () => engine.end('SIGKILL'), lasts: 0, back: () => engine.up(), ended: WITH_KILLED_ENGINE },
    stopped: { away: () => engine.end('SIGTERM'), lasts: OUTAGE_MS, back: () => engine.up(), ended: WITH_ENGINE },
    // Its containers run on.
    hung: { away: () => engine.freeze(), lasts: OUTAGE_MS, back: () => engine.thaw(), ended: [] },
  };
  const { away, lasts, back, ended } = ways[how];
  const livesOn = ended.length === 0;
  return within(await two(`engine-${how}`, world, { people: 4 }), async (scene) => {
    const { installation, gateways, pupils } = scene;
    const late = await installation.person('late');
    // One whose processes end in good order when they are asked to.
    const client = gateways[0].client(await installation.person('gentle'));
    pupils.push({ client, id: await start(client, 'gentle') });
    const { gateway, secret, id } = pupils[2];
    const stream = await Stream.open(gateway, secret, id);
    const silent = Promise.allSettled([pupils[0].client.post('/api/container/start', { template: 'silent' })]);
    await pause(200);
    await away();
    const calls = [
      gateways[1].client(late).post('/api/container/start', { template: 'desktop' }),
      pupils[1].client.post('/api/container/stop', { id: pupils[1].id }),
      pupils[3].client.post('/api/container/remove', { id: pupils[3].id }),
    ];
    const answers = Promise.all(calls.map((call) => call.then(({ status }) => status, (error) => error.message)));
    const { seen, slowest } = await portal(gateways, secret, lasts);
    await back();
    const took = await installation.clean();
    const [start_, stop, remove] = await answers;
    await silent;
    assert.deepEqual(seen, [200], 'the portal answers without an engine');
    assert.ok(slowest < SILENCE_MS, `the portal took ${slowest} ms`);
    const states = await trueReasons(scene, ended);
    const { silence, open } = stream.close();
    assert.equal(open, livesOn, 'a stream is open for as long as its desktop runs');
    if (livesOn) assert.ok(silence < SILENCE_MS, `a stream was silent for ${silence} ms`);
    for (const gateway of gateways) {
      await until('a start is possible', async () => (await gateway.client(late).get('/readyz')).status === 200);
    }
    await goOn({ installation, pupils: [...pupils, { client: gateways[1].client(late) }] });
    const answered = `start ${start_}, stop ${stop}, remove ${remove}; portal within ${slowest} ms`;
    return `${answered}; rows ${states}; agreed after ${seconds(took)}`;
  });
}
