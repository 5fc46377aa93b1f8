// Responsible for one installation of a scenario: a database, an instance name and ports of its own, gateway processes that
// can be armed and killed, people with sessions, and the question whether rows and containers agree.

import { spawn } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { Client, SESSION_COOKIE, request } from '../../e2e/support/http.js';
import { settled, until } from '../../e2e/support/wait.js';

/** Two periods of the reconciler (`desktop/reconcile.rs`). */
export const TWO_PERIODS_MS = 60_000;
/** How long the reconciler leaves a network alone (`desktop/networks.rs`), and two periods. */
export const NETWORKS_MS = 120_000 + TWO_PERIODS_MS;
const EVERY_MS = 300;
const READY_MS = 30_000;
const PUBLIC = 'https://desk.test';
const DESKTOP_PORTS = 20;
/** How often a start is waited for, 20 s each. */
const MAX_WAITS = 3;
const SESSION_MS = 12 * 3600 * 1000;

let installations = 0;
let nextPort = 20_000;
/** Installations whose stories went well and that have a network too many, with gateways that have to see to that. */
const behind = [];

/** What templates have unless they say otherwise, as written in `deskgate.toml`. */
const TEMPLATE = {
  image: '"deskgate/test-chaos"',
  pull: '"never"',
  scheme: '"http"',
  entry: '"/"',
  home: '"none"',
  memory: '"64m"',
  shm_size: '"16m"',
  stop: '{ signal = "SIGKILL", timeout = "2s" }',
};

/** A template. */
export function template(id, fields = {}) {
  const lines = Object.entries({ id: `"${id}"`, ...TEMPLATE, ...fields }).map(([key, value]) => `${key} = ${value}`);
  return `\n[[template]]\n${lines.join('\n')}\n`;
}

/** One that works, and others by what `desktop.rs` makes of their mode. */
function templates(warm) {
  const mode = (id, fields) => template(id, { env: `{ MODE = "${id}" }`, ...fields });
  return [
    template('desktop', { warm }),
    template('homely', { home: '"volume"', home_path: '"/home/desk"' }),
    mode('broken'),
    mode('silent', { ready: '{ timeout = "3s" }' }),
    mode('slow', { ready: '{ timeout = "10s" }' }),
    mode('gentle', { stop: '{ signal = "SIGTERM", timeout = "5s" }' }),
  ].join('');
}

/** An installation. */
export class Installation {
  /** `settings` are for all its gateways; `warm` containers are kept ready; `more` are further templates. */
  static async create(name, { engine, postgres }, { warm = 0, settings = {}, keepsHomes = false, more = '' } = {}) {
    installations += 1;
    const one = new Installation();
    Object.assign(one, { name, engine, postgres, settings, keepsHomes, gateways: [] });
    one.instance = `test-chaos-${installations}`;
    one.ports = 10_000 + DESKTOP_PORTS * installations;
    one.database = await postgres.database();
    one.directory = path.join(process.env.DESKGATE_CHAOS_DIR, one.instance);
    await mkdir(one.directory, { recursive: true });
    await writeFile(path.join(one.directory, 'deskgate.toml'), templates(warm) + more);
    return one;
  }

  /** Starts a gateway, armed with a failpoint if one is named. */
  async gateway(name, { failpoint, environment = {} } = {}) {
    const gateway = new Gateway();
    nextPort += 2;
    Object.assign(gateway, { name: `${this.name}-${name}`, port: nextPort, text: '' });
    const first = this.ports;
    gateway.environment = {
      PATH: process.env.PATH,
      PUBLIC_URL: PUBLIC,
      LISTEN: `127.0.0.1:${gateway.port}`,
      TLS: 'off',
      METRICS_LISTEN: `127.0.0.1:${gateway.port + 1}`,
      DATABASE_URL: this.database,
      SECRET_KEY: 'an-entirely-secret-key-for-the-chaos-suite',
      OAUTH_ISSUER: 'https://id.test',
      OAUTH_CLIENT_ID: 'chaos',
      DOCKER_HOST: this.engine.host,
      INSTANCE: this.instance,
      PORT_RANGE: `${first}-${first + DESKTOP_PORTS - 1}`,
      START_RATE: '1000/1m',
      MIN_FREE_MEMORY: 'off',
      DRAIN: '1s',
      LOG: 'info,deskgate=debug',
      NO_COLOR: '1',
      ...this.settings,
      ...(failpoint && { DESKGATE_FAILPOINT: failpoint }),
      ...environment,
    };
    this.gateways.push(gateway);
    await gateway.up(this.directory);
    return gateway;
  }

