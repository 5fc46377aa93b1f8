// Responsible for one attack at a time: it lays the attack's page into the hostile desktop, lets the victim's browser
// open it, and finds out on the servers' side what came of it. What a script says about itself is kept, not believed.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { launch, Person } from '../support/browser.js';
import { Gateway } from '../support/gateway.js';
import { Client, SESSION_COOKIE, request, signIn } from '../support/http.js';
import { settled, until } from '../support/wait.js';
import { Collector } from './collector.js';
import { Puppet } from './desktop.js';
import { attackPage } from './page.js';
import { Unconfined } from './unconfined.js';

// A service worker is refused for a bad certificate before it is refused for anything else.
const ANY_CERTIFICATE = '--ignore-certificate-errors';
// A browser without a camera says so before it says that nobody may use it.
const CAMERA = '--use-fake-device-for-media-stream';
const OUTCOME_MS = 4000;
const SETTLE_MS = 250;
const NETWORK_CHANGED = 'net::ERR_NETWORK_CHANGED';
const UNDISTURBED_TRIES = 4;
const IN_LOG_MS = 5000;
const CSRF_META = 'meta[name="csrf-token"]';
// What the hostile desktop, the victim's other one and the one of another person are started from.
const templates = (image) => `
[[template]]
id = "hostile"
image = "${image}"
entry = "/"
home = "none"
deny_paths = []
memory = "128m"

[[template]]
id = "other"
image = "${image}"
entry = "/"
home = "none"
memory = "128m"

[[template]]
id = "desktop"
image = "deskgate/demo-desktop:latest"
memory = "1g"
`;

/** The requests that a gateway logged, as `{method, path, status}`. */
class AccessLog {
  requests = [];

  #rest = '';

  constructor(gateway) {
    this.gateway = gateway;
    gateway.child.stderr.on('data', (chunk) => this.#read(chunk));
  }

  #read(chunk) {
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop();
    for (const line of lines) {
      const entry = line.match(/ request request=.* method=(\w+) path="(.*)" route="\w+" status=(\d+)/);
      if (entry) this.requests.push({ method: entry[1], path: entry[2], status: Number(entry[3]) });
    }
  }

  /** Returns when everything that was answered before is in the log, and how many requests that is. */
  async mark() {
    const mark = `/mark/${performance.now()}`;
    await request(this.gateway.origin + mark);
    return until('the log has everything so far', () => this.requests.findIndex((entry) => entry.path === mark) + 1, {
      within: IN_LOG_MS,
      every: 5,
    });
  }

  /** What was logged between two marks. */
  between(from, to) {
    return this.requests.slice(from, to - 1);
  }
}

/** Everything that the attacks need, and the victims. */
export class Lab {
  /** With desktops of `image`; `story` names its gateway. */
  static async open(story, image) {
    const lab = new Lab();
    lab.gateway = await Gateway.start(story, {}, { 'deskgate.toml': templates(image) });
    const { gateway } = lab;
    lab.origin = gateway.origin;
    const [cert, key] = await Promise.all(
      ['tls.crt', 'tls.key'].map((name) => readFile(path.join(gateway.data, name))),
    );
    lab.log = new AccessLog(gateway);
    lab.collector = await Collector.listen({ cert, key });
    lab.door = await Unconfined.listen(gateway, { cert, key });
    await lab.#signIn();
    const foreigner = Client.bearer(lab.origin, await signIn(lab.origin, 'teacher'));
    lab.hostile = await Puppet.start(lab.client, 'hostile');
    lab.other = await Puppet.start(lab.client, 'other');
    lab.foreign = await Puppet.start(foreigner, 'other');
    // Chromium is told to connect to the door whenever it means the gateway.
    const rule = `MAP localhost:${gateway.port} 127.0.0.1:${lab.door.port}`;
    lab.browsers = {
      confined: await launch([ANY_CERTIFICATE, CAMERA]),
      unconfined: await launch([ANY_CERTIFICATE, CAMERA, `--host-resolver-rules=${rule}`]),
    };
    lab.before = await lab.#state();
    return lab;
  }

