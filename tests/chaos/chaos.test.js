// Responsible for the order of the chaos suite: what may happen side by side, what has the engine to itself, and the table of
// what was seen. See `tests/chaos/run --help`.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { clockFarAhead, clockSet, clockSetInStart, clocksApart } from './clocks.js';
import { withoutAnswer, withoutDatabase } from './databases.js';
import { killedAt, lostNetwork, waysOn } from './failpoints.js';
import { homesFollow } from './homes.js';
import { diskFull, imagePulled } from './images.js';
import { endsAtOnce, fifty, frozen, meddled, withoutEngine } from './outages.js';
import { Installation } from './support/installation.js';
import { Registry } from './support/registry.js';
import { Engine, Postgres } from './support/world.js';

/** Scenarios at the same time: they wait more than they work. */
const LANES = 8;
/** How a database may be away. */
const OUTAGES = ['stopped', 'hung', 'lost'];
const ONLY = new RegExp(process.env.DESKGATE_CHAOS_ONLY ?? '');

const table = [];
let engine;
let registry;
let worlds;

/** The names of all failpoints, which a gateway tells that is armed with none of them. */
async function failpoints() {
  const environment = { ...process.env, DESKGATE_FAILPOINT: '?', OAUTH_ISSUER: 'https://id.test', OAUTH_CLIENT_ID: 'chaos' };
  const settings = { PUBLIC_URL: 'https://desk.test', SECRET_KEY: 'an-entirely-secret-key-for-the-chaos-suite' };
  const options = { env: { ...environment, ...settings }, cwd: process.env.DESKGATE_CHAOS_DIR, timeout: 10_000 };
  const ended = await promisify(execFile)(process.env.DESKGATE_BIN, ['serve'], options).catch((error) => error);
  const list = /DESKGATE_FAILPOINT is none of (.*)/.exec(ended.stderr ?? '');
  assert.ok(list, `this gateway has no failpoints, as one of a release build: ${ended.stderr}`);
  return list[1].trim().split(', ');
}

before(async () => {
  const below = (name) => path.join(process.env.DESKGATE_CHAOS_DIR, name);
  engine = await Engine.start(below('engine'));
  // The others are for those who stop them.
  const names = ['calm', ...OUTAGES];
  const servers = await Promise.all(names.map((name, number) => Postgres.start(below(name), 5432 + number)));
  registry = await Registry.start(below('registry'));
  worlds = Object.fromEntries(names.map((name, number) => [name, { engine, registry, postgres: servers[number] }]));
});

after(async () => {
  const width = Math.max(...table.map(({ title }) => title.length), 0);
  const lines = table.map(({ title, line, took }) => `${title.padEnd(width)}  ${took.padStart(6)}  ${line}`);
  console.log(`\n${lines.join('\n')}\n`);
  registry?.close();
  await engine?.end('SIGTERM');
});

/** Runs the stories whose titles are wanted, or all, so many at a time, each as a test of its own. */
async function stories(t, list, lanes, { always = false } = {}) {
  const waiting = list.filter(({ title }) => always || ONLY.test(title));
  const lane = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { title, story } = next;
      await t.test(title, async () => {
        const begun = performance.now();
        const line = await story();
        table.push({ title, line, took: `${((performance.now() - begun) / 1000).toFixed(1)} s` });
      });
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

test('gateways are killed, and what is around them fails', { concurrency: LANES + OUTAGES.length + 1 }, async (t) => {
  const killed = (await failpoints()).flatMap((point) =>
    waysOn(point).map((how) => ({
      title: `killed at ${point}, ${how}`,
      story: () => killedAt(point, how, worlds.calm),
    })),
  );
  const aside = [
    { title: 'clock set', story: () => clockSet(worlds.calm) },
    { title: 'clock set in a start', story: () => clockSetInStart(worlds.calm) },
    { title: 'clock forty days ahead for a while', story: () => clockFarAhead(worlds.calm) },
    { title: 'clocks of gateways apart', story: () => clocksApart(worlds.calm) },
    { title: 'gateway frozen for 20 s', story: () => frozen(worlds.calm) },
    { title: 'fifty starts of one person', story: () => fifty(worlds.calm) },
    { title: 'containers meddled with', story: () => meddled(worlds.calm) },
    { title: 'homes over two gateways', story: () => homesFollow(worlds.calm) },
    { title: 'image pulled from a registry that breaks off', story: () => imagePulled(worlds.calm) },
    { title: 'desktop that ends at once', story: () => endsAtOnce(worlds.calm) },
    { title: 'tables locked for 20 s', story: () => withoutAnswer('there', worlds.calm) },
    ...killed,
  ];
  // One after the other at each server.
  const databases = OUTAGES.map((how) => [
    { title: `database ${how} for 20 s`, story: () => withoutDatabase(how, worlds[how]) },
    { title: `database ${how} for 20 s, statements under way`, story: () => withoutAnswer(how, worlds[how]) },
  ]);
  const patient = stories(t, [{ title: 'network without a desktop', story: () => lostNetwork(worlds.calm) }], 1);
  await Promise.all([stories(t, aside, LANES), ...databases.map((list) => stories(t, list, 1))]);
  const engines = ['restarted', 'killed', 'stopped', 'hung'].map((how) => ({
    title: `engine ${how}${['stopped', 'hung'].includes(how) ? ' for 20 s' : ''}`,
    story: () => withoutEngine(how, worlds.calm),
  }));
  // These have the engine to themselves, but for the one that waits.
  const full = { title: 'disk of the engine full', story: () => diskFull(worlds.calm) };
  await stories(t, [...engines, full], 1);
  await patient;
  // Networks may be minutes behind, so that each is waited for once, and for all of them together.
  const sweep = { title: 'networks of all stories', story: () => Installation.sweep() };
  await stories(t, [sweep], 1, { always: true });
});
