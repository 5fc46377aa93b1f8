// Responsible for the attacker's own server outside of any desktop: it takes whatever comes, over TCP and UDP, answers
// so that every browser may read it, and writes down what came.

import dgram from 'node:dgram';
import https from 'node:https';

const ANSWER = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Headers': '*',
  'Access-Control-Allow-Methods': '*',
  'Cross-Origin-Resource-Policy': 'cross-origin',
  'Timing-Allow-Origin': '*',
};

/** Listens on one port of 127.0.0.1. */
export class Collector {
  /** What came since the last `take`: `tcp connection`, `udp packet`, or a request line. */
  #seen = [];

  /** The same with the requests' headers and bodies, to search for what was stolen. */
  #loot = [];

  static async listen(tls) {
    const collector = new Collector();
    collector.server = https.createServer(tls, (request, response) => collector.#answer(request, response));
    collector.server.on('connection', () => collector.#seen.push('tcp connection'));
    collector.server.on('tlsClientError', () => {});
    await new Promise((resolve) => collector.server.listen(0, '127.0.0.1', resolve));
    const { port } = collector.server.address();
    collector.udp = dgram.createSocket('udp4', () => collector.#seen.push('udp packet'));
    await new Promise((resolve) => collector.udp.bind(port, '127.0.0.1', resolve));
    collector.host = `127.0.0.1:${port}`;
    collector.url = `https://${collector.host}`;
    return collector;
  }

  #answer(request, response) {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      this.#seen.push(`${request.method} ${request.url}`);
      this.#loot.push(JSON.stringify([request.url, request.headers, Buffer.concat(chunks).toString()]));
      response.writeHead(200, {
        ...ANSWER,
        'Content-Type': request.url.endsWith('.js') ? 'text/javascript' : 'text/html',
      });
      response.end('/* collected */');
    });
  }

  /** What came since the last time: `{seen, text}`. */
  take() {
    const [seen, loot] = [this.#seen, this.#loot];
    this.#seen = [];
    this.#loot = [];
    return { seen, text: loot.join('\n') };
  }

  close() {
    this.udp?.close();
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(resolve));
  }
}
