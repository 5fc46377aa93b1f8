// Responsible for what the gateways of the suite stand on: a container engine and a PostgreSQL server of its own, which it may
// stop, kill and freeze. Both live in the namespaces that tests/chaos/run makes, and end with them.

import { execFile, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, readdir, rm, statfs } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';

import { settled, until } from '../../e2e/support/wait.js';

const run = promisify(execFile);
const READY_MS = 30_000;
const ENDED_MS = 30_000;
const CALL_MS = 60_000;
/** How long a server is silent before its machine is gone. */
const SILENT_MS = 2_000;
/** What the engine has for images, containers and homes. */
const DISK_BYTES = 512 << 20;
const IMAGE = 'deskgate/test-chaos';

/** The container engine. */
export class Engine {
  /** Starts one that keeps everything below `directory`, and gives it the desktop's image. */
  static async start(directory) {
    const engine = new Engine();
    Object.assign(engine, { directory, socket: path.join(directory, 'docker.sock') });
    // A disk of its own, which can be full.
    await mkdir(engine.data, { recursive: true });
    await run('mount', ['-t', 'tmpfs', '-o', `mode=711,size=${DISK_BYTES}`, 'tmpfs', engine.data]);
    engine.log = createWriteStream(path.join(process.env.DESKGATE_CHAOS_LOGS, 'dockerd.log'));
    await engine.up();
    const archive = path.join(directory, 'image.tar');
    await run('tar', ['-cf', archive, '-C', path.dirname(process.env.DESKGATE_CHAOS_DESKTOP), 'desktop']);
    await run('docker', ['--host', engine.host, 'import', '--change', 'ENTRYPOINT ["/desktop"]', archive, IMAGE]);
    return engine;
  }

  get host() {
    return `unix://${this.socket}`;
  }

  get data() {
    return path.join(this.directory, 'data');
  }

  async up() {
    const below = (name) => path.join(this.directory, name);
    // One that was killed leaves its process id, which another process may have by now.
    await rm(below('pid'), { force: true });
    const args = ['--host', this.host, '--data-root', this.data, '--exec-root', below('exec'), '--pidfile', below('pid')];
    // No bridge of its own: every network here is made by a gateway.
    args.push('--bridge', 'none', '--cgroup-parent', process.env.DESKGATE_CHAOS_CGROUP);
    this.child = spawn('dockerd', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout.pipe(this.log, { end: false });
    this.child.stderr.pipe(this.log, { end: false });
    this.ended = new Promise((resolve) => this.child.once('exit', resolve));
    await until('the engine answers', async () => (await this.call('GET', '/_ping')).status === 200, { within: READY_MS });
  }

  async end(signal) {
    this.child.kill(signal);
    await settled(`the engine ends after ${signal}`, this.ended, ENDED_MS);
  }

  freeze() {
    this.child.kill('SIGSTOP');
  }

  thaw() {
    this.child.kill('SIGCONT');
  }

  /** Leaves no room on its disk. */
  async fill() {
    const { bavail, bsize } = await statfs(this.data);
    await run('fallocate', ['--length', String(bavail * bsize), path.join(this.data, 'ballast')]);
  }

  /** Gives the room back. */
  async free() {
    await rm(path.join(this.data, 'ballast'), { force: true });
  }

  /** One call to its API; returns status and, where there is one, the parsed answer. */
  call(method, target) {
    return new Promise((resolve, reject) => {
      const options = { socketPath: this.socket, method, path: target, timeout: CALL_MS };
      const sent = http.request(options, (answer) => {
        const chunks = [];
        answer.on('data', (chunk) => chunks.push(chunk));
        answer.on('error', reject);
        answer.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const isJson = /json/.test(answer.headers['content-type'] ?? '') && text;
          resolve({ status: answer.statusCode, body: isJson ? JSON.parse(text) : text });
        });
      });
      sent.on('error', reject);
      sent.on('timeout', () => sent.destroy(new Error(`the engine does not answer ${method} ${target}`)));
      sent.end();
    });
  }

  async #labelled(kind, instance, more = '') {
    const filters = encodeURIComponent(JSON.stringify({ label: [`deskgate.instance=${instance}`] }));
    const { status, body } = await this.call('GET', `/${kind}?filters=${filters}${more}`);
    if (status !== 200) throw new Error(`the engine does not list ${kind}: ${status}`);
    return body;
  }

  /** What an installation has here: `{containers, networks, volumes}`. */
  async inventory(instance) {
    const containers = await this.#labelled('containers/json', instance, '&all=1');
    const networks = await this.#labelled('networks', instance);
    const { Volumes: volumes } = await this.#labelled('volumes', instance);
    return {
      containers: containers.map((one) => ({
        id: one.Id,
        name: one.Names[0].slice(1),
        state: one.State,
        desktop: one.Labels['deskgate.desktop'],
      })),
      networks: networks.map((one) => ({ id: one.Id, name: one.Name, desktop: one.Labels['deskgate.desktop'] })),
      volumes: (volumes ?? []).map((one) => one.Name),
    };
  }

  /** `docker rm -f`, behind everybody's back. */
  async remove(container) {
    const { status } = await this.call('DELETE', `/containers/${container}?force=1&v=1`);
    if (![204, 404, 409].includes(status)) throw new Error(`${container} cannot be removed: ${status}`);
  }

  /** Removes everything of an installation. */
  async clear(instance) {
    const { containers, networks, volumes } = await this.inventory(instance);
    await Promise.all(containers.map((one) => this.remove(one.id)));
    await Promise.all(networks.map((one) => this.call('DELETE', `/networks/${one.id}`)));
    await Promise.all(volumes.map((name) => this.call('DELETE', `/volumes/${name}`)));
  }
}

