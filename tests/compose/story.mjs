// Responsible for the composition of docker-compose.yml as an administrator and a pupil see it: one command brings it up,
// a desktop runs, nothing of the inside can be reached from it, and all of it outlives a restart.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';

import { docker } from '../e2e/support/engine.js';
import { Client, SESSION_COOKIE, request } from '../e2e/support/http.js';
import { CLIENT, IdentityProvider, Visitor } from '../e2e/support/provider.js';
import { until } from '../e2e/support/wait.js';

const run = promisify(execFile);
const { DESKGATE_COMPOSE_DIR: SITE, DESKGATE_COMPOSE_RUN: RUN, DESKGATE_IMAGE: IMAGE, POSTGRES_IMAGE, PROGRAM_BYTES } =
  process.env;
const PROJECT = `deskgate-test-${RUN}`;
const INSTANCE = `test-compose-${RUN}`;
const COMPOSE_MS = 180_000;
const READY_MS = 120_000;
const START_MS = 90_000;
const MEGABYTE = 1_000_000;
// Of what is in the image beside the program. A release build's has 30 MB, so that the image stays far below its 60; the one in
// here is a debug build's, and twice as large. `tests/compose/run --compile` measures the whole.
const MOST_MEGABYTES_BESIDE = 8;

let provider;
let origin;
let anna;
let client;
let desktop;

/** Runs docker-compose where the administrator would. */
async function compose(...args) {
  // What is set here wins over .env, so that only what the program itself needs is set.
  const { PATH, HOME } = process.env;
  const options = { cwd: SITE, env: { PATH, HOME }, timeout: COMPOSE_MS, maxBuffer: 16 << 20 };
  const { stdout } = await run('docker-compose', ['--project-name', PROJECT, ...args], options);
  return stdout;
}

/** What the engine says of the container of a service. */
async function inspect(service) {
  const id = (await compose('ps', '--quiet', service)).trim();
  return JSON.parse(await docker('inspect', id))[0];
}

async function up() {
  await compose('up', '-d');
  await until('the gateway is ready', async () => (await request(`${origin}/readyz`)).status === 200, {
    within: READY_MS,
    every: 500,
  });
}

/** What a command in the desktop ends with. */
async function inDesktop(command) {
  try {
    await docker('exec', `deskgate-${INSTANCE}-${desktop}`, 'bash', '-c', command);
    return 0;
  } catch (error) {
    return error.code;
  }
}

/** Whether this machine has the rules of scripts/firewall. */
async function hasRules() {
  const look = run('iptables', ['-w', '-S', 'DESKGATE-HOST']);
  return look.then(() => true, () => false);
}

