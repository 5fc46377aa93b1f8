// Responsible for what people keep: a home is there at whichever gateway the next desktop is started, a reset sets the old one
// aside with all that is in it.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';

import { start } from './support/installation.js';
import { two, within } from './support/scene.js';

/** What the person's desktop has in its home, or what it writes there. */
async function note(client, id, target) {
  const page = await client.get(`/desktop/${id}/${target}`);
  assert.equal(page.status, 200, page.body);
  return page.body;
}

async function call(client, act, body) {
  const answer = await client.post(`/api/container/${act}`, body);
  assert.equal(answer.status, 200, answer.body);
}

/** The homes that were set aside, each with the word in it, oldest first. */
export async function setAside(installation) {
  const old = await installation.query('SELECT volume FROM old_homes ORDER BY retired_at');
  const read = async ([volume]) => {
    const { status, body } = await installation.engine.call('GET', `/volumes/${volume}`);
    return status === 200 ? readFile(path.join(body.Mountpoint, 'note'), 'utf8') : 'removed';
  };
  return Promise.all(old.map(read));
}

/** Somebody with a word in a home that was set aside. */
export async function withOldHome(installation, gateway, word) {
  const secret = await installation.person(word);
  const client = gateway.client(secret);
  const id = await start(client, 'homely');
  await note(client, id, `write/${word}`);
  await call(client, 'reset', { template: 'homely' });
  return secret;
}

/** Homes go with people from one gateway to the other, whatever became of the desktop and of the gateway. */
export async function homesFollow(world) {
  return within(await two('homes', world, { people: 0, keepsHomes: true }), async ({ installation, gateways }) => {
    const [secret, other] = [await installation.person('pupil'), await installation.person('other')];
    const [one, two_] = gateways.map((gateway) => gateway.client(secret));
    let id = await start(one, 'homely');
    assert.equal(await note(one, id, 'read'), 'nothing');
    await note(one, id, 'write/first');
    await call(one, 'stop', { id });
    id = await start(two_, 'homely');
    assert.equal(await note(two_, id, 'read'), 'first', 'after a stop');
    await note(two_, id, 'write/second');
    await call(two_, 'remove', { id });
    id = await start(one, 'homely');
    assert.equal(await note(one, id, 'read'), 'second', 'after a removal');
    // Nobody else sees it.
    const theirs = gateways[1].client(other);
    assert.equal(await note(theirs, await start(theirs, 'homely'), 'read'), 'nothing');
    // Neither does who gets a new one, and it is kept.
    await call(two_, 'reset', { template: 'homely' });
    assert.ok(!(await installation.rows()).some((row) => row.id === id), 'the desktop with the old home is gone');
    id = await start(one, 'homely');
    assert.equal(await note(one, id, 'read'), 'nothing', 'after a reset');
    await note(one, id, 'write/third');
    assert.deepEqual(await setAside(installation), ['second']);
    // A gateway that is killed takes nobody's home along.
    await gateways[0].kill();
    await call(two_, 'remove', { id });
    id = await start(two_, 'homely');
    assert.equal(await note(two_, id, 'read'), 'third', 'after the gateway was killed');
    await call(two_, 'reset', { template: 'homely' });
    assert.deepEqual(await setAside(installation), ['second', 'third']);
    await installation.clean();
    return 'found again after stop, removal and the death of a gateway; two set aside, with what was in them';
  });
}