/** A PostgreSQL server. */
export class Postgres {
  static async start(directory, port) {
    const server = new Postgres();
    Object.assign(server, { directory, port, databases: 0, lost: [] });
    await mkdir(directory, { recursive: true });
    await run('chown', [server.user, directory]);
    const options = ['--auth=trust', '--username=deskgate', '--encoding=UTF8', '--no-locale', '--no-sync'];
    await server.#command('initdb', `--pgdata=${server.data}`, ...options);
    await server.up();
    return server;
  }

  get user() {
    return process.env.DESKGATE_CHAOS_POSTGRES_USER;
  }

  get data() {
    return path.join(this.directory, 'data');
  }

  // It refuses to run as root, which the suite is.
  #command(name, ...args) {
    const program = path.join(process.env.PG_BIN, name);
    return run('runuser', ['-u', this.user, '--', program, ...args], { cwd: this.directory });
  }

  async up() {
    const settings = {
      listen_addresses: '127.0.0.1',
      port: this.port,
      unix_socket_directories: this.directory,
      fsync: 'off',
      max_connections: 300,
      max_wal_size: '128MB',
    };
    const options = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`).join(' ');
    const log = path.join(this.directory, 'log');
    await this.#command('pg_ctl', `--pgdata=${this.data}`, `--log=${log}`, '--wait', '--silent', `--options=${options}`, 'start');
  }

  /** Stops it in this mode: `fast` says goodbye to everybody, `immediate` is a crash. */
  async end(mode) {
    await this.#command('pg_ctl', `--pgdata=${this.data}`, `--mode=${mode}`, '--wait', '--silent', 'stop');
  }

  /** All its processes. */
  async #processes() {
    const first = Number((await readFile(path.join(this.data, 'postmaster.pid'), 'utf8')).split('\n')[0]);
    const all = [first];
    for (const name of await readdir('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
      if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === first) all.push(Number(name));
    }
    return all;
  }

  /** It takes connections and says nothing any more. */
  async freeze() {
    for (const process_ of await this.#processes()) process.kill(process_, 'SIGSTOP');
  }

  /** Its machine goes: what it was asked is taken and never answered, and nobody says, now or later, that the connections are gone. */
  async lose() {
    await this.freeze();
    await pause(SILENT_MS);
    await this.#firewall('--insert');
    const { stdout } = await run('ss', ['-Htn', 'dport', '=', `:${this.port}`]);
    this.lost = [...stdout.matchAll(/:(\d+)\s+\S+:\d+\s*$/gm)].map(([, port]) => port);
    for (const port of this.lost) await this.#firewall('--insert', port);
    for (const process_ of await this.#processes()) process.kill(process_, 'SIGKILL');
  }

  /** Another machine has its address. */
  async replace() {
    await this.up();
    await this.#firewall('--delete');
  }

  async #firewall(act, peer) {
    for (const [here, there] of [['--dport', '--sport'], ['--sport', '--dport']]) {
      const ends = [here, String(this.port), ...(peer ? [there, peer] : [])];
      await run('iptables', ['--wait', act, 'INPUT', '--protocol', 'tcp', ...ends, '--jump', 'DROP']);
    }
  }

  async thaw() {
    for (const process_ of await this.#processes()) process.kill(process_, 'SIGCONT');
  }

  /** Makes an empty database and returns its address. */
  async database() {
    // The last story is over, and somebody else may get the ports of the connections that it lost.
    for (const port of this.lost.splice(0)) await this.#firewall('--delete', port);
    this.databases += 1;
    const name = `chaos_${this.databases}`;
    await this.query(`postgres://deskgate@127.0.0.1:${this.port}/postgres`, `CREATE DATABASE ${name}`);
    return `postgres://deskgate@127.0.0.1:${this.port}/${name}`;
  }

  /** A session that holds these tables of a database, so that statements of others are taken and wait; kill it to let go. */
  async hold(database, tables) {
    const program = path.join(process.env.PG_BIN, 'psql');
    const holder = spawn(program, ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', database], { stdio: ['pipe', 'pipe', 'ignore'] });
    let said = '';
    holder.stdout.on('data', (text) => (said += text));
    holder.stdin.on('error', () => {});
    holder.stdin.write(`BEGIN; LOCK TABLE ${tables} IN ACCESS EXCLUSIVE MODE; SELECT 'held';\n`);
    await until('the tables are held', () => said.includes('held'), { within: READY_MS });
    return holder;
  }

  /** How many statements wait for a lock there. */
  async waiting(database) {
    const sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    return Number((await this.query(database, sql))[0][0]);
  }

  /** Runs statements and returns the rows of the last one, as arrays of texts. */
  async query(database, sql) {
    const program = path.join(process.env.PG_BIN, 'psql');
    const args = ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-F', '\t', '-d', database, '-c', sql];
    const { stdout } = await run(program, args, { timeout: CALL_MS });
    return stdout.split('\n').filter(Boolean).map((line) => line.split('\t'));
  }
}
