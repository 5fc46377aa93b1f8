// Responsible for what crosses between browser and hostile desktop, seen without a browser: the headers of its answers,
// and what it is told of a request. Also the proof that the portal's own page may do what attacks are kept from.

import assert from 'node:assert/strict';

import { request } from '../support/http.js';

/** What a desktop says, and what of it may arrive: nothing, or only the gateway's own words. */
const MUST_STAY = {
  'Set-Cookie': '__Host-Http-session=planted; Path=/; Secure',
  'Set-Cookie2': 'x=planted',
  'Service-Worker-Allowed': '/',
  'Clear-Site-Data': '"*"',
  Refresh: '0;url=/',
  'WWW-Authenticate': 'Basic realm="your school"',
  'Proxy-Authenticate': 'Basic realm="your school"',
  'Authentication-Info': 'x',
  'Alt-Svc': 'h2="evil.example:443"',
  'Strict-Transport-Security': 'max-age=0',
  'Public-Key-Pins': 'pin-sha256="x"; max-age=9',
  'Expect-CT': 'max-age=9',
  'Report-To': '{"group":"default","max_age":9,"endpoints":[{"url":"https://evil.example/"}]}',
  'Reporting-Endpoints': 'default="https://evil.example/"',
  NEL: '{"report_to":"default","max_age":9}',
  Link: '</>; rel=preload',
  SourceMap: 'https://evil.example/',
  'Origin-Agent-Cluster': '?1',
  'Content-Security-Policy': "default-src * 'unsafe-inline' 'unsafe-eval'",
  'Content-Security-Policy-Report-Only': "default-src 'none'; report-uri https://evil.example/",
  'Access-Control-Allow-Origin': 'https://evil.example',
  'Access-Control-Allow-Credentials': 'true',
  'Access-Control-Allow-Headers': '*',
  'Access-Control-Allow-Private-Network': 'true',
  'X-Frame-Options': 'ALLOWALL',
  'Set-Login': 'logged-in',
  'Accept-CH': 'Sec-CH-UA-Model',
  'X-DNS-Prefetch-Control': 'on',
  'X-Content-Type-Options': 'sniff',
  'Referrer-Policy': 'unsafe-url',
  'Cross-Origin-Resource-Policy': 'cross-origin',
  'Keep-Alive': 'timeout=99',
  Upgrade: 'h2c',
  'Speculation-Rules': '"/rules.json"',
  'Use-As-Dictionary': 'match="/*"',
  'Secure-Session-Registration': '(ES256);path="/register";challenge="x"',
  'Sec-Session-Registration': '(ES256);path="/register";challenge="x"',
  'Permissions-Policy': 'camera=*, microphone=*, geolocation=*',
  'Attribution-Reporting-Register-Source': '{"destination":"https://evil.example"}',
  'Observe-Browsing-Topics': '?1',
  'Shared-Storage-Write': 'set;key="x";value="y"',
  'Activate-Storage-Access': 'load',
  'Critical-CH': 'Sec-CH-UA-Model',
  'Origin-Trial': 'x',
  'Integrity-Policy': 'blocked-destinations=(script), endpoints=(default)',
  'X-SourceMap': 'https://evil.example/',
  'Timing-Allow-Origin': '*',
  'X-Invented-Tomorrow': 'x',
};

/** Which of `headers` arrive as the desktop said them. */
async function arriving(lab, headers) {
  const at = `${lab.hostile.path}headers`;
  await lab.layDown(at, {
    status: 200,
    headers: [['Content-Type', 'text/html'], ...Object.entries(headers)],
    body: 'x',
  });
  const answer = await lab.client.get(at);
  assert.equal(answer.status, 200, answer.body);
  return Object.entries(headers).filter(([name, value]) => [answer.headers[name.toLowerCase()]].flat().includes(value));
}

export async function headersStay(lab) {
  assert.deepEqual(await arriving(lab, MUST_STAY), []);
}

