// Responsible for the certified OpenID provider that the identity story signs in at (npm `oidc-provider`), with accounts
// that can be locked out, keys that can be rotated, and a count of what it was asked; and for a person without a
// browser, who follows redirects and fills in the provider's forms.

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

import { request } from './http.js';

export const CLIENT = { id: 'deskgate', secret: 'a-client-secret-for-tests' };
const MAX_STEPS = 20;

function signingKey(kind) {
  const pair = kind === 'RS256' ? ['rsa', { modulusLength: 2048 }] : ['ec', { namedCurve: 'P-256' }];
  const { privateKey } = generateKeyPairSync(...pair);
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: kind, kid: randomUUID() };
}

/** A provider on loopback whose sessions, grants and tokens outlive a change of its keys. */
export class IdentityProvider {
  /** Names of those who exist, with their groups. */
  accounts = new Map();

  /** The grant types of the token answers it gave, oldest first. */
  granted = [];

  /** How its logout calls to us ended, oldest first. */
  loggedOut = [];

  static async start(origin) {
    const provider = new IdentityProvider();
    provider.origin = origin;
    provider.server = createServer((incoming, answer) => provider.handler(incoming, answer));
    await new Promise((resolve) => provider.server.listen(0, '127.0.0.1', resolve));
    provider.issuer = `http://localhost:${provider.server.address().port}`;
    provider.rotate('RS256');
    return provider;
  }

  /** Signs with a new key of this algorithm from now on; the old key is gone. */
  rotate(kind) {
    const provider = new Provider(this.issuer, {
      clients: [
        {
          client_id: CLIENT.id,
          client_secret: CLIENT.secret,
          redirect_uris: [`${this.origin}/authorize`],
          post_logout_redirect_uris: [`${this.origin}/`],
          grant_types: ['authorization_code', 'refresh_token'],
          id_token_signed_response_alg: kind,
          backchannel_logout_uri: `${this.origin}/backchannel-logout`,
          backchannel_logout_session_required: true,
        },
      ],
      jwks: { keys: [signingKey(kind)] },
      cookies: { keys: ['a-cookie-key-for-tests'] },
      claims: { openid: ['sub'], profile: ['preferred_username', 'name'], groups: ['groups'] },
      features: { backchannelLogout: { enabled: true }, devInteractions: { enabled: true } },
      pkce: { required: () => true },
      rotateRefreshToken: true,
      findAccount: (_, sub) => this.#account(sub),
    });
    provider.on('grant.success', (ctx) => this.granted.push(ctx.oidc.params.grant_type));
    provider.on('backchannel.success', () => this.loggedOut.push('success'));
    provider.on('backchannel.error', (_, error) => this.loggedOut.push(error.message));
    this.handler = provider.callback();
  }

  #account(sub) {
    const groups = this.accounts.get(sub);
    if (!groups) return undefined;
    const claims = () => ({ sub, preferred_username: sub, name: `Person ${sub}`, groups: this.accounts.get(sub) ?? [] });
    return { accountId: sub, claims };
  }

  /** How many people were asked about again. */
  refreshes() {
    return this.granted.filter((type) => type === 'refresh_token').length;
  }

  stop() {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(resolve));
  }
}

/** Somebody with cookies and without a browser. */
export class Visitor {
  cookies = new Map();

  constructor(name) {
    this.name = name;
  }

  async step(url, options = {}) {
    const { host } = new URL(url);
    const own = [...this.cookies.values()].filter((cookie) => cookie.host === host);
    const header = own.map(({ name, value }) => `${name}=${value}`).join('; ');
    const headers = { ...options.headers, ...(header && { Cookie: header }) };
    const answer = await request(url, { ...options, headers });
    for (const set of answer.headers['set-cookie'] ?? []) {
      const [, name, value] = set.match(/^([^=]+)=([^;]*)/);
      const key = `${host} ${name}`;
      if (value === '' || /expires=Thu, 01 Jan 1970|max-age=0/i.test(set)) this.cookies.delete(key);
      else this.cookies.set(key, { host, name, value });
    }
    return answer;
  }

  /** Goes where it is sent, fills in what it is asked, and returns the first answer under `until`. */
  async follow(url, until) {
    let next = { url };
    for (let steps = 0; steps < MAX_STEPS; steps += 1) {
      const answer = await this.step(next.url, next.options);
      if (next.url.startsWith(until)) return { ...answer, url: next.url };
      next = answer.headers.location
        ? { url: new URL(answer.headers.location, next.url).href }
        : this.#fillIn(next.url, answer.body);
    }
    throw new Error(`no end of the way from ${url}`);
  }

  /** The answer to a form of the provider: its hidden fields, the name, and consent. */
  #fillIn(url, page) {
    const action = page.match(/<form[^>]*action="([^"]+)"/)?.[1];
    if (!action) throw new Error(`${url} shows no form: ${page.slice(0, 500)}`);
    const fields = new URLSearchParams();
    for (const [input] of page.matchAll(/<input[^>]*type="hidden"[^>]*>/g)) {
      fields.set(input.match(/name="([^"]+)"/)[1], input.match(/value="([^"]*)"/)?.[1] ?? '');
    }
    if (/name="login"/.test(page)) {
      fields.set('login', this.name);
      fields.set('password', this.name);
    }
    if (/name="logout"/.test(page)) fields.set('logout', 'yes');
    return {
      url: new URL(action, url).href,
      options: {
        method: 'POST',
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        body: fields.toString(),
      },
    };
  }
}
