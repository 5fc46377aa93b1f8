// Responsible for where people are sent: whatever a link says about where to return to, and however an address is
// written, the browser stays with the gateway and the OpenID provider. Chromium decides where an address leads, not a
// reading of it; a foreign server counts who comes.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Collector } from './hostile/collector.js';
import { launch, Person } from './support/browser.js';
import { Gateway } from './support/gateway.js';

// For a script or a second redirect to do what it may.
const SETTLE_MS = 100;

/** Addresses of `evil`, a host with its port, as somebody writes them who wants them taken for a path here. */
const foreign = (evil) => ({
  'an address': `https://${evil}/`,
  'without scheme': `//${evil}/`,
  'three slashes': `///${evil}/`,
  'four slashes': `////${evil}/`,
  'backslashes': `\\\\${evil}/`,
  'slash and backslash': `/\\${evil}/`,
  'slash, tab, slash': `/\t/${evil}/`,
  'slash, newline, slash': `/\r\n/${evil}/`,
  'a leading space': ` //${evil}/`,
  'a leading control character': `\u0001//${evil}/`,
  'scheme without slashes': `https:${evil}/`,
  'scheme with one slash': `https:/${evil}/`,
  'climbing': `/..//${evil}/`,
  'standing still': `/.//${evil}/`,
  'climbing in code': `/%2e%2e//${evil}/`,
  'climbing out of a desktop': `/desktop/..//${evil}/`,
  'climbing with a backslash': `/..\\/${evil}/`,
  'slashes in code': `/%2f${evil}/`,
  'slashes in double code': `/%252f${evil}/`,
  'a backslash in code': `/%5c${evil}/`,
  'wide slashes': `／／${evil}/`,
  'a user’s name': `@${evil}/`,
  'the end of our host': `.${evil}/`,
  'our port and more': `:443@${evil}/`,
  'a second header': `/\r\nLocation: https://${evil}/`,
  'javascript:': `javascript:location='https://${evil}/'`,
  'data:': `data:text/html,<script>location='https://${evil}/'</script>`,
});

let gateway;
let collector;
let browser;
let plain;

before(async () => {
  gateway = await Gateway.start('returns', (own) => {
    // Next to the provider's.
    plain = `http://localhost:${own.port + 2}`;
    return { HTTP_LISTEN: `127.0.0.1:${own.port + 2}` };
  });
  const [cert, key] = await Promise.all(
    ['tls.crt', 'tls.key'].map((name) => readFile(path.join(gateway.data, name))),
  );
  collector = await Collector.listen({ cert, key });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await collector?.close();
  await gateway?.clear();
});

/** Lets the page come to rest, and asserts that it is here and that nobody has been elsewhere. */
async function isHere(page, what) {
  await page.waitForTimeout(SETTLE_MS);
  assert.equal(new URL(page.url()).origin, gateway.origin, `${what}: ${page.url()}`);
  assert.deepEqual(collector.take().seen, [], what);
}

const login = (to) => `${gateway.origin}/login?return_to=${encodeURIComponent(to)}`;

describe('where people are sent', () => {
  test('after a login', async () => {
    for (const [what, to] of Object.entries(foreign(collector.host))) {
      const person = await Person.arrive(browser, gateway.origin);
      const page = await person.page();
      await page.goto(login(to));
      await page.getByTestId('account-student').click();
      await page.waitForURL(`${gateway.origin}/**`);
      await isHere(page, what);
      assert.ok(await person.secret(), `${what}: signed in`);
      await person.context.close();
    }
  });

  test('by a link to the login for somebody who is signed in', async () => {
    const person = await Person.arrive(browser, gateway.origin);
    const page = await person.signIn('student');
    for (const [what, to] of Object.entries(foreign(collector.host))) {
      await page.goto(login(to));
      await isHere(page, what);
      await page.goto(`${gateway.origin}/login?return_to=/account&return_to=${encodeURIComponent(to)}`);
      await isHere(page, `${what}, the second of two`);
    }
    await page.goto(login('/account?a=b'));
    assert.equal(page.url(), `${gateway.origin}/account?a=b`, 'a good address is kept');
    await person.context.close();
  });

  test('by a link to a page, and by its sign-in', async () => {
    const person = await Person.arrive(browser, gateway.origin);
    const page = await person.page();
    for (const [what, to] of Object.entries(foreign(collector.host))) {
      const address = `${gateway.origin}/${to.replaceAll(/[\r\n\t]/g, '')}`;
      await page.goto(address).catch((error) => assert.match(error.message, /ERR_/, what));
      await isHere(page, what);
    }
    await person.context.close();
  });

  test('from a desktop’s address without the slash', async () => {
    const person = await Person.arrive(browser, gateway.origin);
    const page = await person.signIn('student');
    for (const id of ['nobody', `..%2f..%2f${collector.host}`, `%2f%2f${collector.host}`, `%5c${collector.host}`]) {
      await page.goto(`${gateway.origin}/desktop/${id}`);
      await isHere(page, id);
    }
    await person.context.close();
  });

  test('from plain HTTP to HTTPS', async () => {
    const person = await Person.arrive(browser, gateway.origin);
    const page = await person.page();
    for (const [what, to] of Object.entries(foreign(collector.host))) {
      await page.goto(`${plain}/${to.replaceAll(/[\r\n\t]/g, '')}`).catch((error) => assert.match(error.message, /ERR_/, what));
      if (page.url().startsWith('chrome-error:')) continue;
      await isHere(page, what);
    }
    await person.context.close();
  });

  test('the foreign server is one that Chromium reaches', async () => {
    const person = await Person.arrive(browser, gateway.origin);
    const page = await person.page();
    // Last, since it asks for its icon when it likes.
    await page.goto(collector.url);
    assert.ok(collector.take().seen.includes('GET /'));
    await person.context.close();
  });
});