  query(sql) {
    return this.postgres.query(this.database, sql);
  }

  /** Somebody new with a session; returns its secret. */
  async person(name) {
    const [user, secret, now] = [randomUUID(), randomBytes(32).toString('base64url'), Date.now()];
    const hash = createHash('sha256').update(secret).digest('hex');
    await this.query(`
      INSERT INTO users (id, issuer, subject, username, role, groups, created_at, last_login)
        VALUES ('${user}', 'https://id.test', '${user}', '${name}', 'student', '[]', ${now}, ${now});
      INSERT INTO oauth_sessions (id, token_hash, user_id, created_at, expires_at, last_seen)
        VALUES ('${randomUUID()}', '${hash}', '${user}', ${now}, ${now + SESSION_MS}, ${now})`);
    return secret;
  }

  /** The desktops as recorded, oldest first. */
  async rows() {
    const rows = await this.query(
      'SELECT id, user_id, template, container_name, status, status_reason FROM containers ORDER BY created_at, id',
    );
    return rows.map(([id, user, template, container, status, reason]) => ({ id, user, template, container, status, reason }));
  }

  /** Whatever rows and engine do not agree on; nothing if all is well. Networks may be behind (see `lostNetworks`). */
  async faults() {
    const rows = await this.rows();
    const { containers, volumes } = await this.engine.inventory(this.instance);
    const faults = this.keepsHomes ? [] : volumes.map((name) => `volume ${name} was left`);
    const settledStates = ['running', 'paused', 'stopped', 'error'];
    for (const row of rows) {
      const container = containers.find((one) => one.name === row.container);
      const has = container?.state ?? 'none';
      const may = { running: ['running'], paused: ['paused'], stopped: ['exited', 'created', 'none'], error: ['none'] };
      if (!settledStates.includes(row.status)) faults.push(`row ${row.id} is stuck as ${row.status}`);
      else if (!may[row.status].includes(has)) faults.push(`row ${row.id} is ${row.status}, its container ${has}`);
    }
    const live = rows.filter((row) => !['stopped', 'error'].includes(row.status));
    const places = live.map((row) => `${row.user} ${row.template}`);
    if (new Set(places).size < places.length) faults.push(`two live rows for one place: ${JSON.stringify(live)}`);
    const owned = new Set(rows.map((row) => row.container));
    const waits = (one) => one.name.startsWith(`deskgate-${this.instance}-pool-`);
    for (const one of containers) {
      if (!owned.has(one.name) && !waits(one)) faults.push(`container ${one.name} is nobody's`);
      if (waits(one) && one.state !== 'running') faults.push(`container ${one.name} of the pool is ${one.state}`);
      if (waits(one) && rows.some((row) => row.id === one.desktop)) faults.push(`container ${one.name} waits for its row`);
      const same = containers.filter((other) => other.desktop === one.desktop);
      if (same.length > 1) faults.push(`desktop ${one.desktop} has ${same.length} containers`);
    }
    return faults;
  }

  /** Returns when rows and engine agree, which they must within two periods; how long it took, in milliseconds. */
  async clean() {
    const begun = performance.now();
    const agree = async () => {
      const faults = await this.faults();
      if (faults.length) throw new Error(faults.join('; '));
      return true;
    };
    await until(`${this.name}: rows and containers agree`, agree, { within: TWO_PERIODS_MS, every: EVERY_MS });
    return performance.now() - begun;
  }

  /** Networks whose desktop has neither row nor container. The reconciler leaves a new one alone for two minutes. */
  async lostNetworks() {
    const rows = await this.rows();
    const { containers, networks } = await this.engine.inventory(this.instance);
    const known = new Set([...rows.map((row) => row.id), ...containers.map((one) => one.desktop)]);
    return networks.filter((one) => one.desktop && !known.has(one.desktop)).map((one) => one.name);
  }

  noLostNetworks(within) {
    const none = async () => {
      const lost = await this.lostNetworks();
      return !lost.length || Promise.reject(new Error(lost.join()));
    };
    return until(`${this.name}: no network is left`, none, { within, every: 1000 });
  }

