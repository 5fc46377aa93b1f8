// Responsible for the WebSockets of the suite: an open desktop, which sends something every tenth of a second, reads what comes
// back and knows the longest silence; and what a gateway tells of one's desktops.

import { randomBytes } from 'node:crypto';
import http from 'node:http';

import { until } from '../../e2e/support/wait.js';
import { headersOf } from './installation.js';

const EVERY_MS = 100;
const ANSWER_MS = 20_000;

/** A WebSocket handshake at a desktop; the answer's status, and the socket if it is 101. */
export function handshake(gateway, secret, id) {
  return upgrade(gateway, secret, `/desktop/${id}/websockify`);
}

function upgrade(gateway, secret, target) {
  const headers = {
    ...headersOf(secret),
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
  };
  const sent = http.request(gateway.origin + target, { headers, timeout: ANSWER_MS });
  return new Promise((resolve, reject) => {
    sent.on('upgrade', (answer, socket, head) => resolve({ status: answer.statusCode, socket, head }));
    sent.on('response', (answer) => {
      answer.resume();
      resolve({ status: answer.statusCode });
    });
    sent.on('error', reject);
    sent.on('timeout', () => sent.destroy(new Error('no answer to the handshake')));
    sent.end();
  });
}

/** A short text as a masked frame. */
function frame(text) {
  const [payload, mask] = [Buffer.from(text), randomBytes(4)];
  const masked = payload.map((byte, at) => byte ^ mask[at % 4]);
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length]), mask, masked]);
}

/** An open desktop. */
export class Stream {
  static async open(gateway, secret, id) {
    const { status, socket } = await handshake(gateway, secret, id);
    if (status !== 101) throw new Error(`no stream: ${status}`);
    const stream = new Stream();
    Object.assign(stream, { socket, echoes: 0, silence: 0, last: performance.now(), open: true });
    socket.on('data', () => stream.#heard());
    for (const event of ['close', 'end', 'error']) socket.on(event, () => (stream.open = false));
    // A story that failed closes nothing, and the suite is to end all the same.
    stream.timer = setInterval(() => socket.write(frame('are you there')), EVERY_MS).unref();
    return stream;
  }

  #heard() {
    const now = performance.now();
    this.silence = Math.max(this.silence, now - this.last);
    this.last = now;
    this.echoes += 1;
  }

  /** Ends it; returns how often it was answered, the longest silence in milliseconds, and whether it was open until now. */
  close() {
    clearInterval(this.timer);
    this.silence = Math.max(this.silence, performance.now() - this.last);
    const { echoes, silence, open } = this;
    this.socket.destroy();
    return { echoes, silence: Math.round(silence), open };
  }
}

/** What a gateway tells of one's desktops, as a page hears it. */
export class Events {
  static async open(gateway, secret) {
    const { status, socket, head } = await upgrade(gateway, secret, '/api/container/events');
    if (status !== 101) throw new Error(`no events: ${status}`);
    const events = new Events();
    Object.assign(events, { socket, gateway, messages: [], open: true, waiting: head });
    events.#read(Buffer.alloc(0));
    socket.on('data', (bytes) => events.#read(bytes));
    for (const event of ['close', 'end', 'error']) socket.on(event, () => (events.open = false));
    return events;
  }

  // RFC 6455, section 5.2; a server masks nothing, and this one sends whole messages.
  #read(bytes) {
    this.waiting = Buffer.concat([this.waiting, bytes]);
    for (;;) {
      if (this.waiting.length < 2) return;
      const short = this.waiting[1];
      const long = { 126: 2, 127: 8 }[short] ?? 0;
      if (this.waiting.length < 2 + long) return;
      const length = long ? Number(BigInt(`0x${this.waiting.toString('hex', 2, 2 + long)}`)) : short;
      const end = 2 + long + length;
      if (this.waiting.length < end) return;
      const [kind, payload] = [this.waiting[0] & 0x0f, this.waiting.subarray(2 + long, end)];
      if (kind === 1) this.messages.push(JSON.parse(payload.toString()));
      if (kind === 8) this.open = false;
      this.waiting = this.waiting.subarray(end);
    }
  }

  /** Waits until it has told this of a desktop. */
  told(id, status, within) {
    const said = ({ type, container }) => container?.id === id && (type === 'removed' ? type : container.status) === status;
    return until(`${this.gateway.name} tells that ${id} is ${status}`, () => this.messages.some(said), { within });
  }

  close() {
    this.socket.destroy();
  }
}
