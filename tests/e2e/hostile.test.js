// Responsible for a desktop that its user, or somebody else, has made hostile: whatever it serves, it must not act as
// the victim on the portal, on another desktop or anywhere else. Every attack is tried twice in a real browser: behind
// the gateway, where it must leave no trace on any server, and without confinement, where it must leave one, so that
// the test is known to notice. What is known not to hold is listed as open, with the reason.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { calls } from './hostile/attacks/calls.js';
import { hints } from './hostile/attacks/hints.js';
import { cookies, storage } from './hostile/attacks/jar.js';
import { reading } from './hostile/attacks/reading.js';
import { redirects } from './hostile/attacks/redirects.js';
import { windows } from './hostile/attacks/windows.js';
import { documents, serviceWorkers, workers } from './hostile/attacks/workers.js';
import { clientWorks } from './hostile/client.js';
import { makeImage, removeImage } from './hostile/desktop.js';
import { Lab } from './hostile/lab.js';
import { controlFaults, faults, hasControl } from './hostile/verdict.js';
import { headersStay, nothingGoesUp, policyOnEverything, portalMay } from './hostile/wire.js';
import { artifacts } from './support/gateway.js';

// Each has a gateway and desktops of its own, since the servers' logs are what counts.
const LANES = ['hostile', 'hostile-2', 'hostile-3'];
const CLIENT_MS = 120_000;
// A busy machine takes its time. The confined attack gets as much of it as the unconfined one needed to succeed.
const PATIENCE = [1, 4, 12];
const ATTACKS = {
  'calls of gateway, desktops and foreign servers': calls,
  'the start page and its token': reading,
  'workers and worklets': workers,
  'service workers': serviceWorkers,
  documents: documents,
  'redirects of the desktop': redirects,
  'windows and the own tab': windows,
  'hints, headers and side channels': hints,
  cookies: cookies,
  'the origin’s storage': storage,
};
const image = `deskgate/test-hostile:${process.env.DESKGATE_E2E_RUN ?? randomBytes(4).toString('hex')}`;
// Only attacks whose names match, for working on one of them.
const only = new RegExp(process.env.DESKGATE_E2E_ATTACKS ?? '');

const free = [];
const labs = [];
const waiting = [];
const table = [];

before(async () => {
  await makeImage(image);
  for (const story of LANES) labs.push(await Lab.open(story, image));
  free.push(...labs);
});

after(async () => {
  await writeFile(path.join(await artifacts(), 'hostile.json'), JSON.stringify(table, null, 2));
  for (const lab of labs) await lab.close();
  await removeImage(image);
});

/** Lends a lab to `work`, one to each at a time. */
async function inLab(work) {
  const lab = free.pop() ?? (await new Promise((resolve) => waiting.push(resolve)));
  try {
    return await work(lab);
  } finally {
    const next = waiting.shift();
    if (next) next(lab);
    else free.push(lab);
  }
}

/** Runs an attack that should leave traces, if need be with more patience, and says how much it took. */
async function insist(wrong, run) {
  for (const patience of PATIENCE) {
    const done = await run(patience);
    if (patience === PATIENCE.at(-1) || wrong(done.trespasses).length === 0) return [done, patience];
  }
}

function attackTest(group, attack) {
  const { name, expect = 'blocked', why } = attack;
  test(expect === 'blocked' ? name : `${name} [${expect}]`, (t) =>
    inLab(async (lab) => {
      const row = { group, name, expect, why };
      table.push(row);
      const found = [];
      let patience;
      if (hasControl(attack)) {
        const wrong = (trespasses) => controlFaults(attack, trespasses);
        [row.unconfined, patience] = await insist(wrong, (more) => lab.run(attack, 'unconfined', more));
        found.push(...wrong(row.unconfined.trespasses).map((fault) => `control group: ${fault}`));
        row.confined = await lab.run(attack, 'confined', patience);
      } else if (['open', 'refused'].includes(expect)) {
        [row.confined] = await insist(
          (traces) => faults(attack, traces),
          (more) => lab.run(attack, 'confined', more),
        );
      } else {
        row.confined = await lab.run(attack, 'confined');
      }
      found.push(...faults(attack, row.confined.trespasses));
      row.passed = found.length === 0;
      if (why) t.diagnostic(`${row.confined.trespasses.join('; ')} (${why})`);
      assert.deepEqual(found, [], `the script says ${JSON.stringify(row.confined.outcome)}`);
    }),
  );
}

for (const [group, attacks] of Object.entries(ATTACKS)) {
  describe(group, { concurrency: LANES.length }, () => {
    for (const attack of attacks.filter(({ name }) => only.test(name))) attackTest(group, attack);
  });
}

describe('on the wire', () => {
  test('no header that acts beyond its desktop reaches the browser', () => inLab(headersStay));
  test('every answer of a desktop carries the gateway’s policy', () => inLab(policyOnEverything));
  test('a desktop learns nothing of its user’s browser', () => inLab(nothingGoesUp));
});

describe('what the tests rely on', () => {
  test('the portal’s own page may do what attacks must not', () => inLab(portalMay));
});

describe('the innocent desktop', () => {
  test('shows its picture, takes input and breaks no policy', { timeout: CLIENT_MS }, () => inLab(clientWorks));
});
