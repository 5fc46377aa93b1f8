// Responsible for a desktop that a test speaks through: what it shall answer, and what it was asked. Also the image
// that such a desktop is started from.

import { docker } from '../support/engine.js';

const IMAGE_DIRECTORY = new URL('image/', import.meta.url).pathname;

/** Makes the image of the hostile desktop; a tag of its own lets several runs share an engine. */
export async function makeImage(tag) {
  await docker('build', '--quiet', '--tag', tag, IMAGE_DIRECTORY);
}

/** Removes it again; what other images need stays. */
export async function removeImage(tag) {
  await docker('image', 'rm', tag);
}

/** A running desktop of the hostile image, as its owner reaches it. */
export class Puppet {
  /** Starts one of a template. */
  static async start(client, template) {
    const answer = await client.post('/api/container/start', { template }, { Prefer: 'wait=30' });
    const { container } = answer.json();
    if (container?.status !== 'running') throw new Error(`${template}: ${answer.status} ${answer.body}`);
    return new Puppet(client, container.id);
  }

  constructor(client, id) {
    this.client = client;
    this.id = id;
    this.path = `/desktop/${id}/`;
  }

  /** What it shall answer to requests for `path`, which begins with its own path. */
  async layDown(path, answer) {
    if (!path.startsWith(this.path)) throw new Error(`${path} is no path of this desktop`);
    const inside = path.slice(this.path.length - 1);
    const laid = await this.client.put(`${this.path}.puppet/answer?${inside}`, answer);
    if (laid.status !== 204) throw new Error(`the desktop did not take an answer: ${laid.status} ${laid.body}`);
  }

  /** What it was asked since the last time, by anybody but its owner's programs and the gateway's probe. */
  async take() {
    const answer = await this.client.get(`${this.path}.puppet/requests`);
    if (answer.status !== 200) throw new Error(`the desktop does not tell its requests: ${answer.status}`);
    return answer.json().filter(({ headers }) => headers['x-forwarded-for']);
  }
}
