// Responsible for the control group: the portal's origin as it would be if the gateway let a desktop say what it
// likes. Everything goes to the real gateway except what was laid down for the hostile desktop, which is answered as
// the desktop would say it. A browser that is told to connect here sees the same origin as everybody else.

import https from 'node:https';
import tls from 'node:tls';

/** A door without confinement in front of a gateway. */
export class Unconfined {
  /** The answers of the hostile desktop by path. */
  answers = new Map();

  /** What was asked since the last `take`: `{method, path, status}`. */
  #requests = [];

  static async listen(gateway, certificate) {
    const door = new Unconfined();
    door.gateway = gateway;
    const options = { ...certificate, maxHeaderSize: 1 << 20 };
    door.server = https.createServer(options, (request, response) => door.#serve(request, response));
    door.server.on('upgrade', (request, socket, head) => door.#tunnel(request, socket, head));
    door.server.on('tlsClientError', () => {});
    // The jar of a browser may be full, and the gateway shall be the one to say so.
    door.server.maxHeadersCount = 0;
    await new Promise((resolve) => door.server.listen(0, '127.0.0.1', resolve));
    door.port = door.server.address().port;
    return door;
  }

  #note(request, status) {
    this.#requests.push({ method: request.method, path: request.url.split('?')[0], status });
  }

  #serve(request, response) {
    const answer = this.answers.get(request.url.split('?')[0]);
    if (answer) {
      request.resume();
      this.#note(request, answer.status ?? 0);
      return this.#say(answer, response);
    }
    const options = { port: this.gateway.port, method: request.method, path: request.url, headers: request.headers };
    const onward = https.request({ ...options, host: '127.0.0.1', rejectUnauthorized: false }, (reply) => {
      this.#note(request, reply.statusCode);
      response.writeHead(reply.statusCode, reply.rawHeaders);
      reply.pipe(response);
    });
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  }

  /** Says what a desktop would say, without looking at it. */
  #say(answer, response) {
    const body = Buffer.from(answer.body ?? '');
    const lines = [`HTTP/1.1 ${answer.status} Said`, 'Connection: close', `Content-Length: ${body.length}`];
    lines.push(...(answer.headers ?? []).map(([name, value]) => `${name}: ${value}`));
    const head = answer.raw ? Buffer.from(answer.raw, 'latin1') : Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
    response.socket.end(answer.raw ? head : Buffer.concat([head, body]));
  }

  #tunnel(request, socket, head) {
    const onward = tls.connect({ host: '127.0.0.1', port: this.gateway.port, rejectUnauthorized: false }, () => {
      const fields = [];
      for (let at = 0; at < request.rawHeaders.length; at += 2) {
        fields.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`);
      }
      onward.write(`${request.method} ${request.url} HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n`);
      onward.write(head);
      onward.once('data', (first) => this.#note(request, Number(first.toString('latin1').split(' ')[1])));
      onward.pipe(socket);
      socket.pipe(onward);
    });
    onward.on('error', () => socket.destroy());
    socket.on('error', () => onward.destroy());
  }

  /** What was asked since the last time. */
  take() {
    const requests = this.#requests;
    this.#requests = [];
    return requests;
  }

  close() {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(resolve));
  }
}
