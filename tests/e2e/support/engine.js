// Responsible for the container engine as the tests see it: what an installation has there, what is inside a
// container, and removing all of it afterwards. Never touches what another installation owns.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const CALL_MS = 30_000;

/** Runs the docker client and returns what it prints. */
export async function docker(...args) {
  const { stdout } = await run('docker', args, { timeout: CALL_MS, maxBuffer: 1 << 20 });
  return stdout.trim();
}

function lines(text) {
  return text.split('\n').filter(Boolean);
}

/** What one installation has in the engine. */
export class Installation {
  /** @param {string} name the value of INSTANCE, and so of the label `deskgate.instance` */
  constructor(name) {
    this.name = name;
    this.filter = `label=deskgate.instance=${name}`;
  }

  /** All its containers, whatever they are doing. */
  async containers() {
    const format = '{{.ID}}\t{{.State}}\t{{.Label "deskgate.desktop"}}';
    const rows = lines(await docker('ps', '--all', '--no-trunc', '--filter', this.filter, '--format', format));
    return rows.map((row) => {
      const [id, state, desktop] = row.split('\t');
      return { id, state, desktop };
    });
  }

  /** Removes its containers, volumes and networks. */
  async remove() {
    const ids = (await this.containers()).map((container) => container.id);
    if (ids.length) await docker('rm', '--force', '--volumes', ...ids);
    const volumes = lines(await docker('volume', 'ls', '--quiet', '--filter', this.filter));
    if (volumes.length) await docker('volume', 'rm', ...volumes);
    const networks = lines(await docker('network', 'ls', '--quiet', '--filter', this.filter));
    if (networks.length) await docker('network', 'rm', ...networks);
  }
}

/** The names of the processes in a container. */
export async function processes(container) {
  return lines(await docker('top', container, '-eo', 'pid,comm')).slice(1).map((row) => row.trim().split(/\s+/)[1]);
}

/** The contents of a file in a container, or null if there is none. */
export async function fileIn(container, path) {
  try {
    return await docker('exec', container, 'cat', path);
  } catch (error) {
    if (/No such file/.test(error.stderr ?? '')) return null;
    throw error;
  }
}