  /** A session for the victim's browser, and one for the test that is independent of it. */
  async #signIn() {
    this.client ??= Client.bearer(this.origin, await signIn(this.origin, 'student'));
    await this.#adopt(await signIn(this.origin, 'student'));
  }

  /** Takes `secret` for the victim's session from now on. */
  async #adopt(secret) {
    this.secret = secret;
    const page = await Client.cookie(this.origin, this.secret).get('/', { 'Sec-Fetch-Dest': 'document' });
    const token = page.body.match(/name="csrf-token" content="([^"]+)"/)?.[1];
    if (!token) throw new Error(`the start page has no ${CSRF_META}`);
    const { user } = (await this.client.get('/session')).json();
    /** What nobody but the gateway and the victim's own pages may know. */
    this.secrets = { session: this.secret, 'CSRF token': token, 'mail address': user.email, 'user id': user.id };
  }

  /** What an attack page is told; an attacker may know all of it. */
  get facts() {
    const { origin, hostile, other, foreign, collector } = this;
    return {
      origin,
      host: new URL(origin).host,
      own: hostile.path,
      other: other.path,
      otherId: other.id,
      foreign: foreign.path,
      evil: collector.url,
      evilHost: collector.host,
      provider: `https://localhost:${this.gateway.port + 1}`,
      cookie: SESSION_COOKIE,
    };
  }

  /** What attacks must not change: the victim's desktops and whether the session is good. */
  async #state() {
    const rows = await this.client.list();
    return JSON.stringify(rows.map(({ id, status }) => `${id} ${status}`).sort());
  }

  /** A browser in which the victim is signed in, as `confined` or `unconfined`. */
  async victim(kind, attack = {}) {
    const person = await Person.arrive(this.browsers[kind], this.origin);
    if (attack.signsIn) {
      await (await person.signIn('student')).close();
      await this.#adopt(await person.secret());
      return person;
    }
    const { hostname: domain } = new URL(this.origin);
    const cookie = { name: SESSION_COOKIE, value: this.secret, domain, path: '/' };
    await person.context.addCookies([{ ...cookie, httpOnly: true, secure: true, sameSite: 'Lax' }]);
    return person;
  }

  /** Lays an answer down both behind the gateway and behind the door without confinement. */
  async layDown(at, answer) {
    await this.hostile.layDown(at, answer);
    this.door.answers.set(at, answer);
  }

  /**
   * Lets the victim open an attack's page, and returns what it did where it must not. The waits are multiplied by
   * `patience`.
   */
  async run(attack, kind, patience = 1) {
    // Chromium breaks off every request when this machine's addresses change, which any container here may do.
    for (let left = UNDISTURBED_TRIES; ; left -= 1) {
      const broken = [];
      const done = await this.#once({ attack, kind, patience, broken }).catch((error) => ({ error }));
      if (String(done.error).includes(NETWORK_CHANGED)) broken.push(done.error);
      if (broken.length && left > 1) continue;
      if (done.error) throw done.error;
      return done;
    }
  }

  async #once({ attack, kind, patience, broken }) {
    const facts = { ...this.facts, nonce: `${kind}${performance.now()}`.replace('.', '') };
    facts.page = `${facts.own}attack/${facts.nonce}/`;
    const answers = { ...attack.answers?.(facts), [facts.page]: attackPage(attack, facts) };
    await Promise.all(Object.entries(answers).map(([at, answer]) => this.layDown(at, answer)));
    const person = await this.victim(kind, attack);
    person.context.on('requestfailed', (one) => one.failure()?.errorText === NETWORK_CHANGED && broken.push(one.url()));
    try {
      const portal = attack.portal && (await this.#portal(person));
      await this.#drain();
      const from = await this.log.mark();
      const page = await person.page();
      const outcome = await this.#attempt(attack, { page, person, facts, portal, patience });
      const requests = kind === 'confined' ? this.log.between(from, await this.log.mark()) : this.door.take();
      const seen = await this.#look({ attack, person, page, facts, outcome, requests, portal });
      seen.push(...((await attack.look?.({ page, person, facts, outcome, portal, requests, lab: this, kind })) ?? []));
      seen.push(...(await this.#damage()));
      return { outcome, trespasses: [...new Set(seen)] };
    } finally {
      await person.context.close();
    }
  }

  async #portal(person) {
    const page = await person.page();
    await page.goto(`${this.origin}/`);
    await page.locator(CSRF_META).waitFor({ state: 'attached' });
    return page;
  }

  /** Forgets what was seen before. */
  async #drain() {
    this.door.take();
    this.collector.take();
    await Promise.all([this.hostile, this.other, this.foreign].map((puppet) => puppet.take()));
  }

  async #attempt(attack, { page, person, facts, portal, patience }) {
    // A page that leads its tab elsewhere ends the navigation in its own way.
    await page.goto(this.origin + facts.page, { waitUntil: 'commit' }).catch(() => {});
    await attack.act?.({ page, person, facts, portal });
    const asked = page.evaluate(() => window.outcome).catch((error) => ({ error: error.message.split('\n')[0] }));
    const outcome = await settled('the outcome', asked, OUTCOME_MS * patience).catch(() => ({
      error: 'no outcome in time',
    }));
    await pause((attack.settle ?? SETTLE_MS) * patience);
    return outcome ?? { error: 'the page that would know is gone' };
  }

  /** What happened where nothing may happen, as short sentences. */
  async #look({ attack, person, page, facts, outcome, requests, portal }) {
    const inside = ({ path: asked }) => asked.startsWith(facts.own) || asked === '/favicon.ico';
    const ofPortal = ({ method, path: asked }) =>
      portal && method === 'GET' && /^\/($|assets\/|api\/container\/(list|events)$)/.test(asked);
    const beyond = requests.filter((one) => !inside(one) && !ofPortal(one));
    const seen = beyond.map(
      ({ method, path: asked, status }) => `${method} ${this.#name(asked)} was answered ${status}`,
    );
    const collected = this.collector.take();
    seen.push(...collected.seen.map((what) => `the attacker's server got: ${what.split('?')[0]}`));
    for (const [name, puppet] of [
      ['victim’s other', this.other],
      ['other person’s', this.foreign],
    ]) {
      const asked = await puppet.take();
      seen.push(...asked.map(({ method, target }) => `the ${name} desktop got ${method} ${target.split('?')[0]}`));
    }
    const loot = `${JSON.stringify(outcome)}\n${collected.text}\n${JSON.stringify(await this.hostile.take())}`;
    for (const [name, secret] of Object.entries(this.secrets))
      if (loot.includes(secret)) seen.push(`it has the ${name}`);
    const pages = person.context.pages().filter((one) => one !== page && one !== portal);
    seen.push(...pages.map((one) => `a window was opened: ${this.#name(one.url())}`));
    const tab = new URL(page.url());
    const left = tab.origin !== this.origin || !tab.pathname.startsWith(facts.own);
    if (left && !attack.stays) seen.push(`the tab shows ${this.#name(page.url())}`);
    if ((await person.secret()) !== this.secret) seen.push('the session cookie is not what it was');
    return seen;
  }

  /** What was broken for the victim; mended for the next attack. */
  async #damage() {
    const damage = [];
    if ((await this.#state()) !== this.before) {
      damage.push('the victim’s desktops are not what they were');
      this.before = await this.#state();
    }
    const alive = await Client.bearer(this.origin, this.secret).get('/session');
    if (alive.status !== 200) {
      damage.push('the session is over');
      await this.#signIn();
    }
    return damage;
  }

  /** An address as a reader of the table understands it. */
  #name(address) {
    const names = [
      [this.origin, ''],
      [this.collector.url, 'EVIL'],
      [this.facts.provider, 'PROVIDER'],
      [this.hostile.id, 'OWN'],
      [this.other.id, 'OTHER'],
      [this.foreign.id, 'FOREIGN'],
    ];
    const plain = address.split('?')[0].replace(/attack\/\w+\//, 'attack/');
    return names.reduce((text, [long, short]) => text.replace(long, short), plain) || '/';
  }

  async close() {
    for (const browser of Object.values(this.browsers ?? {})) await browser.close();
    await this.door?.close();
    await this.collector?.close();
    await this.gateway?.clear();
  }
}
