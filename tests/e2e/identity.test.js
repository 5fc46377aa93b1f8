// Responsible for identity over time, against a certified OpenID provider: login, the rotation of refresh tokens and of
// keys while people are signed in, logout that begins here and logout that begins there.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Gateway } from './support/gateway.js';
import { SESSION_COOKIE } from './support/http.js';
import { CLIENT, IdentityProvider, Visitor } from './support/provider.js';
import { until } from './support/wait.js';

const RECHECK_S = 2;
const CUT_MS = 1000;

let gateway;
let provider;

before(async () => {
  gateway = await Gateway.start('identity', async (own) => {
    own.command = ['serve'];
    // The provider would not trust a self-signed certificate when it calls us.
    own.origin = `http://localhost:${own.port}`;
    provider = await IdentityProvider.start(own.origin);
    return {
      PUBLIC_URL: own.origin,
      LISTEN: `127.0.0.1:${own.port}`,
      METRICS_LISTEN: 'off',
      TLS: 'off',
      SECRET_KEY: 'a-secret-key-for-tests-of-identity',
      OAUTH_ISSUER: provider.issuer,
      OAUTH_CLIENT_ID: CLIENT.id,
      OAUTH_CLIENT_SECRET: CLIENT.secret,
      OAUTH_SCOPES: 'openid profile groups offline_access',
      ROLE_TEACHER: 'teachers',
      IDENTITY_RECHECK: `${RECHECK_S}s`,
    };
  });
});

after(async () => {
  await gateway?.clear();
  await provider?.stop();
});

/** Signs somebody in and returns them, with what the gateway says of them. */
async function signIn(name, groups = []) {
  provider.accounts.set(name, groups);
  const visitor = new Visitor(name);
  const answer = await visitor.follow(`${gateway.origin}/login`, `${gateway.origin}/authorize`);
  assert.equal(answer.status, 302, answer.body);
  return visitor;
}

async function session(visitor) {
  const answer = await visitor.step(`${gateway.origin}/session`);
  return answer.status === 200 ? answer.json() : null;
}

function secret(visitor) {
  return [...visitor.cookies.values()].find(({ name }) => name === SESSION_COOKIE)?.value;
}

describe('identity, at a certified provider', () => {
  test('a person signs in, and is asked about again with one new token after the other', async () => {
    const anna = await signIn('anna', ['teachers']);
    const { user } = await session(anna);
    assert.equal(user.username, 'anna');
    assert.equal(user.role, 'teacher');
    // The provider ends a grant whose token is shown twice, and then nobody would be signed in.
    const before = provider.refreshes();
    await until('three rotations', () => provider.refreshes() >= before + 3, { within: 30_000 });
    assert.ok(await session(anna));
  });

  test('a role that is lost at the provider is lost here', async () => {
    const ben = await signIn('ben', ['teachers']);
    provider.accounts.set('ben', []);
    await until('the role is gone', async () => (await session(ben)).user.role === 'student', { within: 15_000 });
  });

  test('new keys, of another kind, are found without a failed login', async () => {
    const cleo = await signIn('cleo');
    for (const kind of ['ES256', 'RS256']) {
      provider.rotate(kind);
      assert.ok(await session(await signIn(`dora-${kind}`)));
      const before = provider.refreshes();
      await until('another rotation', () => provider.refreshes() > before + 2, { within: 30_000 });
      assert.ok(await session(cleo), kind);
      // New keys are asked for once in five seconds.
      await new Promise((resolve) => setTimeout(resolve, 5_000));
    }
  });

  test('who is locked out at the provider is signed out here', async () => {
    const emil = await signIn('emil');
    provider.accounts.delete('emil');
    await until('the session ends', async () => (await session(emil)) === null, { within: 15_000 });
    assert.match(await gateway.logged(), /session ended by the OpenID provider/);
  });

  test('a logout here ends the session there too', async () => {
    const fritz = await signIn('fritz');
    const program = { 'X-Session-ID': secret(fritz) };
    const out = await fritz.step(`${gateway.origin}/logout`, { method: 'POST', headers: program });
    assert.equal(out.status, 200, out.body);
    assert.equal(await session(fritz), null);
    const url = out.json().logout_url;
    assert.ok(url.startsWith(provider.issuer), url);
    const back = await fritz.follow(url, `${gateway.origin}/`);
    assert.equal(new URL(back.url).searchParams.get('state'), 'signed-out');
    // Without a session there, the next login asks for the name again.
    const begin = await fritz.step(`${gateway.origin}/login`);
    const form = await fritz.step(begin.headers.location);
    const page = await fritz.step(new URL(form.headers.location, begin.headers.location).href);
    assert.match(page.body, /name="login"/);
  });

  test('a logout there ends the session here, by the back channel', async () => {
    const greta = await signIn('greta');
    const other = await signIn('hans');
    const before = provider.loggedOut.length;
    await greta.follow(`${provider.issuer}/session/end`, `${provider.issuer}/session/end/success`);
    const begun = performance.now();
    await until('the session ends', async () => (await session(greta)) === null, { within: 5_000 });
    assert.ok(performance.now() - begun < CUT_MS);
    assert.deepEqual(provider.loggedOut.slice(before), ['success']);
    assert.ok(await session(other));
  });
});