  /** Kills what runs and removes what is left at the engine. */
  async close() {
    await Promise.all(this.gateways.map((gateway) => gateway.kill()));
    await this.engine.clear(this.instance);
  }

  /** The end of a story that went well. Its gateways live on until `sweep` if they have networks to remove. */
  async leave() {
    if ((await this.lostNetworks()).length) behind.push(this);
    else await this.close();
  }

  /** After all stories: no network is left of any of them. Tells how many there were to wait for. */
  static async sweep() {
    const late = behind.splice(0);
    const counts = await Promise.all(late.map(async (one) => (await one.lostNetworks()).length));
    const swept = async (one) => {
      try {
        await one.noLostNetworks(NETWORKS_MS);
      } finally {
        await one.close();
      }
    };
    const failed = (await Promise.allSettled(late.map(swept))).filter(({ reason }) => reason);
    if (failed.length) throw new Error(failed.map(({ reason }) => reason.message).join('\n'));
    return `${late.length} installations had been behind, ${counts.filter(Boolean).length} of them until the end; none is`;
  }
}

/** A gateway process. */
export class Gateway {
  get origin() {
    return `http://127.0.0.1:${this.port}`;
  }

  async up(directory) {
    const options = { env: this.environment, cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] };
    this.child = spawn(process.env.DESKGATE_BIN, ['serve'], options);
    const log = createWriteStream(path.join(process.env.DESKGATE_CHAOS_LOGS, `${this.name}.log`));
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => {
        this.text += text;
        log.write(text);
      });
    }
    this.ended = new Promise((resolve) => this.child.once('exit', (code, signal) => resolve(signal ?? code)));
    const alive = async () => {
      if (this.child.exitCode !== null) return true;
      const headers = { Host: new URL(PUBLIC).host };
      return (await request(`${this.origin}/healthz`, { headers })).status === 200;
    };
    await until(`${this.name} answers`, alive, { within: READY_MS });
    if (this.child.exitCode !== null) throw new Error(`${this.name} ended at once: ${this.text}`);
  }

  /** Somebody who is signed in, here. */
  client(secret) {
    return new Client(this.origin, headersOf(secret));
  }

  /** The status of the portal's page as a browser asks for it. */
  async page(secret) {
    const headers = { Host: new URL(PUBLIC).host, Cookie: `${SESSION_COOKIE}=${secret}` };
    return (await request(`${this.origin}/`, { headers })).status;
  }

  /** Waits until so many containers of the pool have answered it. */
  hasReady(count) {
    const line = `deskgate_pool_members{template="desktop",state="ready"} ${count}\n`;
    const ready = async () => (await request(`http://127.0.0.1:${this.port + 1}/metrics`)).body.includes(line);
    return until(`${this.name} has a container ready`, ready, { within: READY_MS, every: 200 });
  }

  /** Waits until it says this. */
  said(words, within = READY_MS) {
    return until(`${this.name} says "${words}"`, () => this.text.includes(words), { within });
  }

  async kill(signal = 'SIGKILL', ends = true) {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill(signal);
    if (ends) await settled(`${this.name} ends after ${signal}`, this.ended, READY_MS);
  }
}

/** What a request of somebody with this secret carries. */
export function headersOf(secret) {
  return { Host: new URL(PUBLIC).host, Origin: PUBLIC, Authorization: `Bearer ${secret}` };
}

/** Starts a desktop and waits for it, or finds the one that there is; returns its id. */
export async function start(client, template = 'desktop') {
  let container;
  for (let tries = 0; tries < MAX_WAITS && !['running', 'paused'].includes(container?.status); tries += 1) {
    // Each time the same one, if the machine is so busy that it is not there yet.
    const answer = await client.post('/api/container/start', { template }, { Prefer: 'wait=20' });
    if (![200, 201].includes(answer.status)) throw new Error(`no desktop: ${answer.status} ${answer.body}`);
    ({ container } = answer.json());
  }
  if (!['running', 'paused'].includes(container.status)) throw new Error(`no desktop: ${JSON.stringify(container)}`);
  return container.id;
}

/** Fails unless the desktop shows its page. */
export async function see(client, id) {
  const page = await client.get(`/desktop/${id}/`);
  if (page.status !== 200 || page.body !== 'a desktop') throw new Error(`no page: ${page.status} ${page.body}`);
}