export async function policyOnEverything(lab) {
  const { path: own } = lab.hostile;
  const missing = [];
  for (const status of [200, 201, 203, 204, 205, 206, 300, 304, 400, 403, 404, 410, 418, 429, 500, 503]) {
    for (const method of ['GET', 'HEAD', 'POST']) {
      await lab.layDown(`${own}status`, {
        status,
        headers: [['Content-Type', 'text/html']],
        body: status === 304 ? '' : 'x',
      });
      const url = `${lab.origin}${own}status`;
      const answer = await request(url, { method, headers: { ...lab.client.auth, Accept: 'text/html' } });
      const policy = answer.headers['content-security-policy'] ?? '';
      const confines = policy.startsWith('sandbox ') && policy.includes(`connect-src ${lab.origin}${own} `);
      const denies = /camera=\(\)/.test(answer.headers['permissions-policy']);
      if (answer.status !== status || !confines || !denies) missing.push(`${method} ${status}: ${answer.status} ${policy}`);
    }
  }
  assert.deepEqual(missing, []);
  // What the gateway says itself below a desktop's path allows no script of the desktop either to be inlined or framed.
  await lab.layDown(`${own}out`, { status: 302, headers: [['Location', 'https://evil.example/']], body: '' });
  const refused = await lab.client.get(`${own}out`, { Accept: 'text/html' });
  assert.equal(refused.status, 502);
  assert.equal(refused.headers.location, undefined);
  assert.match(
    refused.headers['content-security-policy'],
    /default-src 'none'; script-src 'self';.* frame-ancestors 'none'/,
  );
}

export async function nothingGoesUp(lab) {
  const { path: own } = lab.hostile;
  await lab.hostile.take();
  const forged = {
    Cookie: `__Host-Http-session=${lab.secret}; other=1`,
    'X-CSRF-Token': lab.secrets['CSRF token'],
    Referer: `${lab.origin}/secret`,
    'X-Forwarded-For': '203.0.113.9',
    Forwarded: 'for=203.0.113.9',
    'X-Real-IP': '203.0.113.9',
    'X-Anything': 'else',
  };
  await request(`${lab.origin}${own}upward?x=y`, { method: 'POST', headers: forged, body: 'the body' });
  await lab.client.get(`${own}upward`, { 'X-Session-ID': lab.secret });
  const asked = await lab.hostile.take();
  assert.deepEqual(
    asked.map(({ method, target, body }) => [method, target, body]),
    [
      ['POST', '/upward?x=y', 'the body'],
      ['GET', '/upward', ''],
    ],
  );
  const names = new Set(asked.flatMap(({ headers }) => Object.keys(headers)));
  const known = [
    'host',
    'connection',
    'authorization',
    'x-forwarded-for',
    'x-forwarded-proto',
    'x-forwarded-host',
    'forwarded',
    'accept',
    'accept-encoding',
    'cache-control',
    'content-type',
    'content-length',
    'transfer-encoding',
    'user-agent',
  ];
  assert.deepEqual(
    [...names].filter((name) => !known.includes(name)),
    [],
  );
  for (const { headers } of asked) {
    assert.match(headers.authorization, /^Basic /, 'the desktop’s own password');
    assert.equal(headers['x-forwarded-for'], '127.0.0.1');
    assert.match(headers.forwarded, /^for=127\.0\.0\.1;[^,]*$/);
    for (const [what, secret] of Object.entries(lab.secrets)) {
      assert.ok(!JSON.stringify(headers).includes(secret), `the desktop is told the ${what}`);
    }
  }
}

/** Without this, attacks could fail because nobody can do these things, or because the secrets are not the real ones. */
export async function portalMay(lab) {
  const person = await lab.victim('confined');
  try {
    const page = await person.page();
    await page.goto(`${lab.origin}/`);
    const done = await page.evaluate(async () => {
      const token = document.querySelector('meta[name="csrf-token"]').content;
      const status = async (path, options) => (await fetch(path, options)).status;
      const post = (headers) =>
        status('/api/container/start', { method: 'POST', headers, body: '{"template":"none"}' });
      const socket = new WebSocket(`wss://${location.host}/api/container/events`);
      const event = await new Promise((resolve, reject) => {
        socket.onmessage = ({ data }) => resolve(JSON.parse(data).type);
        socket.onerror = reject;
      });
      return {
        token,
        event,
        list: await status('/api/container/list'),
        without: await post({}),
        with: await post({ 'X-CSRF-Token': token }),
      };
    });
    // With the token a start comes as far as the template, of which there is none.
    assert.deepEqual(done, {
      token: lab.secrets['CSRF token'],
      event: 'container',
      list: 200,
      without: 403,
      with: 404,
    });
  } finally {
    await person.context.close();
  }
}
