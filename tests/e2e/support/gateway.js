// Responsible for a gateway process of a test's own: `deskgate demo` with a fresh data directory, free ports and
// an installation name that nobody else has; for stopping it in every way, and for leaving nothing behind.

import { spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { Installation } from './engine.js';
import { request } from './http.js';
import { settled, until } from './wait.js';

const ARTIFACTS = new URL('../artifacts/', import.meta.url).pathname;
const READY_MS = 20_000;
const STOP_MS = 20_000;
const DESKTOP_PORTS = 100;

// A process that outlives the tests would keep its ports and go on starting containers.
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

/** The directory in which a run leaves what is worth a look afterwards. */
export async function artifacts() {
  await mkdir(ARTIFACTS, { recursive: true });
  return ARTIFACTS;
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.on('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** A port of which the next one is free too, since the demo's provider takes that. */
async function freePair() {
  return until('two free ports', async () => {
    const port = randomInt(19_000, 29_000);
    return (await isFree(port)) && (await isFree(port + 1)) && port;
  });
}

/** A gateway that can be killed and started again with the same data. */
export class Gateway {
  /**
   * Prepares and starts a gateway; `story` names it in the engine and among the artifacts, `files` lie in its working
   * directory. `environment` may be a function of the gateway, which has its port then, and may give it another
   * `origin` and another `command` than the demo's.
   */
  static async start(story, environment = {}, files = {}) {
    const run = process.env.DESKGATE_E2E_RUN ?? randomBytes(4).toString('hex');
    const gateway = new Gateway();
    gateway.story = story;
    gateway.installation = new Installation(`test-e2e-${run}-${story}`);
    gateway.data = await mkdtemp(path.join(tmpdir(), `deskgate-e2e-${story}-`));
    for (const [name, text] of Object.entries(files)) await writeFile(path.join(gateway.data, name), text);
    gateway.port = await freePair();
    gateway.origin = `https://localhost:${gateway.port}`;
    const first = randomInt(17_000, 18_900);
    gateway.environment = {
      ...process.env,
      INSTANCE: gateway.installation.name,
      PORT_RANGE: `${first}-${first + DESKTOP_PORTS - 1}`,
      LOG: 'info,deskgate=debug',
      NO_COLOR: '1',
      ...(typeof environment === 'function' ? await environment(gateway) : environment),
    };
    gateway.log = createWriteStream(path.join(await artifacts(), `${story}.log`));
    await gateway.up();
    return gateway;
  }

  /** Starts the process and returns when it says that it is ready. */
  async up() {
    const binary = process.env.DESKGATE_BIN;
    if (!binary) throw new Error('DESKGATE_BIN does not name the gateway; start the tests with tests/e2e/run');
    const args = this.command ?? ['demo', '--listen', `127.0.0.1:${this.port}`, '--data', this.data];
    // A directory of its own, so that a deskgate.toml that lies about elsewhere does not count.
    this.child = spawn(binary, args, { env: this.environment, cwd: this.data, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(this.child);
    const { child } = this;
    child.once('exit', () => running.delete(child));
    this.child.stdout.pipe(this.log, { end: false });
    this.child.stderr.pipe(this.log, { end: false });
    this.exit = new Promise((resolve) => {
      this.child.once('error', (error) => resolve(`it did not start: ${error.message}`));
      this.child.once('exit', (code, signal) => resolve(signal ?? code));
    });
    let ended;
    this.exit.then((how) => (ended = { how }));
    await until(
      'the gateway is ready',
      async () => ended || (await request(`${this.origin}/readyz`)).status === 200,
      { within: READY_MS },
    );
    if (ended) throw new Error(`the gateway ended at once (${ended.how}); see artifacts/${this.story}.log`);
  }

  /** What it has logged. */
  logged() {
    return readFile(path.join(ARTIFACTS, `${this.story}.log`), 'utf8');
  }

  /** Ends the process with `signal` and returns its exit code, or the signal if that is what ended it. */
  async end(signal) {
    this.child.kill(signal);
    return settled(`the gateway ends after ${signal}`, this.exit, STOP_MS);
  }

  /** Kills what is left and removes every trace in the engine and on the disk. */
  async clear() {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.end('SIGKILL');
    await this.installation.remove();
    await rm(this.data, { recursive: true, force: true });
    this.log.end();
  }
}
