// Responsible for HTTP without a browser: a program that talks to the gateway over TLS, and that can sign in at
// the demo provider by filling in its form.

import http from 'node:http';
import https from 'node:https';

const ANSWER_MS = 30_000;

/** Makes one request and returns `{status, headers, body, json()}`; follows nothing and keeps nothing. */
export function request(url, { method = 'GET', headers = {}, body, agent } = {}) {
  const target = new URL(url);
  const { request: send } = target.protocol === 'https:' ? https : http;
  // The demo's certificate is self-signed.
  const options = { method, headers, agent, rejectUnauthorized: false, timeout: ANSWER_MS };
  return new Promise((resolve, reject) => {
    const sent = send(target, options, (answer) => {
      const chunks = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: answer.statusCode, headers: answer.headers, body: text, json: () => JSON.parse(text) });
      });
    });
    sent.on('error', reject);
    sent.on('timeout', () => sent.destroy(new Error(`${method} ${url}: no answer within ${ANSWER_MS} ms`)));
    sent.end(body);
  });
}

/** The session id that the gateway gives its cookie. */
export const SESSION_COOKIE = '__Host-Http-session';

/** The API as one session may use it. */
export class Client {
  /** `auth` makes the headers that say who asks. */
  constructor(origin, auth, agent) {
    Object.assign(this, { origin, auth, agent });
  }

  static bearer(origin, secret, agent) {
    return new Client(origin, { Authorization: `Bearer ${secret}` }, agent);
  }

  static sessionId(origin, secret) {
    return new Client(origin, { 'X-Session-ID': secret });
  }

  static cookie(origin, secret) {
    return new Client(origin, { Cookie: `${SESSION_COOKIE}=${secret}` });
  }

  get(path, headers = {}) {
    return request(this.origin + path, { headers: { ...this.auth, ...headers }, agent: this.agent });
  }

  /** Sends `body` as JSON; a string is sent as it is. */
  post(path, body = {}, headers = {}) {
    return this.#send('POST', path, body, headers);
  }

  put(path, body = {}, headers = {}) {
    return this.#send('PUT', path, body, headers);
  }

  delete(path, headers = {}) {
    return request(this.origin + path, { method: 'DELETE', headers: { ...this.auth, ...headers }, agent: this.agent });
  }

  #send(method, path, body, headers) {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const all = { ...this.auth, 'Content-Type': 'application/json', ...headers };
    return request(this.origin + path, { method, headers: all, body: text, agent: this.agent });
  }

  /** The session's desktops. */
  async list() {
    const answer = await this.get('/api/container/list');
    if (answer.status !== 200) throw new Error(`list: ${answer.status} ${answer.body}`);
    return answer.json().containers;
  }
}

/** Signs in at the demo provider without a browser and returns the secret of the session. */
export async function signIn(origin, username) {
  const jar = new Map();
  const step = async (url, options = {}) => {
    const cookies = [...jar.values()].filter((cookie) => cookie.origin === new URL(url).origin);
    const header = cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
    const headers = { ...options.headers, ...(header && { Cookie: header }) };
    const answer = await request(url, { ...options, headers });
    for (const set of answer.headers['set-cookie'] ?? []) {
      const [, name, value] = set.match(/^([^=]+)=([^;]*)/);
      jar.set(`${new URL(url).origin} ${name}`, { origin: new URL(url).origin, name, value });
    }
    return answer;
  };
  const redirected = async (url, options) => {
    const answer = await step(url, options);
    if (![302, 303].includes(answer.status)) throw new Error(`${url}: ${answer.status} instead of a redirect`);
    return new URL(answer.headers.location, url).href;
  };

  const authorize = await redirected(`${origin}/login`);
  const form = (await step(authorize)).body;
  const handle = form.match(/name="handle" value="([^"]+)"/)?.[1];
  if (!handle) throw new Error(`the provider shows no login form: ${form.slice(0, 500)}`);
  const back = await redirected(new URL('/authorize', authorize).href, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-www-form-urlencoded', Origin: new URL(authorize).origin },
    body: new URLSearchParams({ handle, username, password: username }).toString(),
  });
  await redirected(back);
  const secret = jar.get(`${origin} ${SESSION_COOKIE}`)?.value;
  if (!secret) throw new Error('the gateway set no session cookie');
  return secret;
}

/** An answer without what differs between any two requests. */
export function comparable(answer) {
  const requestId = answer.body.match(/(?:urn:uuid:|<code>)([0-9a-f-]{36})/)?.[1];
  const hide = (text) => (requestId ? text.replaceAll(requestId, 'REQUEST-ID') : text);
  const headers = Object.entries(answer.headers).filter(([name]) => name !== 'date');
  return {
    status: answer.status,
    headers: Object.fromEntries(headers.map(([name, value]) => [name, hide(String(value))])),
    body: hide(answer.body),
  };
}