/** Whether somebody takes connections on this port of 127.0.0.1. */
async function listens(port) {
  const socket = connect(Number(port), '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** The desktop's page, behind the redirect that leads to its client. */
async function desktopsPage() {
  const own = `${origin}/desktop/${desktop}/`;
  let url = own;
  for (let steps = 0; steps < 3; steps += 1) {
    const answer = await anna.step(url, { headers: { Accept: 'text/html' } });
    if (!answer.headers.location) return answer;
    url = new URL(answer.headers.location, url).href;
    assert.ok(url.startsWith(own), `to ${url}`);
  }
  throw new Error(`no end of redirects at ${url}`);
}

before(async () => {
  const port = randomInt(24_000, 28_000);
  origin = `https://localhost:${port}`;
  provider = await IdentityProvider.start(origin);
  provider.accounts.set('anna', []);
  const first = randomInt(17_000, 18_000);
  const settings = {
    PUBLIC_URL: origin,
    LISTEN: `127.0.0.1:${port}`,
    METRICS_LISTEN: 'off',
    OAUTH_ISSUER: provider.issuer,
    OAUTH_CLIENT_ID: CLIENT.id,
    OAUTH_SCOPES: 'openid profile',
    INSTANCE,
    KASM_IMAGE: 'deskgate/demo-desktop:latest',
    PORT_RANGE: `${first}-${first + 99}`,
    DESKGATE_IMAGE: IMAGE,
    POSTGRES_IMAGE,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`);
  await writeFile(path.join(SITE, '.env'), lines.join(''));
  await mkdir(path.join(SITE, 'data/secrets'), { recursive: true });
  await writeFile(path.join(SITE, 'data/secrets/oauth_client_secret'), `${CLIENT.secret}\n`);
});

after(async () => {
  try {
    if (process.exitCode) console.log(await compose('logs', '--no-color', '--tail', '50'));
    await compose('down', '--volumes');
  } finally {
    await provider?.stop();
  }
});

describe('the composition', () => {
  test('comes up with one command', async () => {
    try {
      await up();
    } catch (error) {
      console.log(await compose('logs', '--no-color', '--tail', '50'));
      throw error;
    }
    for (const service of ['filter', 'postgres', 'gateway']) {
      const healthy = async () => (await inspect(service)).State.Health.Status === 'healthy';
      await until(`${service} is healthy`, healthy, { within: 60_000, every: 500 });
    }
  });

  test('has a small image', async () => {
    const size = Number(await docker('image', 'inspect', '--format', '{{.Size}}', IMAGE));
    const beside = size - Number(PROGRAM_BYTES);
    console.log(`the image has ${(size / MEGABYTE).toFixed(1)} MB, ${(beside / MEGABYTE).toFixed(1)} of them beside the program`);
    assert.ok(beside > 0 && beside < MOST_MEGABYTES_BESIDE * MEGABYTE, `${beside}`);
  });

  test('gives nobody more than they need', async () => {
    for (const service of ['filter', 'postgres', 'gateway']) {
      const { Config: config, HostConfig: host, Mounts: mounts, NetworkSettings: network } = await inspect(service);
      assert.equal(host.Privileged, false);
      assert.equal(host.ReadonlyRootfs, true, service);
      assert.deepEqual(host.CapDrop, ['ALL'], service);
      assert.ok(host.SecurityOpt.some((option) => option.startsWith('no-new-privileges')), service);
      assert.equal(host.RestartPolicy.Name, 'unless-stopped', service);
      const raw = mounts.some((mount) => mount.Source.endsWith('docker.sock'));
      assert.equal(raw, service === 'filter', `only the filter has the engine's socket: ${service}`);
      assert.equal(host.NetworkMode, service === 'gateway' ? 'host' : 'none', service);
      const addresses = Object.values(network.Networks).map((one) => one.IPAddress);
      assert.ok(addresses.every((address) => !address), `${service} has an address: ${addresses}`);
      const secrets = config.Env.filter((entry) => entry.includes(CLIENT.secret));
      assert.deepEqual(secrets, [], service);
      if (service === 'gateway') assert.equal(config.User, '10001:10001');
    }
    const write = compose('exec', '-T', 'gateway', 'deskgate', 'secret-key', '/etc/key');
    await assert.rejects(write, (error) => /Read-only file system|Permission denied/.test(error.stderr));
    await assert.rejects(compose('exec', '-T', 'gateway', 'sh'), 'there is no shell in it');
  });

  test('finds nothing wrong with itself', async () => {
    // It ends with 1 where a desktop reaches what it should not; that is the matter of the host's firewall.
    const check = compose('exec', '-T', 'gateway', 'deskgate', 'check', '--json');
    const said = await check.catch((error) => error.stdout);
    const { checks } = JSON.parse(said);
    const of = (name) => checks.filter(({ check }) => check === name);
    assert.deepEqual(checks.filter(({ check, outcome }) => outcome === 'fail' && check !== 'reach'), []);
    const wrong = of('reach').filter(({ found }) => /another desktop at|the database|engine can start/.test(found));
    assert.deepEqual(wrong, []);
    for (const name of ['database', 'provider', 'client', 'engine', 'image', 'reach']) {
      assert.ok(of(name).length, `${name} in ${said}`);
    }
  });

  test('signs a pupil in and runs their desktop', async () => {
    anna = new Visitor('anna');
    const answer = await anna.follow(`${origin}/login`, `${origin}/authorize`);
    assert.equal(answer.status, 302, answer.body);
    const secret = [...anna.cookies.values()].find(({ name }) => name === SESSION_COOKIE).value;
    client = Client.sessionId(origin, secret);
    const started = await client.post('/api/container/start');
    assert.ok([200, 201, 202].includes(started.status), started.body);
    const running = async () => (await client.list()).find((one) => one.status === 'running');
    desktop = (await until('the desktop runs', running, { within: START_MS, every: 250 })).id;
    const page = await desktopsPage();
    assert.equal(page.status, 200);
    assert.match(page.body, /<html/i);
  });

  test('keeps desktops away from database, filter and engine', async () => {
    assert.equal(await inDesktop('true'), 0);
    for (const place of ['/run/deskgate', '/run/postgresql', '/var/run/docker.sock', '/run/secrets']) {
      assert.notEqual(await inDesktop(`test -e ${place}`), 0, place);
    }
    // The address of the engine's side of its network is this machine's. What listens on all addresses there, a desktop
    // reaches, unless the machine has the rules of scripts/firewall; the composition listens on loopback alone.
    const format = '{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}';
    const host = await docker('inspect', '--format', format, `deskgate-${INSTANCE}-${desktop}`);
    const knock = (port) => inDesktop(`timeout 2 bash -c 'exec 3<>/dev/tcp/${host}/${port}'`);
    const service = createServer((socket) => socket.destroy()).listen(0, '0.0.0.0');
    await once(service, 'listening');
    try {
      if (!(await hasRules())) assert.equal(await knock(service.address().port), 0, 'what anybody may reach');
    } finally {
      service.close();
    }
    const { host_port: published } = (await client.list()).find((one) => one.id === desktop);
    for (const port of [new URL(origin).port, published]) {
      assert.ok(await listens(port), `somebody listens on 127.0.0.1:${port}`);
      assert.notEqual(await knock(port), 0, `${host}:${port}`);
    }
  });

  test('outlives a restart of all of it, and the desktop with it', async () => {
    const container = await docker('inspect', '--format', '{{.Id}}', `deskgate-${INSTANCE}-${desktop}`);
    await compose('down');
    assert.equal(await docker('inspect', '--format', '{{.State.Status}}', container), 'running');
    await up();
    const found = (await client.list()).find((one) => one.id === desktop);
    assert.equal(found?.status, 'running', 'session, row and container are there');
    assert.equal((await desktopsPage()).status, 200);
    assert.equal(await docker('inspect', '--format', '{{.Id}}', `deskgate-${INSTANCE}-${desktop}`), container);
  });

  test('takes the desktop down again', async () => {
    const removed = await client.post('/api/container/remove', { id: desktop });
    assert.equal(removed.status, 200, removed.body);
    const label = `label=deskgate.instance=${INSTANCE}`;
    const gone = async () => (await docker('ps', '--all', '--quiet', '--filter', label)) === '';
    await until('the container is gone', gone, { within: 30_000 });
  });
});
