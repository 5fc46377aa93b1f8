// Responsible for waiting: every wait of the tests has an end, and says what it waited for when it gets there.

import { setTimeout as pause } from 'node:timers/promises';

const EVERY_MS = 50;

/**
 * Asks `question` until its answer is truthy, and returns that answer. An error that it throws counts as
 * "not yet" and is shown if the time runs out.
 */
export async function until(what, question, { within = 10_000, every = EVERY_MS } = {}) {
  const end = performance.now() + within;
  let last;
  for (;;) {
    try {
      const answer = await question();
      if (answer) return answer;
      last = `the last answer was ${JSON.stringify(answer)}`;
    } catch (error) {
      last = `the last attempt failed: ${error.message}`;
    }
    if (performance.now() >= end) throw new Error(`${what}: not within ${within} ms; ${last}`);
    await pause(every);
  }
}

/** Awaits a promise for at most `within` milliseconds. */
export async function settled(what, promise, within) {
  const late = new AbortController();
  const timer = pause(within, undefined, { signal: late.signal }).then(() => {
    throw new Error(`${what}: not within ${within} ms`);
  });
  try {
    return await Promise.race([promise, timer]);
  } finally {
    timer.catch(() => {});
    late.abort();
  }
}
