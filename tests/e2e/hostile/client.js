// Responsible for the other side of confinement: the client of an ordinary desktop works under it.

import assert from 'node:assert/strict';
import path from 'node:path';

import { picture } from '../support/browser.js';
import { fileIn, processes } from '../support/engine.js';
import { artifacts } from '../support/gateway.js';
import { until } from '../support/wait.js';

const START_MS = 60_000;
const INPUT_MS = 30_000;
const FILE = '/tmp/typed-by-the-test';

/** Starts the demo desktop as the victim and uses it. */
export async function clientWorks(lab) {
  const started = await lab.client.post('/api/container/start', { template: 'desktop' }, { Prefer: 'wait=60' });
  const { container } = started.json();
  assert.equal(container?.status, 'running', started.body);
  const person = await lab.victim('confined');
  try {
    const page = await person.page();
    await page.goto(`${lab.origin}/desktop/${container.id}/`);
    const shown = await person.followToPicture(page, START_MS);
    await until('its WebSocket carries traffic', () => person.openSocket(page), { within: START_MS });
    await types(page, container.container_id);
    assert.ok((await picture(page)).colours >= shown.colours / 2, 'the picture is still there');
    await page.screenshot({ path: path.join(await artifacts(), 'hostile-innocent.png') });
    // Resources that broke off because a container came or went are nobody's violation.
    const complaints = person.reports.filter(
      ({ kind, text }) => kind === 'error' || /content.security.policy|violates|blocked/i.test(text),
    );
    assert.deepEqual(
      complaints.map(({ text, source }) => `${text} (${source})`),
      [],
    );
  } finally {
    await person.context.close();
    await lab.client.post('/api/container/remove', { id: container.id });
  }
}

/** Opens a terminal by its shortcut and types a line into it, which leaves a file. */
async function types(page, container) {
  const shells = async () => (await processes(container)).filter((name) => name === 'bash').length;
  const before = await shells();
  await page.locator('#noVNC_container canvas').click({ position: { x: 640, y: 400 } });
  await until(
    'a terminal opens',
    async () => {
      if ((await shells()) > before) return true;
      await page.keyboard.press('Control+Alt+t');
      return until('its shell runs', async () => (await shells()) > before, { within: 8000 });
    },
    { within: INPUT_MS },
  );
  await until(
    'the terminal takes a line',
    async () => {
      await page.keyboard.type(`echo typed > ${FILE}\n`, { delay: 10 });
      return until('its effect is seen', async () => (await fileIn(container, FILE)) === 'typed', { within: 2000 });
    },
    { within: INPUT_MS },
  );
}
