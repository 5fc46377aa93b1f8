// Responsible for an open desktop: a WebSocket through the gateway that sends something every tenth of a second, reads what
// comes back, and knows the longest silence.

import { randomBytes } from 'node:crypto';
import http from 'node:http';

import { headersOf } from './installation.js';

const EVERY_MS = 100;
const ANSWER_MS = 20_000;

/** A WebSocket handshake at a desktop; the answer's status, and the socket if it is 101. */
export function handshake(gateway, secret, id) {
  const headers = {
    ...headersOf(secret),
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
  };
  const sent = http.request(`${gateway.origin}/desktop/${id}/websockify`, { headers, timeout: ANSWER_MS });
  return new Promise((resolve, reject) => {
    sent.on('upgrade', (answer, socket) => resolve({ status: answer.statusCode, socket }));
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
    stream.timer = setInterval(() => socket.write(frame('are you there')), EVERY_MS);
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
