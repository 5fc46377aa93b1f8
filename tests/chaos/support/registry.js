// Responsible for a registry of images (OCI distribution specification 1.1, as far as an engine that pulls needs it): it serves
// the desktop's image with layers of noise below it, as slowly as it is told to, breaks off in the middle of one, and counts.

import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

const run = promisify(execFile);
// Not at once: streams of other stories must not fall silent for it.
const packed = promisify(gzip);
const noise = promisify(randomBytes);
const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const CONFIG = 'application/vnd.docker.container.image.v1+json';
const LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip';
const SLICE_MS = 20;

const digestOf = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** The registry. */
export class Registry {
  /** One with an image of so many layers of noise and one with the desktop, which sends `speed` bytes a second to each who asks. */
  static async start(directory, { layers = 1, bytes = 64 << 10, speed = Infinity } = {}) {
    const registry = new Registry();
    Object.assign(registry, { speed, blobs: new Map(), requests: [], cut: new Map() });
    await mkdir(directory, { recursive: true });
    const archives = [await registry.#archive(directory, 'desktop', await readFile(process.env.DESKGATE_CHAOS_DESKTOP))];
    for (let number = 0; number < layers; number += 1) {
      archives.push(await registry.#archive(directory, `noise-${number}`, await noise(bytes)));
    }
    const blobs = await Promise.all(archives.map((archive) => packed(archive, { level: 1 })));
    registry.layers = blobs.map((layer) => registry.#keep(layer, LAYER));
    const config = {
      architecture: { x64: 'amd64' }[process.arch] ?? process.arch,
      os: 'linux',
      config: { Entrypoint: ['/desktop'] },
      rootfs: { type: 'layers', diff_ids: archives.map(digestOf) },
    };
    const described = registry.#keep(Buffer.from(JSON.stringify(config)), CONFIG);
    const manifest = { schemaVersion: 2, mediaType: MANIFEST, config: described, layers: registry.layers };
    registry.manifest = registry.#keep(Buffer.from(JSON.stringify(manifest)), MANIFEST);
    registry.server = http.createServer((request, answer) => registry.#answer(request, answer).catch(() => answer.destroy()));
    await new Promise((resolve) => registry.server.listen(0, '127.0.0.1', resolve));
    return registry;
  }

  /** The image by this name; all names are the same image. */
  image(name) {
    return `127.0.0.1:${this.server.address().port}/${name}:latest`;
  }

  /** Breaks off once, in the middle of this layer. */
  cutOnce({ digest, size }) {
    this.cut.set(digest, Math.floor(size / 2));
  }

  /** The requests for a blob: `{from, sent}`, where each began and how much of it was sent. */
  fetches({ digest }) {
    return this.requests.filter((request) => request.digest === digest);
  }

  close() {
    this.server.close();
    this.server.closeAllConnections();
  }

  async #archive(directory, name, content) {
    const file = path.join(directory, name);
    await writeFile(file, content, { mode: 0o755 });
    const { stdout } = await run('tar', ['-cf', '-', '-C', directory, name], { encoding: 'buffer', maxBuffer: 1 << 30 });
    return stdout;
  }

  #keep(content, mediaType) {
    const digest = digestOf(content);
    this.blobs.set(digest, { content, mediaType });
    return { mediaType, size: content.length, digest };
  }

  async #answer(request, answer) {
    const [, kind, reference] = /^\/v2\/.+\/(manifests|blobs)\/([^/]+)$/.exec(request.url) ?? [];
    if (request.url === '/v2/') return answer.end('{}');
    const digest = kind === 'manifests' && !reference.includes(':') ? this.manifest.digest : reference;
    const blob = this.blobs.get(digest);
    if (!blob) return answer.writeHead(404).end();
    const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const rest = blob.content.subarray(from);
    const headers = {
      'Content-Type': blob.mediaType,
      'Content-Length': rest.length,
      'Docker-Content-Digest': digest,
      'Accept-Ranges': 'bytes',
      ...(from && { 'Content-Range': `bytes ${from}-${blob.content.length - 1}/${blob.content.length}` }),
    };
    answer.writeHead(from ? 206 : 200, headers);
    if (request.method === 'HEAD') return answer.end();
    const fetch = { digest, from, sent: 0 };
    this.requests.push(fetch);
    return kind === 'blobs' ? this.#send(answer, rest, fetch) : answer.end(rest);
  }

  async #send(answer, rest, fetch) {
    const slice = Math.max(Math.min((this.speed * SLICE_MS) / 1000, rest.length), 1);
    const breaksAt = this.cut.get(fetch.digest) ?? Infinity;
    while (fetch.sent < rest.length && !answer.destroyed) {
      if (fetch.from + fetch.sent >= breaksAt) {
        this.cut.delete(fetch.digest);
        return answer.destroy();
      }
      const part = rest.subarray(fetch.sent, fetch.sent + Math.ceil(slice));
      if (!answer.write(part)) await Promise.race([pause(1000), new Promise((resolve) => answer.once('drain', resolve))]);
      fetch.sent += part.length;
      if (this.speed !== Infinity) await pause(SLICE_MS);
    }
    return answer.end();
  }
}
